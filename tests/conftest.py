"""What all tests share: one thread for each process, groups for pytest-xdist, and fixtures that are made once for a run."""

import os
from pathlib import Path

import pytest
import sample_course
import torch
from filelock import FileLock
from graded_class import make as make_graded_class
from xdist.scheduler import LoadScopeScheduling

from autograde.project import Course

# The course's tensors are small, and the tests share the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """One process more than cores, since many tests wait; at most 8, since each takes half a gigabyte."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores + 1, 8)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Sets which tests pytest-xdist sends to one process."""
    config.option.loadscopereorder = False  # the folders are in the right order: integration comes first, unit last
    return ByFixtures(config, log)


class ByFixtures(LoadScopeScheduling):
    """Runs the tests of a file in one process, except in tests/unit/, so that slow fixtures are made once."""

    TOGETHER = {  # what files share
        "their graded class": ("test_damaged_submissions", "test_nbgrader_commands"),
        "the process that runs their commands": ("test_check_file", "test_cli", "test_export", "test_sample_class"),
        "their sandbox pool": ("test_begun_work", "test_checks_in_cells", "test_lessons"),
        "an import of PEFT": ("test_ecosystem", "test_lora_ref_peft", "test_lora_ref_peft_files",
                              "test_lora_ref_variants", "test_lora_ref_weight_space"),
    }  # fmt: skip

    def _split_scope(self, nodeid):
        """The name of the group of a test."""
        file, _, test = nodeid.partition("::")
        for shared, files in self.TOGETHER.items():
            if Path(file).stem in files:
                return shared
        if file.startswith("tests/unit/"):
            return nodeid
        return file + "[partial]" * ("[partial" in test)  # the partial sandbox is a fixture of its own


@pytest.fixture(autouse=True)
def _seeded():
    """Every test begins with the same random numbers of torch, whatever ran before it: what answers draw is repeatable."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """``once(name, make)``: a folder that ``make(folder)`` fills, once for all processes of a run. Copy it to change it."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # that of the whole run

    def made(name, make):
        folder, finished = Path(root, name), Path(root, f"{name}.finished")
        with FileLock(f"{folder}.lock"):
            if not finished.exists():
                make(folder)
                finished.touch()
        return folder

    return made


@pytest.fixture(scope="module")
def selected(request):
    """``selected(parameter)``: the values of a parameter for which tests of this file run, so that a fixture can make
    what those need and no more.
    """
    calls = [
        item.callspec.params
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    ]
    return lambda parameter: {call[parameter] for call in calls if parameter in call}


@pytest.fixture(scope="session")
def sample(once):
    """The sample course, built: a `Course` that is not to be changed."""
    return Course(once("sample-course", sample_course.make))


@pytest.fixture(scope="session")
def graded_class(request, sample, tmp_path_factory):
    """A class of the sample course that nbgrader has graded, with the damaged submissions that the selected tests need."""
    tests = [item for item in request.session.items if item.path.stem == "test_damaged_submissions"]
    damaged = {item.callspec.params.get("name") for item in tests if hasattr(item, "callspec")} - {None}
    if tests:
        damaged |= {"endless_cell", "not_json", "exits", "links_beside"}
    return make_graded_class(sample, tmp_path_factory.mktemp("graded") / "course", sorted(damaged))
