"""nbgrader's own rules for the kind of a cell and for its score."""

import functools
import importlib.util
from pathlib import Path


@functools.cache
def nbgrader_utils():
    """The module `nbgrader.utils` without the rest of nbgrader: `import nbgrader` also loads its server extensions, which
    takes a second of CPU time.
    """
    (folder,) = importlib.util.find_spec("nbgrader").submodule_search_locations
    spec = importlib.util.spec_from_file_location("nbgrader_utils", Path(folder, "utils.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
