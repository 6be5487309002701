"""A quick start for the grader's own processes."""

import sys


def quickly():
    """Leave out an import that takes two seconds of processor time and is of no use to a grader.

    Where rfc3987_syntax is installed, jsonschema imports it for the format "iri", which no notebook's schema has, and
    it builds a grammar at import. Call this before anything that imports nbformat.
    """
    sys.modules.setdefault("rfc3987_syntax", None)
