"""Runs make, as a person does who sits in a course's folder."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKE = shutil.which("make")
needs_make = pytest.mark.skipif(MAKE is None, reason="no make on PATH, so the Makefile is not tried")


def make(*words, cwd=ROOT, **environment):
    # A make that runs these tests must not hand on its own variables and job slots.
    outer = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "PYTHON", "PORT"}
    environment = {**{key: value for key, value in os.environ.items() if key not in outer}, **environment}
    return subprocess.run([MAKE, *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=1800)
