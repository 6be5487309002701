"""What the outputs of a built lesson depend on, besides its source: a hash of the code that it runs."""

import contextlib

from IPython.core.inputtransformer2 import TransformerManager

from autograde import registry
from autograde.source_files import PACKAGE, SourceFiles

# Their versions change what a notebook shows.
LIBRARIES = ("torch", "numpy", "matplotlib", "ipython", "ipykernel")


def inputs_hash(course, lesson, notebook):
    """A short hash that changes with the lesson's checks, the modules that it imports, all source that these lead to,
    the way a notebook is executed, and the libraries; not with another lesson's checks.

    Args:
        course: the `Course`.
        lesson: its id.
        notebook: the lesson as a notebook, solved.
    """
    known = registry.of(course)
    files = SourceFiles(course)
    starts = [PACKAGE / "authoring" / "execute.py", files.of_module(known.module_of(lesson))]
    starts += files.of_package(known.probes)  # asked for by name, so no import leads to them
    for cell in notebook.cells:
        if cell.cell_type == "code":
            with contextlib.suppress(SyntaxError):  # the notebook will not run, and running it says why
                starts += files.imported(TransformerManager().transform_cell(cell.source))
    return files.digest(files.reached(filter(None, starts)), LIBRARIES)[:16]
