"""Protects formgrader's pages with a Content-Security-Policy, and serves submitted files as downloads.

nbgrader's formgrader puts students' names and notebooks into its pages as they are, and serves the files beside a
notebook from the origin of the Jupyter server. `guard` adds these to its handlers:

* the parts of a page that come from a notebook are sanitized after rendering (`autograde.nbgrader_plugin.pages`); names are escaped;
* every page has a policy under which only the scripts of its templates run, marked with a random value used once (a nonce)
  that is written into the template before any content of a learner;
* a student's name is encoded where a page or a script makes an address of it;
* the files beside a notebook are sent as downloads, in a sandbox, and no others;
* ``?path=`` leads to this course only: nbgrader runs the nbgrader_config.py of whatever folder a link names there, such as
  one that was handed in.
"""

import base64
import hashlib
import html
import os
import re
import secrets
import sys
from contextvars import ContextVar
from functools import cached_property
from pathlib import Path, PurePosixPath

from tornado.web import HTTPError, RequestHandler

from autograde.nbgrader_plugin.answers import DATA_POLICY
from autograde.nbgrader_plugin.pages import MATHJAX, NOTHING_ELSE, CleanHTMLExporter
from autograde.notebook import pictures

_nonce = ContextVar("the nonce of the page that is being written", default="")
_SCRIPT = re.compile(r"<script\b", re.IGNORECASE)
_VARIABLE = re.compile(r'(?<== )"\{\{ (\w+) \}\}"(?=;)')  # of a script in a template
_LINK_TO_STUDENT = re.compile(r"(?<=/manage_students/)\{\{ student_id \}\}")
# In nbgrader's scripts: an address that ends in "/", and what is put behind it for a student.
_STUDENT_IN_ADDRESS = re.compile(r'(?<=/" \+ )(student_id|student|this\.model\.get\("id"\))(?![\w(.])')
_INLINE_HANDLER = re.compile(r"""\son[a-z]+=(["'])([^{]*?)\1""", re.IGNORECASE)


def guard():
    """Protect the formgrader of this process, if there is one. nbgrader reads its configuration after it has imported its
    handlers, and before it registers them.
    """
    handlers = sys.modules.get("nbgrader.server_extensions.formgrader.handlers")
    if handlers is None or getattr(handlers, "guarded_by_autograde", False):
        return
    handlers.guarded_by_autograde = True
    hashes = _handler_hashes(handlers.template_path)
    templates = _environment(handlers.template_path)

    def guarded(handler):
        if not issubclass(handler, handlers.BaseHandler):
            return handler
        special = {handlers.SubmissionFilesHandler: _Download, handlers.FormgraderHandler: _Entrance}
        added = special.get(handler, _Page)
        return type(handler.__name__, (added, handler), {"hashes": hashes, "templates": templates})

    handlers.default_handlers[:] = [
        (r"/formgrader/static/js/(manage_[a-z_]+\.js)", _Script, {"folder": Path(handlers.static_path, "js")}),
        *((pattern, guarded(handler), *rest) for pattern, handler, *rest in handlers.default_handlers),
    ]
    handlers.Template404 = guarded(handlers.Template404)


# Templates ---------------------------------------------------------------------------------------------------------


def _with_nonce(loader):
    """Make a loader put the nonce into each script of its templates, and encode a value as the place needs it: in a script
    escaped HTML would be another name.
    """
    original = loader.get_source

    def get_source(environment, template):
        source, *rest = original(environment, template)
        source = _VARIABLE.sub(r"{{ \1 | tojson }}", source)
        source = _LINK_TO_STUDENT.sub("{{ student_id | urlencode }}", source)
        return _SCRIPT.sub('<script nonce="{{ page_nonce() }}"', source), *rest

    loader.get_source = get_source
    return loader


def _environment(folder):
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=_with_nonce(FileSystemLoader(folder)), autoescape=True)
    environment.globals["page_nonce"] = _nonce.get
    return environment


def _handler_hashes(folder):
    """CSP hashes of the event handlers in nbgrader's own templates, such as ``onclick="…"``."""
    found = set()
    for path in Path(folder).rglob("*"):
        if path.suffix in (".tpl", ".j2"):
            found |= {code for _, code in _INLINE_HANDLER.findall(path.read_text(encoding="utf-8"))}
    digests = (hashlib.sha256(code.encode()).digest() for code in sorted(found))
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


class FormgradeExporter(CleanHTMLExporter):
    """nbgrader's page for manual grading, sanitized."""

    def _create_environment(self):
        environment = super()._create_environment()
        environment.globals["page_nonce"] = _nonce.get
        for loader in environment.loader.loaders:
            _with_nonce(loader)
        return environment

    def from_filename(self, filename, resources=None, **kwargs):
        """The page of one submission. Strings in `resources`, such as the student's name, are escaped."""
        given = {name: html.escape(value) if isinstance(value, str) else value for name, value in resources.items()}
        return super().from_filename(filename, resources=given, **kwargs)


# Handlers ----------------------------------------------------------------------------------------------------------


class _Page:
    """Mixin for formgrader's page handlers: the policy, and templates that escape their values."""

    @cached_property
    def nonce(self):
        return secrets.token_urlsafe(16)

    @property
    def content_security_policy(self):
        """Scripts of the templates by nonce, their event handlers by hash, and MathJax."""
        return (
            f"{NOTHING_ELSE}; frame-ancestors 'self'; connect-src 'self' {MATHJAX}; img-src 'self' data: {MATHJAX}; "
            f"style-src 'self' 'unsafe-inline' {MATHJAX}; font-src 'self' data: {MATHJAX}; "
            f"script-src 'nonce-{self.nonce}' 'unsafe-eval' {MATHJAX} 'unsafe-hashes' {self.hashes}"
        )

    def render(self, name, **given):
        """Render one of nbgrader's templates; its values are escaped."""
        _nonce.set(self.nonce)
        return self.templates.get_template(name).render(**given)

    @property
    def exporter(self):
        """The exporter for the page of one submission, configured as nbgrader's own."""
        _nonce.set(self.nonce)
        configured = self.settings["nbgrader_exporter"]
        made_for, exporter = self.settings.get("autograde_exporter", (None, None))
        if made_for is not configured:
            exporter = FormgradeExporter(config=configured.config)
            self.settings["autograde_exporter"] = configured, exporter
        return exporter


class _Entrance(_Page):
    """Mixin for the handler that opens formgrader, for the folder in ``?path=`` if there is one."""

    def get(self):
        """As nbgrader's, but no folder other than this course's is opened."""
        path = self.get_argument("path", "")
        if path and os.path.realpath(path) != os.path.realpath(self.coursedir.root):
            raise HTTPError(
                403, f"formgrader opens {self.coursedir.root} only: start Jupyter in the other course's folder"
            )
        return super().get()


class _Download:
    """Mixin for the handler of submitted files: browsers save them and do not open them."""

    def parse_url_path(self, url_path):
        """The path of a file; refused unless it lies beside the notebook."""
        path = PurePosixPath(url_path.lstrip("/").partition("/")[2])
        if path.is_absolute() or ".." in path.parts:
            raise HTTPError(403, "this is no file beside the notebook")
        return super().parse_url_path(url_path)

    def validate_absolute_path(self, root, absolute_path):
        """As tornado's method; a picture that would stop the page is refused to the page, and can still be saved."""
        path = super().validate_absolute_path(root, absolute_path)
        wanted = self.request.headers.get("Sec-Fetch-Dest", "")  # browsers send it to localhost and over HTTPS
        shown = wanted == "image" or (not wanted and self.request.headers.get("Accept", "").startswith("image/"))
        if path and shown and not pictures.may_show(Path(path)):
            raise HTTPError(403, "a browser would take long to draw this picture")
        return path

    @property
    def content_security_policy(self):
        """Nothing in the file runs, and it gets an origin of its own."""
        return DATA_POLICY

    def set_extra_headers(self, path):
        """Make browsers save the file, and accept its declared type."""
        super().set_extra_headers(path)
        self.set_header("Content-Disposition", "attachment")
        self.set_header("X-Content-Type-Options", "nosniff")


class _Script(RequestHandler):
    """Serves nbgrader's scripts that put students' names into addresses. They do so without encoding them: everything after a
    ``?`` or a ``#`` in a name would be lost, and the page would show nothing and grade nobody.
    """

    def initialize(self, folder):
        """Set the folder of nbgrader's scripts."""
        self.folder = folder

    def get(self, name):
        """Write one script."""
        try:
            source = (self.folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise HTTPError(404) from None
        self.set_header("Content-Type", "text/javascript; charset=UTF-8")
        self.finish(_STUDENT_IN_ADDRESS.sub(r"encodeURIComponent(\1)", source))
