"""The claims audit of lesson 05: its arithmetic, its verdicts, and that each answer stands behind its own line."""

import re

import nbformat
import pytest

from autograde import registry
from autograde.lesson_kit.audit import CLAIMS, reveal, verdict
from autograde.lesson_kit.llama import llama_2_7b

COURSE = registry.current().course
VERDICTS = dict(zip("ABCDEFGHIJ", "exact near near near wrong wrong near exact wrong near".split(), strict=True))


def test_the_arithmetic_gives_the_verdicts():
    found = {letter: eval(claim.formula) for letter, claim in CLAIMS.items()}
    assert {letter: verdict(CLAIMS[letter].published, value) for letter, value in found.items()} == VERDICTS
    assert round(found["E"]) * 2 == 96 * 2 * 8 * (12288 + 12288)  # the other half of the paper's line
    assert found["F"] - CLAIMS["F"].published == pytest.approx(found["F"] / 9, rel=0.02)


def test_the_model_that_is_counted_has_what_the_arithmetic_says():
    model = llama_2_7b(lambda layer: layer)
    assert sum(parameter.numel() for parameter in model.parameters()) == 6_738_415_616
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_lesson_shows_what_the_arithmetic_gives_each_behind_a_closed_line():
    cells = nbformat.read(COURSE.solved("05_counting"), as_version=4).cells
    pages = [output.get("data", {}).get("text/html", "") for cell in cells for output in cell.get("outputs", [])]
    [page] = [page for page in pages if "<details>" in page]
    lines = re.findall(r"<details><summary><b>(\w)</b></summary><p>published \S+, worked out (\S+): <b>(\w+)</b>", page)
    assert {letter: word for letter, _, word in lines} == VERDICTS
    for letter, shown, _ in lines:
        assert float(shown.replace(",", "")) == pytest.approx(eval(CLAIMS[letter].formula), abs=0.05)


def test_what_the_learner_said_is_shown_and_escaped(monkeypatch):
    shown = []
    monkeypatch.setattr("autograde.lesson_kit.audit.display", lambda data, raw: shown.append(data["text/html"]))
    reveal(dict.fromkeys(CLAIMS, 1.0), {"A": "near", "B": "<b>", "C": "?"})
    assert "<b>A</b> · you said near" in shown[0] and "<b>B</b> · you said &lt;b&gt;" in shown[0]
    assert "<b>C</b></summary>" in shown[0] and "<b>D</b></summary>" in shown[0]
