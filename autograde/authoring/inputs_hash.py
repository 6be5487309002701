"""A hash of the code that a lesson runs: what its outputs depend on, besides its own source."""

import contextlib

from IPython.core.inputtransformer2 import TransformerManager

from autograde import registry
from autograde.source_files import PACKAGE, SourceFiles

# Libraries whose versions change the outputs of a notebook.
LIBRARIES = ("torch", "numpy", "matplotlib", "ipython", "ipykernel")


def inputs_hash(course, lesson, notebook):
    """A short hash of the lesson's checks, the modules that it imports, all source files that these import, the code that
    executes notebooks, and the versions of the libraries. Another lesson's checks do not change it.

    Args:
        course: the `Course`.
        lesson: its id.
        notebook: the lesson as a notebook, solved.
    """
    known = registry.of(course)
    files = SourceFiles(course)
    starts = [PACKAGE / "authoring" / "execute.py", files.of_module(known.module_of(lesson))]
    starts += files.of_package(known.probes)  # they are called by name, not imported
    for cell in notebook.cells:
        if cell.cell_type == "code":
            with contextlib.suppress(SyntaxError):  # then the notebook fails when it is executed, with the reason
                starts += files.imported(TransformerManager().transform_cell(cell.source))
    return files.digest(files.reached(filter(None, starts)), LIBRARIES)[:16]
