"""The limits of a submission: what a course's configuration may say of them, and what the documentation does."""

import dataclasses
import re
from pathlib import Path

import pytest
from traitlets.config import Config

from autograde.nbgrader_plugin.execute import question_settings
from autograde.project import CourseError
from autograde.sandbox.limits import Limits

GRADING = (Path(__file__).parents[2] / "docs" / "grading.md").read_text(encoding="utf-8")
UNITS = {"": 1, "s": 1, "MiB": 2**20, "GiB": 2**30}


def config(**settings):
    return Config({"Execute": settings})


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"limits": {"memry": 5}}, "no limit 'memry'; there are cell, probe"),
        ({"limits": {"memory": "4 GiB"}}, "'memory' must be a number above zero, not '4 GiB'"),
        ({"limits": {"probe": 0}}, "'probe' must be a number above zero, not 0"),
        ({"limits": {"probe": float("nan")}}, "'probe' must be a number above zero, not nan"),
        ({"timeout": -3}, "c.Execute.timeout.*'cell' must be a number above zero, not -3"),
    ],
)
def test_a_limit_that_cannot_be_is_refused_before_anything_is_graded(settings, message):
    with pytest.raises(CourseError, match=message):
        question_settings(config(**settings))


def test_limits_are_taken_from_the_configuration():
    given = question_settings(config(timeout=7, limits={"memory": 2**30}))["limits"]
    assert Limits(**given) == dataclasses.replace(Limits(), cell=7, memory=2**30)


def test_the_document_has_every_limit_and_its_default():
    rows = re.findall(r"^\| `(\w+)` \| (\d+) ?(\w*) \|", GRADING, re.MULTILINE)
    documented = {name: int(number) * UNITS[unit] for name, number, unit in rows if hasattr(Limits, name)}
    assert documented == dataclasses.asdict(Limits()) | {"cell": 60}  # nbgrader_config.py's
