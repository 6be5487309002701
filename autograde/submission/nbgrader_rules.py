"""nbgrader's own rules of what a cell is and what it scores."""

import functools
import importlib.util
from pathlib import Path


@functools.cache
def nbgrader_utils():
    """The module `nbgrader.utils` without the rest of nbgrader: `import nbgrader` loads its server extensions, a second
    of processor time.
    """
    (folder,) = importlib.util.find_spec("nbgrader").submodule_search_locations
    spec = importlib.util.spec_from_file_location("nbgrader_utils", Path(folder, "utils.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
