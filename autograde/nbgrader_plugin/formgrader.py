"""formgrader's pages under a Content-Security-Policy, and handed-in files as downloads.

nbgrader's formgrader puts students' names and notebooks into its pages as they are, and serves the files beside a
notebook from the address of the Jupyter server. `guard` has its handlers answer with three things added:

* what a page holds of a notebook is cleaned after it was rendered (`autograde.nbgrader_plugin.pages`); names are escaped;
* every page has a policy under which only the scripts of its templates run, known by a number used once (a nonce) that
  is written into the template before anything of a learner's is;
* the files beside a notebook are sent as downloads, in a sandbox.
"""

import base64
import hashlib
import html
import re
import secrets
import sys
from contextvars import ContextVar
from functools import cached_property
from pathlib import Path

from autograde.nbgrader_plugin.pages import MATHJAX, NOTHING_ELSE, CleanHTMLExporter

DOWNLOAD_POLICY = "default-src 'none'; sandbox"

_nonce = ContextVar("the nonce of the page that is being written", default="")
_SCRIPT = re.compile(r"<script\b", re.IGNORECASE)
_INLINE_HANDLER = re.compile(r"""\son[a-z]+=(["'])([^{]*?)\1""", re.IGNORECASE)


def guard():
    """Guard the formgrader of this process, if it is about to have one: nbgrader reads its configuration after its
    handlers are imported, and before it registers them.
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
        added = _Download if handler is handlers.SubmissionFilesHandler else _Page
        return type(handler.__name__, (added, handler), {"hashes": hashes, "templates": templates})

    handlers.default_handlers[:] = [
        (pattern, guarded(handler), *rest) for pattern, handler, *rest in handlers.default_handlers
    ]
    handlers.Template404 = guarded(handlers.Template404)


# Templates ---------------------------------------------------------------------------------------------------------


def _with_nonce(loader):
    """Have a loader's templates put the nonce into each of their scripts."""
    original = loader.get_source

    def get_source(environment, template):
        source, *rest = original(environment, template)
        return _SCRIPT.sub('<script nonce="{{ page_nonce() }}"', source), *rest

    loader.get_source = get_source
    return loader


def _environment(folder):
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=_with_nonce(FileSystemLoader(folder)), autoescape=True)
    environment.globals["page_nonce"] = _nonce.get
    return environment


def _handler_hashes(folder):
    """The policy's words for the event handlers in nbgrader's own templates, such as ``onclick="…"``."""
    found = set()
    for path in Path(folder).rglob("*"):
        if path.suffix in (".tpl", ".j2"):
            found |= {code for _, code in _INLINE_HANDLER.findall(path.read_text(encoding="utf-8"))}
    digests = (hashlib.sha256(code.encode()).digest() for code in sorted(found))
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


class FormgradeExporter(CleanHTMLExporter):
    """nbgrader's page for marking by hand, clean."""

    def _create_environment(self):
        environment = super()._create_environment()
        environment.globals["page_nonce"] = _nonce.get
        for loader in environment.loader.loaders:
            _with_nonce(loader)
        return environment

    def from_filename(self, filename, resources=None, **kwargs):
        """The page of one submission. Texts among its `resources`, the student's name for one, are escaped."""
        given = {name: html.escape(value) if isinstance(value, str) else value for name, value in resources.items()}
        return super().from_filename(filename, resources=given, **kwargs)


# Handlers ----------------------------------------------------------------------------------------------------------


class _Page:
    """What is added to each of formgrader's pages."""

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
        """A page of one of nbgrader's templates; what it is given is escaped."""
        _nonce.set(self.nonce)
        return self.templates.get_template(name).render(**given)

    @property
    def exporter(self):
        """What makes the page of one submission, with the configuration of nbgrader's own."""
        _nonce.set(self.nonce)
        configured = self.settings["nbgrader_exporter"]
        made_for, exporter = self.settings.get("autograde_exporter", (None, None))
        if made_for is not configured:
            exporter = FormgradeExporter(config=configured.config)
            self.settings["autograde_exporter"] = configured, exporter
        return exporter


class _Download:
    """A file that somebody handed in: to be saved, not to be opened here."""

    @property
    def content_security_policy(self):
        """Nothing in it runs, and it has an origin of its own."""
        return DOWNLOAD_POLICY

    def set_extra_headers(self, path):
        """Have browsers save it, and believe its type."""
        super().set_extra_headers(path)
        self.set_header("Content-Disposition", "attachment")
        self.set_header("X-Content-Type-Options", "nosniff")
