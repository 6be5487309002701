"""Makes nbgrader's server extensions call their JSON text.

They call it a web page, so that a browser would run what a name in it holds, or a part of the address: with one click on a
link in a notebook, such as ``http://localhost:8888/nbgrader_version?version=<script>…``.
"""

import sys

DATA_POLICY = "default-src 'none'; sandbox"

_EXTENSIONS = "nbgrader.server_extensions."
_MODULES = (
    "formgrader.apihandlers",
    "assignment_list.handlers",
    "course_list.handlers",
    "validate_assignment.handlers",
)


def guard():
    """Guard the handlers of this process, if it is a Jupyter server, which imports all extensions before it starts one."""
    for name in _MODULES:
        if module := sys.modules.get(_EXTENSIONS + name):
            for _, handler in module.default_handlers:
                handler.set_default_headers = _set_default_headers


def _set_default_headers(handler):
    from jupyter_server.base.handlers import JupyterHandler

    JupyterHandler.set_default_headers(handler)  # also forbids the browser to find out the type by itself
    # nbgrader's own scripts parse the text. Of `application/json`, jQuery would give them the object.
    handler.set_header("Content-Type", "text/plain; charset=UTF-8")
    handler.set_header("Content-Security-Policy", DATA_POLICY)
