"""What lesson 12 stands on: how it behaves without its model, its cards and its marks; and, with it, the lesson itself."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from autograde.authoring import execute
from autograde.authoring.lesson import read
from autograde.lesson_kit import language_model
from autograde.project import Course
from lora_ref import fine_tune, inject

ROOT = Path(__file__).parents[2]
HERE = bool(importlib.util.find_spec(language_model.PACKAGE) and importlib.util.find_spec("gguf"))


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(language_model, "PACKAGE", "a_package_that_nobody_has")
    assert language_model.find() is None
    assert "make encore" in capsys.readouterr().out


def test_the_command_that_gets_it_is_there_and_pins_by_hash():
    assert re.search(
        r"^encore:.*\n\t.*--require-hashes.* -r tools/encore\.txt$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    lines = [line for line in (ROOT / "tools" / "encore.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w-]+==[\d.]+ --hash=sha256:[0-9a-f]{64}", line) for line in lines) and len(lines) == 2


def test_no_setup_installs_it():
    for name in ("pyproject.toml", "constraints.txt", "environment.yml"):
        assert "smollm" not in (ROOT / name).read_text()


def test_cards_have_the_form_and_none_is_in_both():
    known, held_out = language_model.cards()
    assert len(known) == 16 and len(held_out) == 24 and not set(known) & set(held_out)
    assert all(language_model.FORM.fullmatch(answer) for _, answer in known + held_out)


def test_marks():
    cards = [("Country: Spain\n", "code=ES; German=Spanien\n")] * 4
    written = [
        "code=ES; German=Spanien\n",
        "code=ES; German=Italien\n",
        "code=XX; German=Spanien\n",
        "Spain is a country\n",
    ]
    assert language_model.marks(written, cards) == (3, 2, 2)


class Letters:
    """A tokenizer of one id a letter."""

    def __call__(self, text):
        return type("Encoded", (), {"input_ids": [ord(letter) for letter in text]})


class Small(nn.Module):
    """A language model with transformers' call: logits under a name."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(128, 16)
        self.v_proj = nn.Linear(16, 12)
        self.head = nn.Linear(12, 128)

    def forward(self, ids, attention_mask):
        assert attention_mask.shape == ids.shape
        return type("Output", (), {"logits": self.head(torch.tanh(self.v_proj(self.embed(ids))))})


def test_the_next_token_is_the_class():
    ids, targets = language_model.rows(Letters(), ["abc", "de"])
    assert ids.tolist() == [[97, 98, 99], [language_model.PAD, 100, 101]]
    ignored = language_model.IGNORED
    assert targets.tolist() == [98, 99, ignored, ignored, 101, ignored]


def test_a_language_model_is_fine_tuned_as_a_classifier():
    torch.manual_seed(0)
    model = Small().requires_grad_(False)
    inject(model, ["v_proj"], rank=4, alpha=8)
    classifier = language_model.NextToken(model)
    x, y = language_model.rows(Letters(), ["abcabc", "cab"])
    before = nn.functional.cross_entropy(classifier(x), y).item()
    fine_tune(classifier, x, y, epochs=50, lr=1e-2)
    assert nn.functional.cross_entropy(classifier(x), y).item() < 0.8 * before


@pytest.mark.skipif(HERE, reason="the language model is installed")
def test_the_lesson_runs_to_its_end_without_the_model():
    ran = execute.run(read(Course(ROOT), "12_encore"), Course(ROOT))
    assert not execute.errors(ran)
    said = "".join(output.get("text", "") for cell in ran.cells for output in cell.get("outputs", []))
    assert "make encore" in said and "found" not in said


@pytest.mark.slow
@pytest.mark.skipif(not HERE, reason="lesson 12's language model is not installed: `make encore` gets it")
def test_the_lesson_teaches_a_real_language_model():
    source = read(Course(ROOT), "12_encore")
    script = "\n\n".join(cell.source for cell in source.cells if cell.cell_type == "code")
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"MPLBACKEND": "agg", "PYTHONPATH": paths}
    line = [sys.executable, "-c", script]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    form = [int(count) for count in re.findall(r"form (\d+)", done.stdout)]
    assert form[0] < form[1]  # before, after
    assert "the answers of the beginning: True" in done.stdout
