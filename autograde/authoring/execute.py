"""Executes a notebook in a kernel of this environment, with outputs that are the same at every build."""

import html
import os
import sys
import tempfile

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from autograde.notebook.cells import METADATA
from autograde.project import COURSE_VARIABLE

TIMEOUT = 120  # seconds for one cell


class _ThisPython(AsyncKernelManager):
    """A kernel of the running interpreter, even if another kernel is installed under the same name."""

    def format_kernel_cmd(self, extra_arguments=None):
        quiet = "--log-level=ERROR"  # the kernel warns at each start that its sockets on this machine are not encrypted
        return [sys.executable, "-m", "ipykernel_launcher", "-f", self.connection_file, quiet, *(extra_arguments or [])]


def run(notebook, course):
    """Execute `notebook` in place, in a temporary working directory, and return it. Errors do not stop it."""
    path = os.pathsep.join([str(course.root), *filter(None, [os.environ.get("PYTHONPATH")])])
    # One thread: sums over several threads differ in their last digits from run to run.
    environment = os.environ | {"PYTHONPATH": path, COURSE_VARIABLE: str(course.root)}
    environment |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment.pop("MPLBACKEND", None)
    with tempfile.TemporaryDirectory() as scratch:
        client = NotebookClient(
            notebook,
            timeout=TIMEOUT,
            allow_errors=True,
            record_timing=False,
            kernel_manager_class=_ThisPython,
            resources={"metadata": {"path": scratch}},
        )
        client.execute(env=environment, cleanup_kc=True)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            _join_streams(cell)
            _add_alternative_text(cell)
    return notebook


def _join_streams(cell):
    """Join consecutive outputs of one stream: where the kernel splits a stream depends on timing."""
    joined = []
    for output in cell.outputs:
        if joined and output.output_type == "stream" == joined[-1].output_type and output.name == joined[-1].name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    cell.outputs = joined


def has_picture(output):
    """Whether an output is, or holds, a picture."""
    return any(mime.startswith("image/") for mime in output.get("data", {}))


def _add_alternative_text(cell):
    """Write the cell's tag ``alt`` into the metadata of each picture, and as a caption under the last one.

    The caption is an output of its own. JupyterLab and nbconvert's default template ignore alternative text in
    metadata, and both show HTML.
    """
    alternative = cell.metadata.get("alt")
    pictures = [position for position, output in enumerate(cell.outputs) if has_picture(output)]
    if not alternative or not pictures:
        return
    for position in pictures:
        output = cell.outputs[position]
        output.data["text/plain"] = alternative
        for mime in output.data:
            if mime.startswith("image/"):
                output.metadata.setdefault(mime, {})["alt"] = alternative
    shown = {"text/html": f"<p><small>{html.escape(alternative)}</small></p>", "text/plain": alternative}
    caption = nbformat.v4.new_output("display_data", data=shown, metadata={METADATA: {"caption": True}})
    cell.outputs.insert(pictures[-1] + 1, caption)


def errors(notebook):
    """``[(grade_id or cell id, error output)]`` of an executed notebook, in order."""
    return [
        (cell.metadata.get("nbgrader", {}).get("grade_id", cell.get("id")), output)
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "error"
    ]
