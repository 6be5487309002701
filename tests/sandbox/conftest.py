"""What several tests of graded notebooks share."""

import pytest
from small_class import ROOT, make_course

from autograde import registry
from autograde.project import Course
from autograde.sandbox.pool import SandboxPool


@pytest.fixture(scope="session")
def pool():
    """A `SandboxPool` of this course, one for all files."""
    with SandboxPool(registry.of(Course(ROOT)), private=[ROOT]) as pool:
        yield pool


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course with lesson 00 and an empty gradebook."""
    return make_course(tmp_path_factory.mktemp("course"))
