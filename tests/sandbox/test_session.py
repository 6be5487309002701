"""A session's protocol, in both of its modes, and against a far side that lies."""

import json
import math
import os
import struct
import sys

import nbformat
import pytest
import torch

from autograde.notebook.outputs import Outputs
from autograde.remote import probe, wire
from autograde.remote.ask_together import observe_each
from autograde.remote.call import call as call_probe
from autograde.remote.probe import ProbeStopped
from autograde.sandbox import protocol
from autograde.sandbox.limits import MIB, Limits
from autograde.sandbox.pool import SandboxPool
from autograde.sandbox.session import SessionEnded

CALL = "autograde.remote.call:call"


@pytest.fixture(scope="module")
def forked():
    if sys.platform != "linux":
        pytest.skip("forks are a matter of Linux")
    with SandboxPool() as warm:
        yield warm


@pytest.fixture(scope="module", params=["forked", "fresh"])
def warm(request):
    if request.param == "forked":
        yield request.getfixturevalue("forked")
    else:
        with SandboxPool(fork=False) as warm:
            yield warm


@pytest.fixture(scope="module")
def session(warm):
    """One session for what leaves no trace in it."""
    limits = Limits(probe=3, grace=1, answer=2 * MIB)
    with warm.open(limits=limits, files={"data/a.txt": b"hello", "empty": b""}) as session:
        yield session


def text(run):
    return run.outputs[-1]["data"]["text/plain"]


def test_what_a_notebook_needs_is_imported_before_it_has_its_sandbox(forked):
    with forked.open(code="from autograde.lesson_kit.tables import Table") as session:
        session.run_cell("import sys\nhere = set(sys.modules)\ndef double(x):\n    return 2 * x")
        assert session.run_cell("'autograde.lesson_kit.tables' in here").outputs[0]["data"]["text/plain"] == "True"
        session.ask(CALL, "double", {"args": [torch.ones(2)]})
        assert text(session.run_cell("sorted(set(sys.modules) - here)")) == "[]", "the first probe has imported nothing"


def test_cells_share_a_namespace(session):
    assert session.run_cell("x = 20").ok
    run = session.run_cell("print('x is', x)\nx + 1")
    assert run.outputs[0] == {"output_type": "stream", "name": "stdout", "text": "x is 20\n"}
    assert text(run) == "21"
    assert run.outputs[1]["execution_count"] == run.execution_count


def test_an_exception_is_an_output(session):
    run = session.run_cell("1 / 0")
    assert not run.ok
    assert run.outputs[0]["ename"] == "ZeroDivisionError"
    assert session.run_cell("'goes on'").ok


def test_files_are_there(session):
    assert text(session.run_cell("open('data/a.txt').read(), open('empty').read()")) == "('hello', '')"


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "", "a\0b"])
def test_files_stay_inside(session, name):
    with pytest.raises(ValueError, match="is not a name"):
        session.put({name: b"x"})


def test_a_probe_is_asked(session):
    session.run_cell("def double(x): return 2 * x")
    answer = call_probe(probe.Remote("double", session), args=[torch.ones(2, 3)])
    assert torch.equal(answer["value"], torch.full((2, 3), 2.0))
    assert answer["device"] == "cpu" and answer["changed"] == []


def times(session, calls):
    """Answers of a function to several numbers, and the number of requests that this took."""
    before = session.request
    answers = session.ask_each("times", [(CALL, {"args": [number]}) for number in calls])
    return [answer["value"] for answer in answers], session.request - before


def test_questions_travel_together(session):
    session.run_cell("def times(x): return 2 * x")
    assert times(session, range(20)) == ([2 * number for number in range(20)], 1)


@pytest.mark.slow
def test_questions_that_take_long_are_asked_in_several_requests(session):
    session.run_cell("import time\ndef times(x):\n    time.sleep(x)\n    return x")
    answers, requests = times(session, [0.01, 0.6, 0.6, 0.01, 2.5])  # 2.5 s are within the limit of one, 3.7 are not
    assert answers == [0.01, 0.6, 0.6, 0.01, 2.5] and requests > 1
    session.run_cell("def times(x): return 'a' * 1_000 if x else ['b' * 4_000] * 300")
    answers, requests = times(session, [0, 1, 1])
    assert len(answers[0]) == 300 and answers[1:] == ["a" * 1_000] * 2 and requests == 2


ENDINGS_OF_A_QUESTION = {
    "interrupts itself": (
        "raise KeyboardInterrupt",
        "could not be tried: it was interrupted, by the notebook's own code",
    ),
    "takes its own name away": ("del globals()['times']; return 0", None),
    "takes too long": ("while True: pass", "longer than 3 s"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDINGS_OF_A_QUESTION)
def test_one_question_of_several_has_no_answer(session, name):
    code, message = ENDINGS_OF_A_QUESTION[name]
    session.run_cell(f"asked = []\ndef times(x):\n    asked.append(x)\n    if x < 3: return x\n    {code}")
    with pytest.raises(ProbeStopped if message else probe.Missing) as stopped:
        times(session, [1, 2, 3, 4])
    assert message is None or message in str(stopped.value)
    assert text(session.run_cell("max(asked)")) == "3", "nothing is asked after a question without an answer"


def test_what_is_observed_is_the_same_whether_questions_travel_together(session):
    code = "def times(x): return 2 * x"
    session.run_cell(code)
    namespace = {}
    exec(code, namespace)

    def one(target):
        return call_probe(target, args=[1])

    def none(target):
        return "nothing"

    def two(target):
        return [one(target)["value"], call_probe(target, args=[5])["value"]]

    before = session.request
    together, here = (
        observe_each(target, [one, none, two, one]) for target in (probe.Remote("times", session), namespace["times"])
    )
    assert together == here and session.request - before == 2


def test_strides_of_arguments_arrive(session):
    session.run_cell("def strides(x): return list(x.stride())")
    assert session.ask(CALL, "strides", {"args": [torch.ones(4, 3).T]})["value"] == [1, 3]


def test_a_name_that_is_missing(session):
    with pytest.raises(probe.Missing):
        session.ask(CALL, "not_there", {"args": []})
    assert session.run_cell("1").ok


def test_an_exception_points_at_the_learners_line(session):
    session.run_cell("def fails(x):\n    y = x\n    return y / 0")
    error = session.ask(CALL, "fails", {"args": [1]})["raised"]
    assert (error["type"], error["where"]) == (
        "ZeroDivisionError", {"function": "fails", "line": 3, "text": "return y / 0"},
    )  # fmt: skip


PARTS_OF_THE_COURSE = ("lora_ref.layer", "lora_ref.merging")
OTHERS_CODE = """
from dataclasses import dataclass
from helper import halved
from torch import nn
from lora_ref.layer import LoRALinear

@dataclass
class Wrapped(nn.Module):
    inner: nn.Module

def of_the_course(x):
    return LoRALinear(x)
def of_torch(x):
    return nn.Linear(2, 3)(x)
def of_generated_code(x):
    return Wrapped(nn.Linear(2, 3))
def of_a_helper(x):
    return halved(None)
"""


@pytest.mark.parametrize(
    ("function", "line"),
    [
        ("of_the_course", "return LoRALinear(x)"),
        ("of_torch", "return nn.Linear(2, 3)(x)"),
        ("of_generated_code", "return Wrapped(nn.Linear(2, 3))"),
        ("of_a_helper", "return x / 2"),
    ],
)
def test_the_line_that_is_shown_is_one_that_the_learner_wrote(warm, function, line):
    with warm.open(files={"helper.py": b"def halved(x):\n    return x / 2\n"}, given=PARTS_OF_THE_COURSE) as session:
        assert session.run_cell(OTHERS_CODE).ok
        assert session.ask(CALL, function, {"args": [1]})["raised"]["where"]["text"] == line


def test_what_is_no_probe_is_not_run(session):
    session.run_cell("def double(x): return 2 * x")
    for name in ("os:system", "autograde.remote.raised:catch", "autograde.probes.no_such:call", "builtins:print"):
        with pytest.raises(ProbeStopped) as stopped:
            session.ask(name, "double", {"args": [1]})
        assert "could not be tried" in str(stopped.value)


def test_a_probe_that_takes_too_long(session):
    session.run_cell("def forever():\n    while True: pass")
    with pytest.raises(ProbeStopped) as stopped:
        session.ask(CALL, "forever", {"args": []})
    assert "longer than 3 s" in str(stopped.value)
    assert session.run_cell("1").ok


def test_an_answer_that_is_too_large(session):
    session.run_cell("import torch\ndef large(): return torch.zeros(2**20)")
    with pytest.raises(wire.WireError, match="larger than the 2 MiB"):
        session.ask(CALL, "large", {"args": []})
    assert session.run_cell("1").ok


HOSTILE_VALUES = {
    "a billion elements": ("torch.zeros(1).expand(10**9)", lambda v: isinstance(v, wire.Opaque)),
    "not a number": ("float('nan')", lambda v: v is None or math.isnan(v)),
    "infinity": ("[float('inf'), -float('inf')]", lambda v: len(v) == 2),
    "a tensor that is none": ("{'$tensor': 0, 'stride': [10**12]}", lambda v: isinstance(v, wire.Opaque)),
    "an opaque that is none": ("{'$opaque': ['a', 'b']}", lambda v: isinstance(v, wire.Opaque)),
    "itself": ("(lambda l: l.append(l) or l)([])", lambda v: isinstance(v, list)),
    "a huge int": ("10**5000", lambda v: True),
    "lone surrogates": ("'\\ud800'", lambda v: v == "?" or "\ud800" not in v),
    "a sparse tensor": ("torch.eye(3).to_sparse()", lambda v: isinstance(v, wire.Opaque)),
    "a lying tensor": (
        "type('T', (torch.Tensor,), {'shape': (10**9,), 'numel': lambda s: 1})([1., 2.])",
        lambda v: isinstance(v, (wire.Opaque, torch.Tensor)),
    ),
    "an object of its own": ("type('A', (), {'__repr__': lambda s: 1 / 0})()", lambda v: v.text == "<its repr raised>"),
}


@pytest.mark.parametrize("name", HOSTILE_VALUES)
def test_hostile_values(session, name):
    expression, expected = HOSTILE_VALUES[name]
    session.run_cell(f"import torch\ndef give(): return {expression}")
    try:
        answer = session.ask(CALL, "give", {"args": []})
    except wire.WireError:
        assert name == "a huge int"
    else:
        assert expected(answer["value"]), answer
    assert session.run_cell("1").ok


def test_rich_outputs(session):
    run = session.run_cell("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nprint('a')")
    assert [output["output_type"] for output in run.outputs] == ["stream", "display_data"]
    assert run.outputs[-1]["data"]["image/png"].startswith("iVBOR")


def test_displays_without_end_are_interrupted_sooner_than_their_text_says(warm):
    with warm.open(limits=Limits(output=8 * MIB)) as session:
        run = session.run_cell("number = 0\nwhile True:\n    number += 1\n    display(number)")
        assert not run.ok
        assert session.run_cell("assert number < 10_000").ok


def test_a_display_is_updated_in_an_earlier_cell(session):
    first = session.run_cell("from IPython.display import display, update_display\ndisplay('old', display_id='d');")
    session.run_cell("update_display('new', display_id='d')")
    assert first.outputs[0]["data"]["text/plain"] == "'new'"


def test_interrupted_then_ended(warm):
    with warm.open(limits=Limits(cell=1, grace=3)) as session:
        run = session.run_cell("print('before')\nwhile True: pass")
        assert not run.ok
        assert run.outputs[0]["text"] == "before\n"
        assert run.outputs[-1]["ename"] == "LimitReached" and "1 s" in run.outputs[-1]["evalue"]
        assert any("while" in line for line in run.outputs[-1]["traceback"])  # where it was
        assert not any("runner.py" in line for line in run.outputs[-1]["traceback"])
        assert session.run_cell("1").ok

        with pytest.raises(SessionEnded) as ended:
            session.run_cell("print('last words')\nimport os; os._exit(5)")
        assert ended.value.reason == "exited" and "exit code 5" in ended.value.message
        assert ended.value.run.outputs[0]["text"] == "last words\n"
        for request in (
            lambda: session.run_cell("1"),
            lambda: session.ask(CALL, "x", {"args": []}),
            lambda: session.put({"a": b"b"}),
        ):
            with pytest.raises(SessionEnded) as again:
                request()
            assert again.value.message == ended.value.message
    with pytest.raises(SessionEnded):
        session.run_cell("1")


def test_reference_is_refused(session):
    run = session.run_cell("import lora_ref")
    assert run.outputs[-1]["ename"] == "ImportError" and "grading refuses it" in run.outputs[-1]["evalue"]


def test_a_part_of_the_reference_is_given(warm):
    with warm.open(given=("lora_ref.layer", "lora_ref.merging")) as session:
        assert session.run_cell("from lora_ref.layer import LoRALinear").ok
        run = session.run_cell("from lora_ref import inject")
        assert run.outputs[-1]["ename"] == "ImportError" and "grading refuses it" in run.outputs[-1]["evalue"]


def test_isolation_is_recorded(warm, session):
    record = session.isolation
    assert record["level"] in ("full", "partial", "none") and record["message"]
    if not warm.fork:
        assert record["level"] == "none" and "files" in record["missing"]
    json.dumps(record)


def test_prints_of_a_probe_are_no_output(session):
    session.run_cell("def speaks(): print('from the probe'); return 1")
    assert session.ask(CALL, "speaks", {"args": []})["value"] == 1
    assert session.run_cell("print('of the cell')").outputs[0]["text"] == "of the cell\n"


# What a learner's code may write on its own connection, descriptor 3 in the box.
FORGE = """
import json, os, struct
def frame(kind, request, payload):
    payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return struct.pack("<IIB", len(payload), request, kind) + payload
send = lambda data: os.write(3, data)
"""
FORGERIES = {
    "garbage": "send(b'\\xff' * 4096)",
    "a frame without end": "send(struct.pack('<IIB', 2**32 - 1, 2, 17)); import time; time.sleep(30)",
    "an answer out of turn": "send(frame(19, 2, b''))",
    "an answer to another question": "send(frame(18, 77, {'ok': True}))",
    "a second ready": "send(frame(16, 0, {'level': 'full'}))",
    "an unknown kind": "send(frame(99, 2, b''))",
    "its own end, then the true one": "send(frame(18, 2, {'ok': True, 'execution_count': 1}))",
    "json that is none": "send(frame(18, 2, b'{'))",
    "deep json": "send(frame(17, 2, b'[' * 60000))",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_frames_cost_only_the_session(forked, name):
    with forked.open(limits=Limits(cell=2, grace=1)) as session:
        session.run_cell(FORGE)
        with pytest.raises(SessionEnded) as ended:
            session.run_cell(FORGERIES[name])
            session.run_cell("1")
        assert ended.value.reason in ("protocol", "timeout")
    with forked.open() as session:
        assert session.run_cell("1").ok


def test_a_forged_output_is_an_output_and_no_more(forked):
    events = [
        {"type": "display_data", "content": {"data": {"text/html": "<b>", "x": 5, "application/json": {"a": [1]}}}},
        {"type": "execute_result", "content": {"data": "no bundle", "execution_count": "seven"}},
        {"type": "stream", "content": {"name": "elsewhere", "text": "x"}},
        {"type": "stream", "content": {"name": "stdout", "text": 5}},
        {"type": "error", "content": {"traceback": "no list"}},
        {"type": "score", "content": {"points": 100}},
        {"type": "display_data", "content": "nothing"},
    ]
    with forked.open() as session:
        session.run_cell(FORGE)
        run = session.run_cell(f"for event in {events!r}: send(frame(17, 2, event))")
    assert [output["output_type"] for output in run.outputs] == ["display_data", "execute_result", "stream", "error"]
    nbformat.validate(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=run.outputs)]))


@pytest.mark.parametrize("payload", [b"", b"\0\0", b"\0" * 12, b"\xff" * 8, protocol.pack_answers([b"a", b"b"]) + b"c"])
def test_forged_answers_are_refused(forked, payload):
    with pytest.raises(protocol.FrameError):
        protocol.read_answers(payload, 2)
    with forked.open() as session:
        session.run_cell(
            FORGE + f"import time\ndef times(x): send(frame(19, {session.request + 2}, {payload!r})); time.sleep(5)"
        )
        with pytest.raises(wire.WireError, match="answers"):
            times(session, [1, 2])


def test_answers_are_read_as_they_were_packed():
    assert protocol.read_answers(protocol.pack_answers([b"a", b"", b"bc"]), 3) == [b"a", b"", b"bc"]


def test_the_reader_takes_pieces_of_any_size():
    data = protocol.pack_json(protocol.EVENT, 7, {"a": 1}) + protocol.pack(protocol.ANSWER, 7, b"xyz")
    for size in (1, 3, 9, 100):
        reader = protocol.Reader({protocol.EVENT: 100, protocol.ANSWER: 100})
        got = [frame for i in range(0, len(data), size) for frame in reader.feed(data[i : i + size])]
        assert got == [(protocol.EVENT, 7, b'{"a": 1}'), (protocol.ANSWER, 7, b"xyz")]


def test_the_reader_refuses_before_it_waits():
    with pytest.raises(protocol.FrameError):
        list(protocol.Reader({protocol.EVENT: 100}).feed(struct.pack("<IIB", 101, 1, protocol.EVENT)))


def test_json_is_read_without_what_no_notebook_may_hold():
    assert protocol.read_json(b'{"a": NaN, "b": [Infinity]}') == {"a": None, "b": [None]}
    for payload in (b"", b"[1]", b"{", b"[" * 10**5, b"\xff"):
        with pytest.raises(protocol.FrameError):
            protocol.read_json(payload)


def test_outputs_are_few_enough():
    outputs = Outputs()
    for _ in range(5000):
        outputs.add({"type": "display_data", "content": {"data": {"text/plain": "x"}}})
    assert len(outputs.end()) <= 2000


def test_limits_are_above_zero():
    with pytest.raises(ValueError, match="memory"):
        Limits(memory=0)


@pytest.mark.skipif(os.name != "posix", reason="what it forces is usual there")
def test_a_connection_by_port(monkeypatch):
    """Where a socket cannot be inherited, the process connects and shows a token."""
    from autograde.sandbox import unsandboxed

    monkeypatch.setattr(unsandboxed, "INHERITS_SOCKETS", False)
    with SandboxPool(fork=False) as warm, warm.open(files={"a": b"b"}) as session:
        assert text(session.run_cell("open('a').read()")) == "'b'"


@pytest.mark.parametrize("module", ["autograde", "autograde.checks"])
def test_what_a_notebook_asks_of_a_check_works_in_grading(warm, module):
    """Each line works outside too: test_judge holds the same lines to the real checks."""
    with warm.open(limits=Limits()) as session:
        run = session.run_cell(
            f"from {module} import check\nf'{{check.linear_by_hand.points:g}}', check.linear_by_hand.name"
        )
        assert run.ok and "linear_by_hand" in text(run), run.outputs
        run = session.run_cell(
            "check.linear_by_hand(3)\ncheck.linear_by_hand.judge(3)\ncheck.linear_by_hand.inputs(seed=1)"
        )
        assert run.ok, run.outputs
