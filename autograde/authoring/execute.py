"""Run a notebook in a real kernel, the one of this environment, and leave outputs that are the same at every build."""

import os
import re
import sys
import tempfile

from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from autograde.project import CourseError

TIMEOUT = 120  # seconds for one cell
_ADDRESS = re.compile(r"\b0x[0-9a-f]{8,}\b")


class _ThisPython(AsyncKernelManager):
    """A kernel of the running interpreter, whatever kernelspecs a user has installed under the same name."""

    def format_kernel_cmd(self, extra_arguments=None):
        quiet = "--log-level=ERROR"  # the kernel warns at each start that its sockets on this machine are not encrypted
        return [sys.executable, "-m", "ipykernel_launcher", "-f", self.connection_file, quiet, *(extra_arguments or [])]


def run(notebook, course):
    """Execute `notebook` in place, going on after errors, with the course importable and a scratch working folder."""
    path = os.pathsep.join([str(course.root), *filter(None, [os.environ.get("PYTHONPATH")])])
    # One thread: sums over several threads differ in their last digits from run to run.
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
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
    """One output for neighbouring pieces of a stream: where the kernel cuts it depends on the clock."""
    joined = []
    for output in cell.outputs:
        if joined and output.output_type == "stream" == joined[-1].output_type and output.name == joined[-1].name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    cell.outputs = joined


def _add_alternative_text(cell):
    alternative = cell.metadata.get("alt")
    for output in cell.outputs:
        if "image/png" in output.get("data", {}) and alternative:
            output["data"]["text/plain"] = alternative
            output["metadata"]["image/png"] = {"alt": alternative}


def errors(notebook):
    """``[(grade_id or cell id, error output)]`` of an executed notebook, in order."""
    return [
        (cell.metadata.get("nbgrader", {}).get("grade_id", cell.get("id")), output)
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "error"
    ]


def refuse_unstable_outputs(notebook, lesson):
    """Stop a build whose outputs would differ next time.

    Raises:
        CourseError: a memory address in a text output, or a figure without alternative text.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            said = output.get("text") or data.get("text/plain") or ""
            if _ADDRESS.search(said):
                raise CourseError(f"{lesson}, cell {cell['id']}: an output holds a memory address: {said.strip()[:80]}")
            if "image/png" in data and not cell.metadata.get("alt"):
                raise CourseError(f'{lesson}, cell {cell["id"]}: a figure without alternative text; tag it alt="…"')
