"""What a run of `autograde grade` says where there is no progress bar."""

import itertools

import pytest

from autograde.batch import progress


@pytest.fixture
def clock(monkeypatch):
    """Grading as it goes on a slow machine: workers take a minute to start, then give a result every 2 seconds."""
    times = itertools.chain([0.0], itertools.count(60.0, 2.0))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))


def test_the_start_of_the_workers_is_no_part_of_the_time_that_is_left(clock):
    said = []
    lines = progress.Lines(said.append)
    lines.begin(320, skipped=0)
    for _ in range(11):
        lines.step(None)
    assert said == [
        "grading 320 submissions",
        "1 of 320 graded",
        "6 of 320 graded · about 10 min left",
        "11 of 320 graded · about 10 min left",
    ]
