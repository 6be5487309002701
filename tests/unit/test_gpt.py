"""The small GPT: what it computes, what its file says of itself, and that it writes English."""

import platform
import re
from importlib.metadata import version
from pydoc_data import topics

import pytest
import torch

from autograde.lesson_kit import base, train_base
from autograde.lesson_kit.gpt import GPT, Config
from autograde.lesson_kit.language import as_ids, learn, loss_on, write_lines, write_text
from autograde.lesson_kit.text import LANGUAGES, Characters, excerpts, names


@pytest.fixture(scope="module")
def trained():
    return base.load_base()


def test_the_file_is_small_and_says_how_it_was_made():
    about = base.metadata()
    assert base.CHECKPOINT.stat().st_size < 4e6
    assert about["command"] == "python -m autograde.lesson_kit.train_base"
    assert about["seed"] == str(train_base.SEED) and about["steps"] == str(train_base.STEPS)


def test_it_was_trained_on_the_names_that_are_there_now():
    if base.metadata()["babel"] != version("babel"):
        pytest.skip(f"the file was made with Babel {base.metadata()['babel']}, not {version('babel')}")
    lines = "\n".join(names("en")[0]) + "\n"
    assert train_base.digest(lines) == base.metadata()["names_sha256"]


@pytest.mark.slow
def test_it_was_trained_on_the_prose_that_is_there_now():
    if base.metadata()["python"] != platform.python_version():
        pytest.skip(f"the file was made with Python {base.metadata()['python']}, not {platform.python_version()}")
    text, _, _, known = train_base.data()
    assert train_base.digest(text) == base.metadata()["prose_sha256"]
    assert known == base.metadata()["vocabulary"]


def test_the_loss_is_what_the_file_says(trained):
    model, characters = trained
    ids = train_base.in_rows(characters.encode("\n".join(names("en")[1])))
    with torch.no_grad():
        assert model.loss(ids).item() == pytest.approx(float(base.metadata()["held_out_loss_names"]), abs=1e-3)


def test_it_writes_english(trained):
    known = set(re.findall(r"[a-z]+", " ".join([*topics.topics.values(), *names("en")[0]]).lower()))
    written = [
        write_text(*trained, start, temperature=0.5, seed=seed) for seed, start in enumerate(["The ", "If the ", "A "])
    ]
    words = [word for text in written for word in re.findall(r"[a-z]+", text.lower()[:-10]) if len(word) > 3]
    assert sum(word in known for word in words) > 0.7 * len(words), written
    assert len(set(words)) > 0.3 * len(words), written  # and not one word over and over


def test_the_head_and_the_embedding_are_one_parameter(trained):
    model, _ = trained
    assert model.lm_head.weight is model.embedding.weight
    assert len([name for name, _ in model.named_parameters() if "weight" in name and "lm_head" in name]) == 0


def test_no_character_sees_the_next_one(trained):
    model, characters = trained
    ids = characters.encode("The function returns").repeat(2, 1)
    ids[1, 12:] = characters.encode("?").item()
    with torch.no_grad():
        one, other = model(ids)
    torch.testing.assert_close(one[:12], other[:12])
    assert not torch.allclose(one[12:], other[12:])


def test_shapes_and_a_text_longer_than_the_context():
    torch.manual_seed(0)
    model = GPT(Config(vocabulary=7, context=8, width=12, heads=3, layers=2))
    assert model(torch.randint(7, (2, 5))).shape == (2, 5, 7)
    assert model.generate(torch.zeros(3, 2, dtype=torch.int64), 20).shape == (3, 22)


def test_training_lowers_the_loss():
    torch.manual_seed(0)
    model = GPT(Config(vocabulary=5, width=16, heads=2, layers=1))
    text = torch.arange(400) % 5
    (step, on_one, on_other), *_ = train_base.train(model, [text, text], [text, text], steps=80)
    assert step == 80 and on_one == on_other < 1.4  # log 5 is 1.61


# The languages


def test_the_languages_say_the_same_things():
    kinds = {code: names(code) for code in LANGUAGES}
    assert {(len(train), len(held_out)) for train, held_out in kinds.values()} == {tuple(map(len, kinds["en"]))}
    place = kinds["en"][0].index("Germany")
    assert [kinds[code][0][place] for code in ("de", "es", "fi")] == ["Deutschland", "Alemania", "Saksa"]
    assert not any(c.isdigit() for train, held_out in kinds.values() for name in train + held_out for c in name)


def test_every_letter_is_in_the_vocabulary(trained):
    _, characters = trained
    text = "".join(name for code in LANGUAGES for part in names(code) for name in part)
    assert characters.decode(characters.encode(text).tolist()) == text
    assert characters.decode(characters.encode("a\N{SNOWMAN}").tolist()) == "a?"


def test_excerpts_are_the_same_for_the_same_seed():
    ids = torch.arange(50)
    one, other = (excerpts(ids, 4, 6, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, other) and one.shape == (4, 6)
    assert torch.equal(one - one[:, :1], torch.arange(6).expand(4, 6))


def test_it_learns_another_language():
    model, characters = base.load_base()
    ids, held_out = as_ids("de", characters)
    before = loss_on(model, held_out)
    steps = []
    learn(model, ids, steps=6, lr=0.002, after_step=steps.append)
    assert steps == [1, 2, 3, 4, 5, 6]
    assert loss_on(model, held_out) < before - 0.1
    assert all(parameter.grad is None for parameter in model.parameters())


def test_lines_begin_as_they_were_asked_to(trained):
    lines = write_lines(*trained, ["No", "Sa"], seed=3)
    assert [line[:2] for line in lines] == ["No", "Sa"]
    assert lines == write_lines(*trained, ["No", "Sa"], seed=3)
    assert Characters("ab?").encode("ab").tolist() == [0, 1]
