"""The judge's own parts: the seam, the wire, the words."""

import html
import itertools
import json
import re
import struct
import sys
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from encoded_session import EncodedSession, OneByOne, encoded
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from known_answers import defined

from autograde import check, registry
from autograde.checks.shared.draws import layer_sizes
from autograde.judge import describe, tolerance
from autograde.judge.answer import RightAnswer, SlipError
from autograde.judge.check import Case, Check
from autograde.judge.diagnosis import EVERYWHERE, OBSERVED, OF_TWO, WHERE_WRONG, Candidate, strongest
from autograde.judge.make_verdict import PICTURE_SIDE
from autograde.judge.misconception import Misconception
from autograde.judge.present import CheckFailed, NotStarted
from autograde.judge.random_inputs import Draw
from autograde.judge.render import as_html, picture, text
from autograde.judge.verdict import Verdict
from autograde.notebook import sanitize
from autograde.remote import facts, wire
from autograde.remote.probe import ProcessEnded, Remote


def right(x, weight, bias):
    return torch.nn.functional.linear(x, weight, bias)


# The seam ----------------------------------------------------------------------------------------------------------


def test_an_answer_arrives_as_bytes():
    session = EncodedSession({"linear_by_hand": right})
    assert registry.current().find("linear_by_hand").judge(Remote("linear_by_hand", session), 7).passed
    assert session.bytes > 1000


def test_a_non_contiguous_input_stays_one_over_the_wire():
    seen = []

    def spy(x, weight, bias):
        seen.append(x.is_contiguous())
        return right(x, weight, bias)

    registry.current().find("linear_by_hand").judge(
        Remote("linear_by_hand", EncodedSession({"linear_by_hand": spy})), 1
    )
    assert False in seen
    assert True in seen


def test_a_missing_name_says_so():
    verdict = registry.current().find("linear_by_hand").judge(Remote("linear_by_hand", EncodedSession({})), 1)
    assert verdict.status == "missing"
    assert "no linear_by_hand" in verdict.headline


@pytest.mark.parametrize(
    "reply",
    [None, 3, [], {}, {"raised": 3}, {"raised": {"type": 1}}, {"type": "Tensor", "value": 3}, {"value": None},
     {"type": 7, "value": torch.zeros(2), "changed": "x"}, {"raised": {"bases": ["NotImplementedError"]}},
     {"type": "torch.Tensor", "value": torch.full((3, 3), float("nan")), "changed": [99]},
     {"type": "int", "value": 10**400, "changed": []}, "passed", {"score": 2, "passed": True}],
    ids=repr,
)  # fmt: skip
def test_no_forged_answer_passes_or_breaks_the_judge(reply):
    class Forger(OneByOne):
        def ask(self, *_):
            return reply

    for lesson in registry.current().course.lessons:
        for judged in registry.current().checks_of(lesson):
            verdict = judged.judge(Remote(judged.subject, Forger()), 3)
            assert not verdict.passed
            assert verdict.score == 0
            assert text(verdict)
            assert as_html(verdict)


_leaf = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.builds(wire.Opaque, st.text(max_size=5), st.text(max_size=5)),
    arrays.arrays(np.float32, arrays.array_shapes(max_dims=3, max_side=4)).map(torch.from_numpy),
)
_plain = st.recursive(
    _leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
_answer = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("type", "value", "changed", "raised", "held", "out", "gradients", "trains"), _plain)
)


@given(_answer)
@settings(max_examples=60, deadline=None)
def test_fuzzed_answers_never_pass(reply):
    class Fuzzer(OneByOne):
        def ask(self, *_):
            return reply

    for name in ("linear_by_hand", "lora_linear_init", "lora_linear_forward", "lora_linear_placement"):
        verdict = registry.current().find(name).judge(Remote("any", Fuzzer()), 3)
        assert not verdict.passed
        assert text(verdict)


@pytest.mark.parametrize("error", [ZeroDivisionError, AssertionError, StopIteration, LookupError])
def test_whatever_an_answer_makes_a_check_raise_is_a_verdict(monkeypatch, error):
    def fault(*_):
        raise error

    check = registry.current().find("linear_by_hand")
    monkeypatch.setattr(type(check), "fault", fault)
    verdict = check.judge(encoded(lambda x, weight, bias: x), 3)
    assert not verdict.passed and error.__name__ in verdict.headline


# The wire ----------------------------------------------------------------------------------------------------------


def _message(head, tensors=b"{}", data=b""):
    """Bytes as an answer has them, of whatever head and description of its tensors."""
    return struct.pack("<I", len(head)) + head + struct.pack("<Q", len(tensors)) + tensors + data


def _tensors(*, dtype="F32", shape=(1,), offsets=(0, 4)):
    return json.dumps({"0": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()


_TENSOR = b'{"$tensor": 0, "stride": [1]}'
MALFORMED = {
    "an infinite tensor": _message(b'{"$tensor": Infinity}'),
    "a tensor that is too large a float": _message(b'{"$tensor": 1e999}', _tensors(), bytes(4)),
    "a tensor that is no number": _message(b'{"$tensor": NaN}'),
    "a list as tensor": _message(b'{"$tensor": [0]}'),
    "a tensor of 5,000 digits": _message(b'{"$tensor": "' + b"1" * 5000 + b'"}'),
    "an int of 5,000 digits": _message(b"1" * 5000),
    "half an opaque": _message(b'{"$opaque": ["a"]}'),
    "a deep opaque": _message(b'{"$opaque": [' + b"[" * 9000 + b"]" * 9000 + b", 1]}"),
    "lists in lists": _message(b"[" * 10**5 + b"]" * 10**5),
    "another encoding": _message('"a"'.encode("utf-16")),
    "offsets beyond the end": _message(_TENSOR, _tensors(shape=[4], offsets=[0, 16]), bytes(4)),
    "offsets below zero": _message(_TENSOR, _tensors(offsets=[-4, 0]), bytes(4)),
    "offsets the wrong way round": _message(_TENSOR, _tensors(offsets=[4, 0]), bytes(4)),
    "a hole": _message(_TENSOR, _tensors(offsets=[4, 8]), bytes(8)),
    "another shape": _message(_TENSOR, _tensors(shape=[3]), bytes(4)),
    "another dtype": _message(_TENSOR, _tensors(dtype="F64"), bytes(4)),
    "a dtype that is never sent": _message(_TENSOR, _tensors(dtype="F8_E4M3", offsets=[0, 1]), bytes(1)),
    "nothing, in a dimension of 2**63": _message(_TENSOR, _tensors(shape=[0, 2**63], offsets=[0, 0])),
    "a thousand dimensions": _message(_TENSOR, _tensors(shape=[1] * 1000), bytes(4)),
    "many tensors": _message(b"1", json.dumps(
        {str(i): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(10_001)}).encode()),
    "a long structure": _message(b"[" + b"0," * 5_000_000 + b"0]"),
    "a description without end": struct.pack("<I", 1) + b"1" + b"\xff" * 8,
    "a description cut off": struct.pack("<I", 1) + b"1" + bytes(7),
    "a structure cut off": struct.pack("<I", 2**32 - 1) + b"1",
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_bytes_that_no_answer_has_are_refused(name):
    with pytest.raises(wire.WireError):
        wire.decode(MALFORMED[name])


def test_no_lone_surrogate_arrives():
    got = wire.decode(_message(rb'[{"$opaque": ["\ud800", "\ud800"]}, {"\udfff": "\ud800"}]'))
    assert got == [wire.Opaque("?", "?"), {"?": "?"}]


def test_plain_data_arrives_as_it_left():
    sent = {"a": [1, 2.5, None, True, "ß"], "t": torch.arange(6).reshape(2, 3), "o": wire.Opaque("X", "y"), "d": {}}
    got = wire.decode(wire.encode(sent))
    assert got["a"] == sent["a"]
    assert torch.equal(got["t"], sent["t"])
    assert got["o"] == sent["o"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int8, torch.bool])
def test_tensors_keep_their_bits(dtype):
    tensor = torch.tensor([[1.5, -2], [0, 3]]).to(dtype)
    got = wire.decode(wire.encode(tensor.T), trusted=True)
    assert got.dtype == dtype
    assert torch.equal(got, tensor.T)
    assert got.stride() == tensor.T.stride()


_ROWS = torch.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize(
    "tensor",
    [_ROWS[:, 1], _ROWS[:, 1:2], _ROWS[1:, ::2], _ROWS[0].expand(2, 4), _ROWS[0, 1], _ROWS[:0], _ROWS.T[None]],
    ids=lambda tensor: f"{list(tensor.shape)} {tensor.stride()}",
)
def test_tensors_arrive_from_any_order_of_memory(tensor, trusted):
    got = wire.decode(wire.encode(tensor), trusted=trusted and 0 not in tensor.stride())
    assert facts.same_bits(got, tensor)


@pytest.mark.parametrize("tensor", [torch.ones(2, 3), torch.ones(()), torch.ones(0, 2)])
def test_the_bytes_are_those_of_safetensors(tensor):
    """The library reads what is written without it."""
    (length,) = struct.unpack_from("<I", data := wire.encode([tensor]))
    (name, read), *rest = safetensors.torch.load(data[4 + length :]).items()
    assert (name, rest) == ("0", []) and facts.same_bits(read, tensor)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_bytes_break_the_reader(data):
    try:
        wire.decode(data)
    except wire.WireError:
        pass


@pytest.mark.parametrize(
    "head", ['{"$tensor": 0}', '{"$tensor": "x"}', '{"$opaque": 1}', "[" * 2000, "1" * 5000, '"\\ud800"', "NaN", "nope"]
)
def test_a_forged_message_is_refused_or_harmless(head):
    data = len(head).to_bytes(4, "little") + head.encode() + wire.encode(None)[8:]
    try:
        got = wire.decode(data)
    except wire.WireError:
        return
    str(got).encode()


def test_what_has_no_plain_form_is_named():
    class Strange:
        def __repr__(self):
            raise RuntimeError

    for value in (Strange(), lambda: 1, torch.empty(3, device="meta"), torch.eye(2).to_sparse(), np.array([object()])):
        assert isinstance(wire.plain(value), wire.Opaque)
    huge = torch.zeros(1).expand(10**12)
    assert "too large" in wire.plain(huge).text


# Verdicts and slips ------------------------------------------------------------------------------------------------


def test_a_verdict_comes_back_from_its_data():
    verdict = registry.current().find("linear_by_hand").judge(lambda x, weight, bias: x @ weight.T, 5)
    data = json.loads(json.dumps(verdict.as_data()))
    again = Verdict.from_data(data)
    assert again == replace(verdict, picture=None)
    assert again.misconception == "bias_forgotten" and again.thought and again.hint and again.seed == 5
    assert again.message == verdict.message == data["message"] and again.passed is data["passed"] is False


@pytest.mark.parametrize(
    "wrong", [{"status": "perfect"}, {"score": "all"}, {"points": None}, {"lines": [3]}, {"seed": "x"}], ids=str
)
def test_data_that_is_no_verdict_is_refused(wrong):
    data = registry.current().find("linear_by_hand").judge(right, 5).as_data()
    for key in wrong:
        with pytest.raises(ValueError, match="not a verdict"):
            Verdict.from_data(data | wrong)
        with pytest.raises(ValueError, match="not a verdict"):
            Verdict.from_data({name: value for name, value in data.items() if name != key})


DOUBLE = "def double(x):\n    return x + x\n"


@pytest.mark.parametrize(
    ("edits", "problem"),
    [
        (("x - x", "x"), "exactly once; it occurs 0 times"),
        (("x", "y"), "exactly once; it occurs 3 times"),
        (("x + x",), "come in pairs"),
        ((), "come in pairs"),
        (("x + x", "2 * y", "x + x", "x"), "exactly once; it occurs 0 times"),
    ],
)
def test_an_edit_that_does_not_fit_is_an_error(edits, problem):
    with pytest.raises(SlipError, match=problem):
        RightAnswer(DOUBLE).slip("wrong", *edits, thought="A thought.", hint="A hint.")


def test_a_slip_is_the_answer_edited():
    answer = RightAnswer(DOUBLE)
    slip = answer.slip("tripled", "(x)", "(x, y=0)", "x + x", "3 * x", thought="A thought.", hint="A hint.")
    assert slip.source("double") == "def double(x, y=0):\n    return 3 * x\n"
    assert (answer.right(2), slip.wrong(2)) == (4, 6)
    assert (
        slip.planted("def double(x):\n    y = x + x\n    return y\n")
        == "def double(x, y=0):\n    y = 3 * x\n    return y\n"
    )
    assert slip.planted("def double(z):\n    return z + z\n") is None


def test_a_shared_misconception_is_told_in_an_exercises_own_words():
    shared = Misconception("lost", thought="It is lost.", hint="Look again.")
    told = RightAnswer(DOUBLE).slip(shared, "x + x", "x", hint="Look twice.")
    assert (told.id, told.thought, told.hint) == ("lost", "It is lost.", "Look twice.")
    with pytest.raises(ValueError, match="needs a thought and a hint"):
        RightAnswer(DOUBLE).slip("lost", "x + x", "x", thought="It is lost.")


# Diagnosis: one rule, in which order plays no part -------------------------------------------------------------------


def candidate(name, strength, agrees=1, **more):
    return Candidate(Misconception(name, "thought", "hint"), strength, (0,), agrees, **more)


@pytest.mark.parametrize(
    ("candidates", "named"),
    [
        ([], None),
        ([candidate("a", EVERYWHERE), candidate("b", OBSERVED, 9), candidate("c", WHERE_WRONG, 9)], "a"),
        ([candidate("b", OBSERVED), candidate("c", WHERE_WRONG, 9)], "b"),
        ([candidate("c", WHERE_WRONG), candidate("d", OF_TWO, 9)], "c"),
        ([candidate("b", OBSERVED, 2), candidate("a", OBSERVED, 1)], "b"),
        ([candidate("a", WHERE_WRONG), candidate("b", WHERE_WRONG)], None),
        ([candidate("a", EVERYWHERE), candidate("b", EVERYWHERE), candidate("c", OBSERVED)], None),
        ([candidate("a", OBSERVED), candidate("a", OBSERVED, by_fault=True)], "a"),
    ],
)
def test_the_strongest_candidate_is_named(candidates, named):
    for ordered in itertools.permutations(candidates):
        won = strongest(ordered)
        assert (won and won.misconception.id) == named


class Shifted(Check):
    """Adds one to a number; `wrong` says in how many of ten cases an answer is wrong."""

    name = "shifted"

    def cases(self, draw):
        return [Case({"n": n}) for n in range(10)]

    def right(self, n):
        return n + 1


class Line(Check):
    """A slope times a number, plus one."""

    name = "line"

    def __init__(self):
        self.answer = RightAnswer("def line(n, slope):\n    return n * slope + 1\n")
        super().__init__()

    def cases(self, draw):
        return [Case({"n": n, "slope": 3}) for n in range(2, 12)]


def test_the_main_one_of_two_slips_is_named_where_no_single_one_fits():
    check = Line()
    words = {"thought": "A thought.", "hint": "A hint."}
    added = check.answer.slip("added", "n * slope", "(n + slope)", **words)
    lost = check.answer.slip("lost", " + 1", "", **words)
    assert check.judge(lambda n, slope: n + slope).misconception is None
    check.answer.both(added, lost)
    assert check.judge(lambda n, slope: n + slope).misconception == "added"
    assert check.judge(lambda n, slope: n * slope).misconception == "lost"
    check.answer.slip("constant", "n * slope + 1", "n + 3", **words)
    assert check.judge(lambda n, slope: n + slope).misconception == "constant", "a single one is likelier"
    with pytest.raises(SlipError, match="exactly once"):
        check.answer.both(lost, lost)


def test_a_mistake_that_is_met_in_a_corner_only_is_not_named():
    check = Shifted()
    check.misconception("not_added", thought="Nothing is added.", hint="Add.")(lambda n: n)
    assert check.judge(lambda n: n if n < 9 else n + 1).misconception == "not_added"
    assert check.judge(lambda n: n if n < 2 else n + 1).misconception is None


def test_headline_thought_and_hint_are_of_one_fault():
    check = Shifted()
    check.misconception(
        "a_text", thought="A text is a number.", hint="Convert.", recognise=lambda case, seen: seen.get("type") == "str"
    )(str)
    verdict = check.judge(lambda n: n * 3 if n < 5 else str(n + 1))
    assert verdict.misconception == "a_text" and "not a number" in verdict.headline and verdict.hint == "Convert."


# Inputs and tolerances ---------------------------------------------------------------------------------------------


def test_sizes_are_distinct_and_seeds_repeat():
    for seed in range(50):
        d, k, r = layer_sizes(Draw(seed))
        assert len({d, k, r}) == 3
        assert r < min(d, k)
        assert r > 1
    assert torch.equal(Draw(3).tensor(4, 5), Draw(3).tensor(4, 5))
    assert not torch.equal(Draw(3).tensor(4, 5), Draw(4).tensor(4, 5))
    for shape in [(4,), (4, 5), (2, 3, 4)]:
        assert not Draw(1).tensor(*shape, contiguous=False).is_contiguous()


def test_the_tolerance_grows_with_the_terms_and_not_with_a_mistake():
    expected = torch.tensor([1e6, 1.0])
    assert tolerance.close(expected + 50, expected)
    assert not tolerance.close(expected * 1.01, expected)
    assert not tolerance.close(torch.tensor([float("nan"), 1.0]), expected)
    assert not tolerance.close(torch.tensor([float("inf"), 1.0]), expected)


class _Gone(OneByOne):
    """A session whose process has ended."""

    def ask(self, *_question):
        raise ProcessEnded("it has ended")


def test_a_process_that_has_ended_is_no_matter_of_one_check():
    with pytest.raises(ProcessEnded):
        registry.current().find("linear_by_hand").judge(Remote("linear_by_hand", _Gone()))


# Words -------------------------------------------------------------------------------------------------------------


def test_text_and_html_say_the_same():
    verdict = registry.current().find("linear_by_hand").judge(lambda x, weight, bias: x @ weight, 5)
    said = html.unescape(re.sub(r"<[^>]+>", " ", as_html(verdict)))
    words = re.findall(r"\w+", text(verdict))
    assert words
    assert sorted(words) == sorted(re.findall(r"\w+", said))


def test_code_keeps_its_lines_on_a_page_without_styles():
    verdict = registry.current().find("lora_parameters").judge(lambda d, k, r: d, 5)
    shown = sanitize.html(as_html(verdict))
    assert "style" not in shown
    assert re.search(r"<code>lora_parameters\(d, k, r\)<br>(&nbsp;|\xa0){2}d = \d+<br>", shown)


def test_code_within_a_sentence_is_set_as_code():
    verdict = Verdict("area", 1, 0.0, "failed", "Look at `<b>` and at `*`.", hint="Which operator? Not `@`.")
    shown = sanitize.html(as_html(verdict))
    assert "Look at <code>&lt;b&gt;</code> and at <code>*</code>." in shown
    assert "Not <code>@</code>." in shown
    assert "`*`" in text(verdict)


def test_what_a_learner_wrote_cannot_write_the_page():
    def evil(x, weight, bias):
        raise ValueError("<script>alert(1)</script>\x1b[2J\u202e")

    verdict = registry.current().find("linear_by_hand").judge(evil, 5)
    assert "<script>" not in as_html(verdict)
    assert "\x1b" not in text(verdict)
    assert "\u202e" not in text(verdict)


def test_a_failed_check_shows_the_learners_line_and_no_traceback():
    source = "def linear_by_hand(x, weight, bias):\n    return x.no_such_method()\n"
    with pytest.raises(CheckFailed) as caught:
        check.linear_by_hand(defined(source, "linear_by_hand"))
    shown = "\n".join(caught.value._render_traceback_())
    assert "no_such_method" in shown
    assert "return x.no_such_method()" in shown
    assert "Traceback" not in shown
    assert "autograde/" not in shown


def test_a_stub_is_not_started():
    source = "def linear_by_hand(x, weight, bias):\n    raise NotImplementedError()\n"
    with pytest.raises(NotStarted) as caught:
        check.linear_by_hand(defined(source, "linear_by_hand"))
    assert isinstance(caught.value, NotImplementedError)
    assert "Not started yet" in str(caught.value)


def test_parts_that_are_not_the_points_are_refused():
    class Two(Check):
        name, points, parts = "two", 3, {"first": 1, "second": 1}

    with pytest.raises(ValueError, match="the parts of two have 2 points, not 3"):
        Two()


def test_a_seed_replays_the_same_inputs():
    first = registry.current().find("linear_by_hand").judge(lambda x, weight, bias: x @ weight, 5)
    assert first == registry.current().find("linear_by_hand").judge(lambda x, weight, bias: x @ weight, 5)
    assert "seed=5" in text(first)


def test_a_misspelt_check_names_the_nearest():
    with pytest.raises(AttributeError, match="did you mean 'linear_by_hand'"):
        _ = check.linear_by_hnd


def test_a_warning_stays_off_stderr(capsys):
    def linear_by_hand(x, weight, bias):
        print("a library has something to say", file=sys.stderr)
        return right(x, weight, bias)

    check.linear_by_hand(linear_by_hand)
    said = capsys.readouterr()
    assert said.err == ""
    assert "something to say" in said.out


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.tensor(2.5), "2.5 (a 0-dimensional float32 tensor)"),
        ([1, 2], "(1, 2)"),
        (None, "None"),
        (10**400, "a huge integer"),
        (torch.zeros(2, 3), "float32 tensor of shape (2, 3): [[0, 0, 0], [0, 0, 0]]"),
    ],
)
def test_values_in_words(value, said):
    assert describe.contents(value) == said


def test_partial_credit_counts_only_with_a_right_answer():
    class TwoParts(Check):
        name = "two_parts"
        points = 3
        parts = {"answer": 2, "extra": 1}

        def cases(self, draw):
            return [Case({"n": 1}), Case({"n": 2}, part="extra")]

        def right(self, n):
            return n

    judged = TwoParts()
    assert judged.judge(lambda n: n, 1).score == 3
    assert judged.judge(lambda n: 1, 1).score == 2
    assert judged.judge(lambda n: 2, 1).score == 0


# What a report says ----------------------------------------------------------------------------------------------------


def test_an_editors_import_gives_the_same_check():
    from autograde.checks import check as by_editor

    assert by_editor.linear_by_hand is check.linear_by_hand and check.linear_by_hand.points > 0


def test_a_replay_names_the_inputs_of_its_call():
    judged = registry.current().find("linear_by_hand")
    verdict = judged.judge(lambda x, weight, bias: x @ weight.T, 5)
    first, second = verdict.replay.splitlines()
    assert first == "check.linear_by_hand(linear_by_hand, seed=5)"
    inputs = eval(second, {"check": check})
    again = judged.inputs(seed=5)
    assert inputs["bias"] is not None and any(
        torch.equal(inputs["x"], each["x"]) for each in again if each["x"].shape == inputs["x"].shape
    )
    assert "wrong in" in verdict.message


@pytest.mark.parametrize(
    ("got", "expected", "shown"),
    [(-29.493, -29.4927, ("-29.493", "-29.4927")), (1.0, 2.0, ("1", "2")), (0.1 + 0.2, 0.3, None), (3, 4, ("3", "4"))],
)
def test_numbers_that_differ_are_shown_with_digits_that_differ(got, expected, shown):
    said = describe.format_distinct(got, expected)
    assert said[0] != said[1] and (shown is None or said == shown)


def test_the_sign_shows_in_the_heat_map_in_grey_too():
    got, expected = [[-1.0, 2.0], [3.0, -4.0]], [[1.0, 2.0], [3.0, 4.0]]
    drawn = picture(Verdict("x", 1.0, 0.0, "failed", "Wrong.", picture=(got, expected)))
    signs = "".join(re.findall(r'class="minus"[^>]* d="([^"]*)"', drawn))
    assert signs.count("M") == 2 + 0 + 2  # in got and in the difference


def test_pages_that_clean_what_they_show_keep_the_whole_card():
    side = [[-1.5] * PICTURE_SIDE for _ in range(PICTURE_SIDE)]
    verdict = registry.current().find("linear_by_hand").judge(lambda x, weight, bias: x @ weight, 5)
    card = as_html(replace(verdict, picture=(side, side)))
    shown = sanitize.html(card)
    assert "style=" not in shown and shown.count("<img") == card.count("<img") == 1
    assert re.search(r'src="data:image/svg\+xml;base64,[^"]+"', card)[0] in shown
    words = [re.findall(r"\w+", re.sub(r"<[^>]+>", " ", html.unescape(page))) for page in (card, shown)]
    assert words[0] == words[1]


def _raises(code, **names):
    from autograde.remote.raised import catch

    _, error = catch(lambda: exec(code, {"torch": torch, **names}))
    return error


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("torch.ones(2, 2) @ torch.ones(2, 2, dtype=torch.float64)", "dtype"),
        ("torch.nn.functional.linear(torch.ones(2, 2), torch.ones(2, 2).bfloat16())", "dtype"),
        ("torch.ones(2, 2, device='meta').to('cpu')", "device"),
        ("torch.ones(2, 2) + None", "None"),
        ("None.shape", "None"),
        ("torch.ones(2, 3) @ torch.ones(2, 3)", "shape"),
        ("torch.ones(2, 3) * torch.ones(2, 4)", "shape"),
        ("torch.nn.Linear(2, 3).wieght", "attribute"),
        ("lienar", "name"),
        ("retrun", "name"),
        ("y = torch.ones(1, requires_grad=True).exp().sum(); y.backward(); y.backward()", "second backward"),
        ("1 / 0", ""),
    ],
)
def test_an_exception_is_told_by_its_kind(code, kind):
    from autograde.judge import exceptions

    error = _raises(code, linear=1)
    assert exceptions.kind_of(error) == kind, error
    hint = exceptions.hint_for(error)
    assert bool(hint) == (kind not in ("", "shape"))
    if kind in ("attribute", "name"):
        meant = "weight" if kind == "attribute" else "return" if code == "retrun" else "linear"
        assert f"Did you mean {meant}?" in hint
