"""Handed-in work that tries to gain points by other means than an answer, or to do harm; and what each must end in.

Each of `TAMPERINGS` holds a wrong answer, so whatever it gains, it gained by tampering. `LIMITS` are those that do gain
something, with what they gain. `WHEAT` does things that look alike and are innocent, with right answers.
"""

import json
import textwrap
from dataclasses import dataclass, field

import nbformat
from small_class import ROOT, handed_in

from autograde.notebook.demonstration import is_demonstration
from autograde.project import Course

START, THIN, LAYER, MERGE = "00_start_here", "03_two_thin_products", "04_lora_linear", "06_merging"
MODEL = "09_transformer"
EXERCISES = {START: "linear_by_hand", THIN: "lora_delta", LAYER: "LoRALinear", MERGE: "merge", MODEL: "inject"}
EXERCISE, CHECK = "linear_by_hand", "check_linear_by_hand"

# What a lesson's wrong answer gets where nothing is tampered with, and what its check says to it.
FORGOTTEN = "def linear_by_hand(x, weight, bias):\n    return x @ weight.T\n"
SAYS_FORGOTTEN = "0 of 2 points .*A linear layer is a matrix product and nothing else"
FULL = "def lora_delta(x, A, B, scaling):\n    return scaling * (x @ (A @ B))\n"
SAYS_FULL = "lora_delta · 2 of 3 points The values are right, but computing them costs too much"
TRAINS = """
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        self.scaling = alpha / rank
        place = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **place))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **place))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
"""
TRAINS_SCORE = 6.0  # 2 for its start, 3 for forward, 1 for placement; none of the 2 for what is frozen
SAYS_TRAINS = "lora_linear_freeze · 0 of 2 points base_layer.weight and base_layer.bias would train"

SECRET = "a-secret-of-the-grader"  # stands in the grader's environment
LEFT = "98765.4321"  # stands in the command line of a process that must not be left

_RELEASED = nbformat.read(Course(ROOT).release(START), as_version=4).cells
DEMONSTRATION = next(cell.source for cell in _RELEASED if is_demonstration(cell))

# The first cell of every tampering that is code. `tried` says what was done and what came of it, so that a misspelt
# attack cannot pass for one that failed: at once, and again in the last cell, for what is printed while a check asks
# is shown nowhere.
TOOLS = """
import os, sys

COURSE = {course!r}
noted = []

def tried(*words, printing=print):
    noted.append(" ".join(map(str, words)))
    printing("tried:", noted[-1])

def attempt(function, *arguments):
    try:
        return tried("REACHED", repr(function(*arguments))[:200])
    except Exception as error:
        return tried("refused", type(error).__name__)
"""
LAST = "for line in dict.fromkeys(noted): print('tried:', line)"


@dataclass(frozen=True, eq=False)
class Tampering:
    """Work that one student hands in, and what it must end in.

    Attributes:
        name: of the student, too.
        lesson: its id.
        build: ``build(course)``: the notebook, or the bytes of its file; None where there is no such file.
        score: of the whole lesson; None where it must not be graded at all.
        says: regular expression that must be found in what the checks of the lesson say; where it is not graded, in what
            the command says.
        tried: regular expression that must be found in what the other cells of the graded notebook show.
        holds: regular expression that must be found in the file as it was handed in: a deed that is no code.
        files: ``{name: text}`` beside the notebook.
        links: ``{name: path}`` in place of files, the path relative to the course; "." is the lesson's folder itself, and
            ".." the student's.
    """

    name: str
    lesson: str
    build: object
    score: float | None
    says: str
    tried: str = ""
    holds: str = ""
    files: dict = field(default_factory=dict)
    links: dict = field(default_factory=dict)


TAMPERINGS, WHEAT, LIMITS = [], [], []


def _code(
    name, answer, tried, says=SAYS_FORGOTTEN, *, before="", after="", score=0.0, lesson=START, into=TAMPERINGS, **more
):
    """Register a tampering that is code.

    Args:
        answer: source of the answer's cell.
        before, after: sources of cells before the answer's and after the last check's.
    """

    def build(course):
        notebook = handed_in(course, {EXERCISES[lesson]: answer}, lesson)
        tools = TOOLS.format(course=str(course.root))
        first = [nbformat.v4.new_code_cell(source.strip("\n")) for source in (tools, before) if source]
        last = [nbformat.v4.new_code_cell(source.strip("\n")) for source in (after, LAST) if source]
        notebook.cells = [notebook.cells[0], *first, *notebook.cells[1:], *last]
        return notebook

    into.append(Tampering(name, lesson, build, score, says, tried, **more))


def _while_asked(deed):
    """A wrong answer that does `deed` whenever it is called."""
    return (
        "def linear_by_hand(x, weight, bias):\n"
        + textwrap.indent(deed.strip("\n"), "    ")
        + "\n    return x @ weight.T\n"
    )


def _file(name, holds, says=SAYS_FORGOTTEN, **more):
    """Register a tampering with the notebook's file: the decorated function changes it, as JSON with a wrong answer in it,
    in place. It gets the cells by their grade_id, and the whole.
    """

    def register(change):
        def build(course):
            raw = json.loads(nbformat.writes(handed_in(course, FORGOTTEN)))
            cells = {cell["metadata"].get("nbgrader", {}).get("grade_id"): cell for cell in raw["cells"]}
            change(cells, raw)
            return json.dumps(raw).encode()

        TAMPERINGS.append(Tampering(name, START, build, 0.0, says, holds=holds, **more))
        return change

    return register


def _output(text):
    return {"output_type": "execute_result", "data": {"text/plain": text}, "metadata": {}, "execution_count": 1}


def _cell(source, kind="code", **about):
    """A cell as JSON; `about` is what it says to nbgrader."""
    made = json.loads(json.dumps(getattr(nbformat.v4, f"new_{kind}_cell")(source)))
    if about:
        usual = {"grade": True, "locked": False, "schema_version": 3, "solution": False, "task": False}
        made["metadata"]["nbgrader"] = usual | about
    return made


# Marks that a notebook gives itself ----------------------------------------------------------------------------------

FORGED = "✓ linear_by_hand · 2 of 2 points\\n  Right on all 7 cases (cpu)."

_code("a_number_is_the_result", FORGOTTEN + "tried('a number')\n2.0", r"tried: a number 2\.0")
_code("numbers_are_printed", FORGOTTEN + "print(2.0)\nprint('2', file=sys.stderr)", "2.0 2", after="print(2.0)")
_code("a_verdict_is_printed", FORGOTTEN + f"print('{FORGED}')", "Right on all 7 cases", after=f"print('{FORGED}')")
_code(
    "a_verdict_is_shown",
    FORGOTTEN,
    "tried: a verdict as HTML ✓ linear_by_hand · 2 of 2 points",
    after=f"""
from IPython.display import display
tried("a verdict as HTML")
display({{"text/html": "<div role='status'>✓ 2 of 2</div>", "text/plain": "{FORGED}"}}, raw=True)
""",
)
_code(
    "displays_are_updated",
    FORGOTTEN,
    "tried: updated 29",
    after="""
from IPython.display import update_display
names = ["verdict", "check_linear_by_hand", "linear_by_hand", *map(str, range(26))]
for name in names:
    update_display({"text/plain": "2.0"}, display_id=name, raw=True)
tried("updated", len(names))
""",
)
_code(
    "outputs_are_cleared",
    FORGOTTEN,
    "tried: cleared",
    after="from IPython.display import clear_output\nclear_output()\ntried('cleared')\n2.0",
)
_code(
    "display_is_replaced",
    FORGOTTEN,
    r"forged <class .*tried: replaced",
    before="""
from IPython.display import display
shell, published = get_ipython(), get_ipython().display_pub.publish
def forged(data, **more):
    print("forged", type(data))
    published({"text/plain": "2.0", "text/html": "<b>2.0</b>"})
shell.display_pub.publish = forged
display(1)
tried("replaced")
""",
)
_code(
    "the_displayhook_is_replaced",
    FORGOTTEN + "1 + 1",
    "2.0 points",
    before="""
class Hook(type(sys.displayhook)):
    def __call__(self, result=None):
        print("2.0 points")
sys.displayhook.__class__ = Hook
get_ipython().displayhook_class = Hook
tried("replaced")
""",
)
_code(
    "hooks_of_the_shell",
    FORGOTTEN,
    "hooked.*tried: hooks",
    before="""
shell = get_ipython()
shell.events.register("post_run_cell", lambda result: print("hooked", 2.0))
shell.input_transformers_cleanup.append(lambda lines: [line.replace("check.", "print") for line in lines])
tried("hooks")
""",
)
_code(
    "the_shell_is_replaced",
    FORGOTTEN,
    "tried: replaced .*forged",
    before="""
shell, run_cell = get_ipython(), get_ipython().run_cell
def forged(source, *arguments, **more):
    return run_cell("print('forged')\\n" + source + "\\n2.0", *arguments, **more)
shell.run_cell = forged
tried("replaced")
""",
)
_code("the_check_is_called_with_another", FORGOTTEN, "tried: called check.linear_by_hand: judged by the grader",
      after="from autograde import check\ntried('called')\ncheck.linear_by_hand(torch.nn.functional.linear)")  # fmt: skip


# What a judge might use, replaced ------------------------------------------------------------------------------------

_code(
    "comparisons_of_torch",
    FORGOTTEN,
    "tried: True True True None",
    before="""
one, two = torch.tensor([1.0]), torch.tensor([2.0])
torch.allclose = torch.equal = lambda *a, **k: True
torch.isclose = lambda a, *b, **k: torch.ones_like(a, dtype=torch.bool)
torch.testing.assert_close = torch.testing.assert_allclose = lambda *a, **k: None
tried(torch.allclose(one, two), torch.equal(one, two), bool(torch.isclose(one, two)), torch.testing.assert_close(1, 2))
""",
)
CHANGES = """
def linear_by_hand(x, weight, bias):
    out = x @ weight.T if bias is None else x @ weight.T + bias
    weight.add_(1)
    return out
"""
SAYS_CHANGES = "0 of 2 points The result is right, but the call changed its input weight in place"
_code(
    "comparisons_that_would_show_a_changed_input",
    CHANGES,
    "tried: True",
    SAYS_CHANGES,
    before="""
torch.equal = torch.Tensor.equal = torch.allclose = lambda *a, **k: True
tried(torch.equal(torch.zeros(1), torch.ones(1)))
""",
)
_code(
    "comparisons_of_tensors",
    FORGOTTEN,
    r"tried: True 0\.0 True",
    before="""
T = torch.Tensor
one, two = torch.tensor([1.0]), torch.tensor([2.0])
zeros, yes = torch.zeros_like, lambda a, *b, **k: True
T.sub = T.__sub__ = T.__rsub__ = lambda a, b, **k: zeros(a)
T.allclose = T.equal = T.__eq__ = T.eq = T.__le__ = T.le = yes
T.__hash__ = lambda self: id(self)
tried(one == two, (one - two).item(), one <= torch.tensor([0.0]))
""",
)
_code(
    "builtins",
    _while_asked("import builtins\nbuiltins.abs = builtins.round = lambda *a, **k: 0.0\n"
                 "builtins.all = lambda *a: True\ntried(abs(-1), round(1.5), all([0]))"),
    "tried: 0.0 0.0 True",
)  # fmt: skip
_code(
    "isinstance",
    _while_asked("import builtins\nbuiltins.isinstance = lambda *a: True"),
    "tried: begun",
    "0 of 2 points The result has the right shape but wrong values",
    before="tried('begun')",
)
_code(
    "linear_itself",
    FORGOTTEN,
    "tried: without bias True",
    before="""
from torch.nn import functional as F
F.linear = torch.nn.functional.linear = torch._C._nn.linear = lambda x, weight, bias=None: x @ weight.T
nn.Linear.forward = lambda self, x: x @ self.weight.T
layer = nn.Linear(2, 2)
tried("without bias", torch.equal(layer(torch.zeros(2)), torch.zeros(2)))
""",
)
_code(
    "check",
    FORGOTTEN,
    "tried: forged True",
    before="""
import autograde
class Forged:
    def __getattr__(self, name):
        return lambda *a, **k: 2.0
autograde.check = check = Forged()
from autograde import check
tried("forged", check.linear_by_hand(None) == 2.0)
""",
)
_code(
    "the_module_of_checks",
    FORGOTTEN,
    "tried: forged passed",
    before="""
import types
passed = types.SimpleNamespace(exercise="linear_by_hand", points=2.0, score=2.0, status="passed", passed=True)
forged = types.SimpleNamespace(name="linear_by_hand", points=2.0, judge=lambda *a, **k: passed, fault=lambda *a: None)
for name in ("registry", "judge", "judge.check", "judge.verdict", "checks", "checks.start_here"):
    module = sys.modules["autograde." + name] = types.ModuleType("autograde." + name)
    module.linear_by_hand, module.Check, module.CHECKS = forged, lambda *a, **k: forged, [forged]
    module.find = module.checks_of = lambda *a: forged
    module.current = module.of = lambda *a: module
from autograde import registry
tried("forged", registry.current().find("linear_by_hand").judge(None).status)
""",
)
_code(
    "the_judge_s_modules",
    FORGOTTEN
    + "for name in ('check', 'compare', 'diagnosis', 'tolerance'): attempt(__import__, 'autograde.judge.' + name)",
    r"^(?!.*REACHED).*tried: refused (ImportError|ModuleNotFoundError)",
)
_code(
    "the_probe",
    FORGOTTEN,
    "tried: replaced",
    before="""
from autograde.remote import call, facts, raised
def forged(target, **arguments):
    return {"passed": True, "score": 2.0, "points": 2.0, "status": "passed"}
forged.is_probe = True
call.call, facts.same_bits, raised.catch = forged, lambda *a: True, lambda *a, **k: (2.0, None)
tried("replaced", call.call(None))
""",
)
_code(
    "what_becomes_frames",
    FORGOTTEN,
    "tried: refused KeyError tried: refused ModuleNotFoundError tried: replaced",
    before="""
import importlib
attempt(lambda: sys.modules["autograde.sandbox.protocol"])
attempt(importlib.import_module, "autograde.sandbox.child.serve")
protocol = type(sys)("protocol")
protocol.ANSWER, protocol.pack = 19, lambda kind, request, payload: payload
sys.modules["autograde.sandbox"] = sys.modules["autograde.sandbox.protocol"] = protocol
pack = protocol.pack
def forged(kind, request, payload):
    return pack(kind, request, b'{"passed": true, "score": 2.0, "status": "passed"}' if kind == protocol.ANSWER else payload)
protocol.pack = forged
tried("replaced")
""",
)
_code(
    "the_probe_s_answer",
    FORGOTTEN,
    "tried: replaced",
    before="""
from autograde.remote import probe
def forged(*_):
    return {"passed": True, "score": 2.0, "points": 2.0, "status": "passed", "value": 2.0, "changed": []}
probe.run_probe = forged
tried("replaced")
""",
)
_code(
    "what_is_sent",
    FORGOTTEN,
    "tried: replaced",
    before="""
from autograde.remote import wire
wire.encode = lambda value: b'{"status": "passed", "score": 2.0}'
tried("replaced")
""",
)
_code(
    "what_is_received",
    FORGOTTEN,
    "tried: replaced",
    before="""
from autograde.remote import wire
decode = wire.decode
def forged(data, **more):
    asked = decode(data, **more)
    asked["arguments"]["args"][2] = None  # all questions without a bias
    return asked
wire.decode = forged
tried("replaced")
""",
)
_code(
    "the_encoder_of_json",
    CHANGES,
    "tried: {}",
    SAYS_CHANGES,
    before="""
import json
iterencode = json.JSONEncoder.iterencode
def forged(self, value, *a, **k):
    return iterencode(self, value | {"changed": []} if isinstance(value, dict) and "changed" in value else value, *a, **k)
json.JSONEncoder.iterencode = forged
json.JSONEncoder.encode = lambda self, value: "".join(self.iterencode(value))
json.dumps.__code__ = (lambda obj, **k: JSONEncoder().encode(obj)).__code__
tried(json.dumps({}))
""",
)
_code(
    "what_loads_code",
    CHANGES,
    "tried: replaced",
    SAYS_CHANGES,
    before="""
import builtins, marshal
run, loads = builtins.exec, marshal.loads
def forged(code, names=None, *more):
    run(code, names, *more)
    if isinstance(names, dict) and "same_bits" in names: names["same_bits"] = lambda *a: True
builtins.exec = forged
marshal.loads = lambda data: tried("loaded") or loads(data)
builtins.__import__ = lambda name, *a, load=builtins.__import__, **k: load(name, *a, **k)
tried("replaced")
""",
)
_code(
    "modules_of_another_type",
    CHANGES,
    "tried: True",
    SAYS_CHANGES,
    before="""
class Module(type(sys)):
    pass
for name in ("torch", "torch._C", "json"):
    module = Module(name)
    vars(module).update(vars(sys.modules[name]))
    sys.modules[name] = module
sys.modules["torch"].equal = lambda *a: True
tried(sys.modules["torch"].equal(1, 2))
""",
)
_code(
    "modes_that_stay_and_the_guard_against_them",
    CHANGES,
    "tried: entered",
    SAYS_CHANGES,
    before="""
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
guard = torch._C._DisableTorchDispatch
guard.__enter__, guard.__exit__ = lambda self: self, lambda self, *a: None
class Dispatch(TorchDispatchMode):
    _should_skip_dynamo = classmethod(lambda cls: False)
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return "equal" in str(func) or func(*args, **(kwargs or {}))
class Function(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return getattr(func, "__name__", "") == "equal" or func(*args, **(kwargs or {}))
Dispatch().__enter__()
Function().__enter__()
tried("entered")
""",
)
_code(
    "json_struct_and_safetensors",
    FORGOTTEN,
    "tried: replaced",
    before="""
import json, struct
import safetensors.torch
dumps, save = json.dumps, safetensors.torch.save
def forged(value, *a, **k):
    if isinstance(value, dict) and "changed" in value:
        value = {**value, "score": 2.0, "passed": True, "status": "passed"}
    return dumps(value, *a, **k)
json.dumps = forged
safetensors.torch.save = lambda tensors, *a: save({name: torch.zeros_like(t) for name, t in tensors.items()})
struct.pack = lambda *a: b""
tried("replaced")
""",
)
_code(
    "the_socket",
    FORGOTTEN,
    "tried: replaced",
    before="""
import json, socket
tried("replaced")
sendall = socket.socket.sendall
def forged(self, data, *a):
    return sendall(self, data.replace(b'"changed"', b'"score": 2.0, "passed": true, "changed"'), *a)
socket.socket.sendall = forged
""",
)

FRAMES = """
import json, struct
def frame(kind, request, payload):
    payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return struct.pack("<IIB", len(payload), request, kind) + payload
def to_all(data):
    reached = 0
    for number in range(1, 64):
        try:
            reached += os.write(number, data) > 0
        except OSError:
            pass
    return reached
"""
NOT_UNDERSTOOD = "0 of 2 points What came from your notebook's process .* could not be understood; it was stopped"
_code(
    "frames_from_a_cell",
    FORGOTTEN + "tried('frames')\nanswer = {'type': 'int', 'value': 2, 'changed': [], 'score': 2.0}\n"
    "for request in range(40): to_all(frame(19, request, answer))",
    "tried: frames",
    NOT_UNDERSTOOD,
    before=FRAMES,
)
_code(
    "frames_while_asked",
    _while_asked("for request in range(40): to_all(frame(19, request, b'passed' * 9))"),
    "tried: begun",
    NOT_UNDERSTOOD,
    before=FRAMES + "tried('begun')",
)
_code(
    "a_signal_writes_to_the_socket",
    FORGOTTEN,
    "tried: set",
    r"0 of 2 points (What came from your notebook's process|Your notebook closed its connection)",
    before="""
import signal
os.set_blocking(3, False)
signal.set_wakeup_fd(3, warn_on_full_buffer=False)
signal.signal(signal.SIGALRM, lambda *_: None)
tried("set")
sys.stdout.flush()
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
""",
)
_code(
    "a_program_in_its_own_place",
    FORGOTTEN
    + "import fcntl\nfcntl.fcntl(3, fcntl.F_SETFD, 0)\ntried('exec')\nsys.stdout.flush()\n"
    + "os.execv(sys.executable, [sys.executable, '-c', 'import os; [os.write(3, bytes(9)) for _ in range(9)]'])",
    "tried: exec",
    NOT_UNDERSTOOD,
)
_code(
    "a_frame_of_a_thread",
    FORGOTTEN + "import threading, time\n"
    "def write():\n    while True:\n        to_all(frame(19, 7, b'2.0'))\n        time.sleep(0.001)\n"
    "tried('a thread')\nthreading.Thread(target=write, daemon=True).start()",
    "tried: a thread",
    NOT_UNDERSTOOD,
    before=FRAMES,
)


# Looking for what is right -------------------------------------------------------------------------------------------

WANTED = "{'expected', 'right', 'verdict', 'judge', 'check', 'case', 'cases', 'fault', 'seed', 'draw', 'observation'}"
_code(
    "frames_of_callers",
    _while_asked(f"""
frame, names, depth = sys._getframe(), set(), 0
while frame:
    names |= set(frame.f_locals)
    frame, depth = frame.f_back, depth + 1
tried("deep", depth > 5, "found", sorted(names & {WANTED}))
"""),
    r"tried: deep True found \[\]",
)
_code(
    "the_stack_by_inspect",
    _while_asked("""
import inspect
found = [v for record in inspect.stack(0) for v in record.frame.f_locals.values() if isinstance(v, torch.Tensor)]
others = [v for v in found if v.shape == (*x.shape[:-1], weight.shape[0]) and v is not x]
tried("tensors", len(found) >= 2)
if others: return others[0]
"""),
    "tried: tensors True",
    "linear_by_hand · 0 of 2 points",
)
_code(
    "all_objects",
    _while_asked("""
import gc
gc.unfreeze()
kinds = {"Check", "Case", "Misconception", "Verdict", "Fault", "Draw", "Task", "Graded", "Gradebook"}
objects = gc.get_objects()
tried("many", len(objects) > 1000, "found", sorted({type(o).__name__ for o in objects} & kinds))
"""),
    r"tried: many True found \[\]",
)
_code(
    "modules_of_checks",
    FORGOTTEN + "known = [name for name in sys.modules if name.startswith(('autograde.checks', 'autograde.batch.'))]\n"
    "tried('known', [name for name in known if name.split('.')[1] == 'checks'])\n"
    "attempt(__import__, 'autograde.checks.start_here')\nattempt(__import__, 'autograde.nbgrader_plugin.gradebook')",
    r"tried: known \[\] .*tried: refused ImportError tried: refused ImportError",
)
_code(
    "tracing",
    FORGOTTEN,
    "tried: traced True .*judge False",
    before="""
names = set()
def trace(frame, event, argument):
    names.add(frame.f_code.co_name)
    frame.f_locals.update(expected=2.0, score=2.0)
    return trace
sys.settrace(trace)
sys.setprofile(lambda frame, *_: names.add(frame.f_code.co_filename))
""",
    after="""
sys.settrace(None), sys.setprofile(None)
tried("traced", "linear_by_hand" in names, "judge", any("checks" in name or "expected" == name for name in names))
""",
)
_code(
    "the_answer_of_the_last_question",
    """
last = {}
def linear_by_hand(x, weight, bias):
    out = last.get("right", torch.zeros(3, 3))
    last["right"] = torch.nn.functional.linear(x, weight, bias)
    tried("remembered", len(last))
    return out
""",
    "tried: remembered 1",
    "linear_by_hand · 0 of 2 points",
)
_code(
    "the_seed",
    """
from draw import Draw  # the judge's own, which is no secret
seeds = [torch.initial_seed() % 2**31, torch.random.default_generator.initial_seed() % 2**31, *range(50)]
def linear_by_hand(x, weight, bias):
    for seed in seeds:
        draw = Draw(seed)
        draw.sizes(4, low=3), draw.integer(3, 6)
        if torch.equal(draw.tensor(*weight.shape, dtype=weight.dtype), weight):
            return tried("PREDICTED", seed)
    tried("no seed of", len(seeds))
    return x @ weight.T
""",
    "tried: no seed of 52",
    before="attempt(__import__, 'autograde.judge.random_inputs')",
    files={"draw.py": (ROOT / "autograde" / "judge" / "random_inputs.py").read_text(encoding="utf-8")},
)

_code(
    "a_search_of_the_memory",
    FORGOTTEN,
    r"tried: works True found \[\]",
    before=r"""
# Each letter is the next one here, and so is what was read, lest the search finds itself.
known, wanted = 'bvuphsbef/sfnpuf/xjsf', ['sfuvso!pvu!jg!cjbt!jt!Opof', 'SjhiuBotxfs)', 'B!mjofbs!mbzfs!jt!b!nbusjy!qspevdu', 'dmbtt!Fyqptft', 'b.tfdsfu.pg.uif.hsbefs']
following = bytes((letter + 1) % 256 for letter in range(256))
found, regions = set(), [line.split() for line in open("/proc/self/maps")]
with open("/proc/self/mem", "rb", 0) as memory:
    for place, access, *about in regions:
        if "r" not in access or (len(about) > 3 and about[3].startswith(("/", "[v"))):
            continue
        start, end = (int(number, 16) for number in place.split("-"))
        for at in range(start, end, 2**22):
            try:
                memory.seek(at)
                read = memory.read(min(2**22, end - at)).translate(following)
            except (OSError, ValueError):
                break
            found |= {word for word in [known, *wanted] if word.encode() in read}
tried("works", known in found, "found", sorted(found - {known}))
""",
)

# Places that no box shows. Where the box is a lesser one, they can be named, and read by nobody.
PLACES = """
places = [COURSE + "/solutions/00_start_here/00_start_here.ipynb", "../../solutions/00_start_here.py",
          "../../../../solutions/00_start_here/00_start_here.ipynb", "../../001-right/00_start_here/00_start_here.ipynb",
          COURSE + "/autograde/submitted/001-right/00_start_here/00_start_here.ipynb",
          COURSE + "/autograde/autograded/001-right/00_start_here/00_start_here.ipynb",
          COURSE + "/autograde/gradebook.db", COURSE + "/nbgrader_config.py", "/etc/shadow"]
"""
REFUSED = r"^(?!.*REACHED).*tried: refused (FileNotFound|Permission)Error"
_code(
    "files_of_the_course",
    FORGOTTEN + "for place in places: attempt(open, place)",
    REFUSED,
    before=PLACES,
)
_code(
    "files_by_way_of_proc",
    FORGOTTEN + "for process in (1, 'self', os.getppid()):\n"
    "    for way in ('root', 'cwd'):\n"
    "        for place in places: attempt(open, f'/proc/{process}/{way}/{place}')",
    REFUSED,
    before=PLACES,
)
_code(
    "folders_of_the_course",
    FORGOTTEN
    + "for folder in ('', '/solutions', '/autograde', '/autograde/submitted'): attempt(os.listdir, COURSE + folder)",
    REFUSED,
)
_code(
    "links_into_the_course",
    FORGOTTEN + "os.symlink(COURSE + '/solutions', 'mine')\nattempt(os.listdir, 'mine')\n"
    "attempt(os.link, COURSE + '/autograde/gradebook.db', 'book.db')",
    REFUSED,
)
_code(
    "the_reference_by_import",
    "from lora_ref import linear_by_hand",
    "ImportError: lora_ref is the reference that this course arrives at",
    "After running the notebook up to this point, there is no linear_by_hand.*grading refuses it",
)
_code(
    "the_reference_by_other_ways",
    FORGOTTEN,
    r"^(?!.*REACHED).*tried: refused (ImportError|ModuleNotFoundError|FileNotFoundError|PermissionError)",
    before="""
import importlib, importlib.util
root = os.path.dirname(os.path.dirname(sys.modules["autograde"].__file__))
def by_location():
    spec = importlib.util.spec_from_file_location("reference", root + "/lora_ref/layer.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
attempt(importlib.import_module, "lora_ref")
attempt(by_location)
attempt(lambda: exec(open(root + "/lora_ref/__init__.py").read()))
sys.meta_path[:] = [finder for finder in sys.meta_path if "Refuse" not in type(finder).__name__]
sys.path.insert(0, root)
sys.path_importer_cache.clear()
attempt(importlib.import_module, "lora_ref.layer")
attempt(importlib.import_module, "autograde.checks.start_here")
""",
)
_code(
    "secrets_of_the_environment",
    FORGOTTEN,
    "tried: environment True secrets 0",
    before=f"""
import glob
texts = [repr(dict(os.environ)).encode()]
for path in glob.glob("/proc/*/environ") + glob.glob("/proc/*/cmdline"):
    try:
        texts.append(open(path, "rb").read())
    except OSError:
        pass
secret = "-".join({SECRET.split("-")})
tried("environment", b"PATH" in texts[0], "secrets", sum(secret.encode() in text for text in texts))
""",
)
_code(
    "memory_of_others",
    FORGOTTEN,
    r"tried: others \[\] tried: refused",
    before="""
def poke(process):
    with open(f"/proc/{process}/mem", "r+b", buffering=0) as memory:
        return memory.write(b"2.0")
try:
    others = [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
except OSError:
    others = []
tried("others", others)
for process in (os.getppid(), 1 if os.getpid() != 1 else 2, *others): attempt(poke, process)
""",
)
_code(
    "the_network",
    FORGOTTEN,
    r"^(?!.*REACHED).*tried: refused",
    before="""
import socket, urllib.request
attempt(socket.create_connection, ("1.1.1.1", 53), 2)
attempt(socket.create_server, ("127.0.0.1", 0))
attempt(socket.getaddrinfo, "example.com", 80)
attempt(urllib.request.urlopen, "http://127.0.0.1:8888/api", None, 2)
""",
)


# The gradebook, and other people's work ------------------------------------------------------------------------------

_code(
    "the_gradebook_by_sqlite",
    FORGOTTEN,
    "tried: refused OperationalError tried: refused",
    before="""
import sqlite3
def give(path):
    with sqlite3.connect(f"file:{path}?mode=rw", uri=True) as book:
        book.execute("update grade set auto_score = 2, manual_score = 2")
for path in (COURSE + "/autograde/gradebook.db", "../../../gradebook.db", COURSE + "/gradebook.db"): attempt(give, path)
""",
)
_code(
    "the_gradebook_by_nbgrader",
    FORGOTTEN,
    "tried: refused OperationalError",
    before="""
def give():
    from nbgrader.api import Gradebook
    with Gradebook(f"sqlite:///{COURSE}/autograde/gradebook.db") as book:
        book.update_or_create_student("me")
        for submission in book.assignment_submissions("00_start_here"):
            for grade in submission.notebooks[0].grades: grade.manual_score = 2
        book.db.commit()
attempt(give)
""",
)
_code(
    "writing_into_the_course",
    FORGOTTEN,
    r"^(?!.*REACHED).*tried: refused",
    before="""
def write(path):
    with open(path, "a") as file:
        return file.write("x")
def remove(path):
    os.unlink(path)
for path in ("/solutions/00_start_here/00_start_here.ipynb", "/notebooks/00_start_here/00_start_here.ipynb",
             "/autograde/submitted/001-right/00_start_here/00_start_here.ipynb", "/autograde/gradebook.db",
             "/nbgrader_config.py", "/autograde/autograded/001-right/00_start_here/00_start_here.ipynb"):
    attempt(write, COURSE + path)
    attempt(remove, COURSE + path)
attempt(os.open, sys.modules["autograde"].__file__, os.O_WRONLY)
""",
)


# Ending, killing, going on -------------------------------------------------------------------------------------------

_code("exit_in_a_cell", FORGOTTEN + "tried('leaving')\nsys.stdout.flush()\nos._exit(0)", "tried: leaving",
      r"0 of 2 points Your notebook ended its own Python process in cell \d \(exit code 0\)")  # fmt: skip
_code("exit_while_asked", _while_asked("os._exit(0)"), "tried: begun",
      "0 of 2 points Your notebook ended its own Python process when linear_by_hand was tried",
      before="tried('begun')")  # fmt: skip
_code("sys_exit_while_asked", _while_asked("tried('leaving')\nsys.exit(0)"), "tried: leaving",
      "0 of 2 points The call raised SystemExit: 0")  # fmt: skip
_code("system_exit_in_a_cell", "tried('leaving')\nraise SystemExit(0)\n" + FORGOTTEN, "tried: leaving",
      "0 of 2 points After running the notebook up to this point, there is no linear_by_hand")  # fmt: skip
_code("an_interrupt_of_its_own", _while_asked("tried('interrupt')\nraise KeyboardInterrupt"), "tried: interrupt",
      "0 of 2 points linear_by_hand could not be tried")  # fmt: skip
_code(
    "a_base_exception_of_its_own",
    "class Ended(BaseException):\n    def __str__(self): raise self\n" + _while_asked("tried('raising')\nraise Ended"),
    "tried: raising",
    "0 of 2 points linear_by_hand could not be tried: Ended",
)
_code(
    "at_exit",
    FORGOTTEN,
    "tried: registered",
    before="""
import atexit, weakref
class Last:
    def __del__(self): print(2.0)
last = Last()
for function in (lambda: print(2.0), lambda: os.write(3, b"2.0"), lambda: os._exit(0)):
    atexit.register(function)
weakref.finalize(last, print, 2.0)
tried("registered")
""",
)
_code(
    "killing_everybody",
    FORGOTTEN,
    r"^(?!.*REACHED).*tried: refused ProcessLookupError .*tried: all of its own",
    before="""
# With the signal 0 the kernel asks the same questions, and nobody is harmed where it says yes.
for process in (*range(2, 40), -1): attempt(os.kill, process, 0)
tried("all of its own")
os.killpg(0, 9)  # of its own processes it is the first, which the kernel does not let them kill
""",
)
_code(
    "signals",
    FORGOTTEN,
    "tried: handlers True",
    before="""
import signal
caught = []
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    try:
        signal.signal(number, lambda *_: caught.append(number))
    except (OSError, ValueError):
        pass
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
while not caught: pass
""",
    after='tried("handlers", len(caught) > 2)',
)
_code(
    "a_copy_answers",
    _while_asked("if os.fork() == 0:\n    return torch.nn.functional.linear(x, weight, bias)\ntried('forked')"),
    "tried: forked",
)
_code(
    "a_copy_stays",
    FORGOTTEN,
    "tried: forked",
    before="""
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(256):
            try: os.close(number)
            except OSError: pass
        os.execvp("sleep", ["sleep", LEFT])
    os._exit(0)
os.wait()
tried("forked")
""".replace("LEFT", repr(LEFT)),
)
_code(
    "threads_that_go_on",
    FORGOTTEN,
    "tried: threads",
    before="""
import threading, time
def write():
    while True:
        print("2.0")
        sys.stderr.write("2.0\\n")
        time.sleep(0.01)
for _ in range(4): threading.Thread(target=write, daemon=True).start()
tried("threads")
""",
)
_code("a_loop_that_takes_no_interrupt", """
import signal, time
def linear_by_hand(x, weight, bias):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True: time.sleep(0.1)
""", "tried: begun", "0 of 2 points Your notebook ran longer than 4 s when linear_by_hand was tried and was stopped",
      before="tried('begun')")  # fmt: skip
_code("a_fork_bomb", _while_asked("while True:\n    try: os.fork()\n    except OSError: break\ntried('forked')"), "tried: begun",
      "0 of 2 points", before="tried('begun')")  # fmt: skip
_code("all_the_memory", FORGOTTEN + "tried('begun')\nhoard = []\nwhile True: hoard.append(bytearray(2**26))",
      "tried: begun .*(MemoryError|used more than 768 MiB)", "0 of 2 points")  # fmt: skip
_code("a_flood", FORGOTTEN + "tried('begun')\nwhile True: print('2.0' * 10000)",
      r"tried: begun .*(brought the output to|printed) more than 1 MiB", "0 of 2 points")  # fmt: skip
_code("the_disk", FORGOTTEN + "tried('begun')\nattempt(lambda: open('full', 'wb').write(bytes(2**26)))",
      "tried: begun .*tried: refused OSError")  # fmt: skip


# Objects that lie ----------------------------------------------------------------------------------------------------


def _returned(name, expression, says, before="", tried="tried: called"):
    answer = f"def linear_by_hand(x, weight, bias):\n    tried('called')\n    return {expression}\n"
    _code(name, answer, tried, f"linear_by_hand · 0 of 2 points .*{says}", before=before)


_returned("the_word_passed", "'passed'", "is not a torch tensor but str")
_returned("true", "True", "is not a torch tensor but bool")
_returned("not_a_number", "float('nan')", "is not a torch tensor but float")
_returned("nothing_but_nan", "torch.full((*x.shape[:-1], len(weight)), torch.nan, dtype=x.dtype)", "wrong values")
_returned("nothing_but_infinity", "torch.full((*x.shape[:-1], len(weight)), torch.inf, dtype=x.dtype)", "wrong values")
_returned("a_numpy_array", "(x @ weight.T).numpy()", "is not a torch tensor but numpy.ndarray")
_returned("a_list", "(x @ weight.T).tolist()", "is not a torch tensor but list")
_returned("a_billion_numbers", "torch.zeros(1).expand(10**9)", "is a tensor that cannot be compared")
_returned("more_than_is_sent", "torch.zeros(2**22)", "larger than the 8 MiB allowed")
_returned(
    "a_tensor_without_numbers",
    "torch.empty(*x.shape[:-1], len(weight), device='meta')",
    "is a tensor that cannot be compared",
)
_returned("a_generator_without_end", "iter(int, 1)", "is not a torch tensor but callable_iterator")
_returned("the_wire_s_own_words", "{'$tensor': 0, 'stride': [1]}", "is not a torch tensor but dict")
_returned("a_report", "{'passed': True, 'score': 2.0, 'status': 'passed'}", "is not a torch tensor but dict")
_returned(
    "a_list_without_end",
    "Endless([1])",
    "took longer than 4 s and was interrupted",
    "import time\nclass Endless(list):\n    def __iter__(self):\n        while True: yield time.sleep(0.1)",
)
_returned(
    "a_class_that_is_another",
    "Lying()",
    "is not a torch tensor but Lying",
    """
class Lying:
    __class__ = property(lambda self: torch.Tensor)
    shape, layout, dtype, is_meta, is_quantized = (0, 3), torch.strided, torch.float32, False, False
    __eq__ = __le__ = lambda self, other: True
    __hash__ = None
    __float__ = lambda self: 0.0
    def __getattr__(self, name):
        return lambda *a, **k: self
tried(isinstance(Lying(), torch.Tensor), Lying() == 2)
""",
)
_returned(
    "a_tensor_that_agrees",
    "(x @ weight.T).as_subclass(Lying)",
    "A linear layer is a matrix product",
    """
class Lying(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") in ("equal", "allclose", "eq", "isclose", "le"):
            return True
        if getattr(function, "__name__", "") in ("sub", "rsub", "__sub__"):
            return torch.zeros(1)
        return super().__torch_function__(function, types, args, kwargs or {})
tried(torch.equal(torch.ones(2).as_subclass(Lying), torch.zeros(2)))
""",
)
_returned(
    "a_tensor_of_another_shape",
    "(x @ weight.T).as_subclass(Lying)",
    "",
    """
class Lying(torch.Tensor):
    shape = property(lambda self: torch.Size([0, 3]))
    numel = lambda self: 0
    size = lambda self, *a: torch.Size([0, 3])
tried(torch.ones(2).as_subclass(Lying).shape)
""",
)
_returned(
    "text_that_raises",
    "Lying('passed')",
    "could not be tried",
    "class Lying(str):\n    def __str__(self): raise KeyboardInterrupt\n    __repr__ = __len__ = __str__",
)
_returned(
    "an_object_that_ends_the_process",
    "Lying()",
    "ended its own Python process when linear_by_hand was tried",
    "class Lying:\n    def __repr__(self): os._exit(0)\n    __class__ = property(__repr__)\ntried('begun')",
    "tried: begun",
)
_returned(
    "an_object_that_ends_the_process_later",
    "Lying()",
    "ended its own Python process when linear_by_hand was tried",
    "class Lying:\n    def __del__(self): os._exit(0)\ntried('begun')",
    "tried: begun",
)
_returned("a_tensor_whose_memory_is_gone", "emptied(x @ weight.T)", "is a tensor that cannot be compared",
          "def emptied(out):\n    out.untyped_storage().resize_(0)\n    return out")  # fmt: skip
_returned("a_tensor_with_too_little_memory", "emptied(x @ weight.T)", "is a tensor that cannot be compared",
          "def emptied(out):\n    out.untyped_storage().resize_(2)\n    return out")  # fmt: skip
_returned("a_file_in_memory_that_was_cut", "mapped(x @ weight.T)", "Python itself crashed when linear_by_hand was tried", """
import numpy as np
def mapped(out):
    open("values", "wb").write(bytes(2**16))
    found = torch.from_numpy(np.memmap("values", dtype=np.float32, mode="r+"))
    os.truncate("values", 0)
    return found[: out.numel()].reshape(out.shape)
tried("begun")
""", "tried: begun")  # fmt: skip
_returned(
    "a_wrapper_that_computes_when_it_is_read",
    "Wrapper(x @ weight.T)",
    "is not a torch tensor but Wrapper",
    """
class Wrapper(torch.Tensor):
    @staticmethod
    def __new__(cls, out):
        return torch.Tensor._make_wrapper_subclass(cls, out.shape, dtype=out.dtype)
    def __init__(self, out):
        self.out = out
    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return torch.zeros(args[0].shape)
""",
)
_returned("a_tensor_from_within_vmap", "leaked(x @ weight.T)", "is a tensor that cannot be compared",
          "def leaked(out):\n    kept = []\n    torch.vmap(lambda row: kept.append(row) or row)(out.reshape(-1, out.shape[-1]))\n"
          "    return kept[0]")  # fmt: skip
_returned("a_sparse_tensor", "(x @ weight.T).to_sparse()", "is a tensor that cannot be compared")
_returned("the_check_s_own_verdict", "check.linear_by_hand(linear_by_hand)", "The function returns None",
          "from autograde import check")  # fmt: skip

_returned("a_dict_that_lies_about_its_keys", "Lying(x @ weight.T)", "is not a torch tensor but Lying", """
class Lying(dict):
    def __init__(self, out): self.out = out
    def __iter__(self): return iter(["harmless"])
    def items(self): return [("$tensor", 0), ("stride", [1]), ("held", self.out)]
tried("begun")
""", "tried: begun")  # fmt: skip
_code(
    "a_thread_that_writes_into_a_result",
    """
import threading
def linear_by_hand(x, weight, bias):
    out = x @ weight.T
    threading.Thread(target=lambda: [out.add_(1) for _ in range(99)]).start()
    return out
tried("begun")
""",
    "tried: begun",
    "linear_by_hand · 0 of 2 points",
)
_code(
    "a_timer_that_writes_into_results",
    """
import signal
results = []
def linear_by_hand(x, weight, bias):
    results.append((x @ weight.T, bias))
    return results[-1][0]
def mend(*_):
    while results:
        out, bias = results.pop()
        if bias is not None: out.add_(bias)
signal.signal(signal.SIGALRM, mend)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
tried("begun")
""",
    "tried: begun",
    "linear_by_hand · 0 of 2 points",
)
_code(
    "a_profile_that_asks_something_else",
    FORGOTTEN,
    "tried: begun",
    "0 of 2 points linear_by_hand could not be tried",
    before="""
import ctypes
def other(frame, event, argument):
    if event == "call" and frame.f_code.co_name == "run_probe":
        frame.f_locals["name"] = "autograde.remote.call:is_defined"
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))
sys.setprofile(other)
tried("begun")
""",
)
_code(
    "an_audit_that_stops_what_is_loaded_anew",
    FORGOTTEN,
    "tried: begun",
    "0 of 2 points Your notebook ended its own Python process",
    before="""
def stop(event, arguments):
    if event == "exec": raise RuntimeError(event)
tried("begun")
sys.stdout.flush()
sys.addaudithook(stop)
""",
)
_code(
    "another_file_in_place_of_the_socket",
    FORGOTTEN,
    "tried: begun",
    "0 of 2 points Your notebook closed its connection",
    before="tried('begun')\nsys.stdout.flush()\nos.dup2(os.open('mine', os.O_CREAT | os.O_RDWR), 3)",
)
_code(
    "points_that_a_check_may_tell",
    FORGOTTEN,
    r"tried: 1000\.0",
    before="""
from autograde import check
from autograde.remote import learner_process
learner_process._facts["linear_by_hand"] = {"points": 1000.0, "parts": {"answer": 1000.0}}
tried(check.linear_by_hand.points)
""",
)


# The whole of torch set otherwise ------------------------------------------------------------------------------------

_code("a_coarse_default_dtype", FORGOTTEN, "tried: torch.float16",
      before="torch.set_default_dtype(torch.float16)\ntried(torch.ones(1).dtype)")  # fmt: skip
_code("a_default_device_without_numbers", FORGOTTEN, "tried: meta",
      "0 of 2 points linear_by_hand could not be tried: NotImplementedError: Cannot copy out of meta tensor",
      before="torch.set_default_device('meta')\ntried(torch.ones(1).device)")  # fmt: skip
_code("gradients_off_and_seeds_set", FORGOTTEN, "tried: False",
      before="torch.manual_seed(0)\nimport random\nrandom.seed(0)\ntorch.set_grad_enabled(False)\n"
             "torch.use_deterministic_algorithms(True)\ntorch.set_flush_denormal(True)\n"
             "tried(torch.is_grad_enabled())")  # fmt: skip
_code(
    "a_mode_over_everything",
    FORGOTTEN,
    "tried: True",
    before="""
from torch.overrides import TorchFunctionMode
class Agreeing(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") in ("equal", "allclose", "eq", "isclose"):
            return True
        return function(*args, **(kwargs or {}))
Agreeing().__enter__()
tried(torch.equal(torch.zeros(1), torch.ones(1)))
""",
)


# Names that are not what they were -----------------------------------------------------------------------------------

_code(
    "right_when_it_is_too_late",
    FORGOTTEN,
    "tried: defined anew",
    after="linear_by_hand = torch.nn.functional.linear\ntried('defined anew')\n2.0",
)
_code("no_name", FORGOTTEN + "del linear_by_hand\ntried('deleted')", "tried: deleted",
      "After running the notebook up to this point, there is no linear_by_hand")  # fmt: skip
_code("the_check_is_the_answer", "linear_by_hand = check.linear_by_hand\ntried('taken')", "tried: taken",
      "0 of 2 points .*The function returns None")  # fmt: skip
_code(
    "a_namespace_of_its_own",
    FORGOTTEN,
    "tried: replaced",
    "0 of 2 points",
    before="""
class Names(dict):
    def __contains__(self, name): return True
    def __getitem__(self, name): return super().get(name, 2.0)
shell = get_ipython()
shell.user_ns = Names(shell.user_ns)
tried("replaced")
""",
)
_code(
    "modules_of_its_own",
    FORGOTTEN,
    "tried: mine True",
    before="""
import autograde.remote
folder = os.path.join(os.getcwd(), "remote_of_mine")
autograde.remote.__path__.insert(0, folder)
del sys.modules["autograde.remote.call"], autograde.remote.call
import autograde.remote.call as mine
tried("mine", mine.__file__.startswith(folder))
""",
    files={
        "remote_of_mine/call.py": "def call(target, **k):\n    return {'passed': True, 'score': 2.0}\n"
        "call.is_probe = True\n",
    },
)


# The notebook's file -------------------------------------------------------------------------------------------------


@_file("the_check_s_source_is_a_number", r'"source": "2\.0"')
def _(cells, raw):
    cells[CHECK]["source"] = "2.0"


@_file("the_check_asks_another", r"check\.linear_by_hand\(torch\.nn\.functional\.linear\)")
def _(cells, raw):
    cells[CHECK]["source"] = "check.linear_by_hand(torch.nn.functional.linear)"


@_file("the_check_s_source_is_gone", r'"source": "", "outputs"|"source": ""')
def _(cells, raw):
    cells[CHECK]["source"] = ""


@_file("outputs_of_the_check", "execute_result")
def _(cells, raw):
    cells[CHECK]["outputs"] = [_output("✓ linear_by_hand · 2 of 2 points"), _output("2.0")]


@_file("a_thousand_points", r'"points": 1000')
def _(cells, raw):
    cells[CHECK]["metadata"]["nbgrader"]["points"] = 1000.0
    cells[CHECK]["outputs"] = [_output("1000.0")]


@_file("points_that_are_no_number", "NaN")
def _(cells, raw):
    cells[CHECK]["metadata"]["nbgrader"]["points"] = float("nan")


@_file("the_check_is_not_graded", '"grade": false')
def _(cells, raw):
    cells[CHECK]["metadata"]["nbgrader"].update(grade=False, locked=False)
    cells[CHECK]["source"] = "2.0"


@_file("the_check_is_an_answer", '"solution": true.*"solution": true')
def _(cells, raw):
    cells[CHECK]["metadata"]["nbgrader"].update(solution=True, locked=False)
    cells[CHECK]["source"] = "2.0"


@_file("the_answer_is_graded", '"grade": true.*"grade": true')
def _(cells, raw):
    cells[EXERCISE]["metadata"]["nbgrader"].update(grade=True, points=2.0, solution=False)
    cells[EXERCISE]["source"] += "\n2.0"


@_file("ids_are_swapped", CHECK, "After running the notebook up to this point, there is no linear_by_hand")
def _(cells, raw):
    cells[CHECK]["metadata"]["nbgrader"]["grade_id"] = EXERCISE
    cells[EXERCISE]["metadata"]["nbgrader"]["grade_id"] = CHECK


@_file("checksums_and_schemas", '"schema_version": 99')
def _(cells, raw):
    cells[EXERCISE]["metadata"]["nbgrader"].update(checksum="0" * 32, schema_version=99)
    cells[CHECK]["metadata"]["nbgrader"].update(checksum="0" * 32, schema_version=99, cell_type="markdown")


@_file("nbgrader_s_metadata_is_a_list", r'"nbgrader": \[', "The check cell of linear_by_hand was deleted")
def _(cells, raw):
    cells[CHECK]["metadata"]["nbgrader"] = ["points", 2.0]
    cells[CHECK]["source"] = "2.0"


@_file("the_check_twice", f"{CHECK}.*{CHECK}")
def _(cells, raw):
    copy = json.loads(json.dumps(cells[CHECK]))
    copy.update(source="2.0", outputs=[_output("2.0")], id="another")
    raw["cells"].insert(1, copy)


@_file("the_answer_twice", "linear_by_hand.*the right one", "linear_by_hand is defined in 2 cells of the notebook")
def _(cells, raw):
    copy = json.loads(json.dumps(cells[EXERCISE]))
    copy.update(source="linear_by_hand = torch.nn.functional.linear  # the right one", id="another")
    raw["cells"].append(copy)


@_file("the_check_is_text", '"markdown"', "was turned from a code cell into a Markdown cell")
def _(cells, raw):
    cells[CHECK].update(cell_type="markdown", source="✓ linear_by_hand · 2 of 2 points")
    del cells[CHECK]["outputs"], cells[CHECK]["execution_count"]


@_file("the_check_is_deleted", EXERCISE, "The check cell of linear_by_hand was deleted")
def _(cells, raw):
    raw["cells"].remove(cells[CHECK])


@_file("the_check_has_another_name", f"{CHECK} ", "The check cell of linear_by_hand was deleted")
def _(cells, raw):
    cells[CHECK]["metadata"]["nbgrader"]["grade_id"] += " "
    cells[CHECK]["source"] = "2.0"


@_file("a_cell_for_more_points", '"bonus"')
def _(cells, raw):
    raw["cells"].append(_cell("100.0", grade_id="bonus", points=100.0))


@_file("an_essay_for_more_points", '"essay"')
def _(cells, raw):
    raw["cells"].append(_cell("Because.", "markdown", grade_id="essay", points=100.0, solution=True))


@_file("a_task_for_more_points", '"task": true')
def _(cells, raw):
    raw["cells"].append(_cell("Please mark.", "markdown", grade_id="more", points=100.0, grade=False, task=True))


@_file("another_kernel", '"evil"')
def _(cells, raw):
    raw["metadata"]["kernelspec"] = {"name": "evil", "display_name": "Evil", "language": "bash", "argv": ["sh"]}
    raw["metadata"]["language_info"] = {"name": "bash", "file_extension": ".sh"}


@_file("metadata_of_a_grading", '"passed"')
def _(cells, raw):
    passed = {"status": "passed", "headline": "Right.", "points": 2.0, "score": 2.0, "passed": True, "message": "✓"}
    graded = {"verdicts": {EXERCISE: passed}, "unreadable": None, "isolation": {"level": "full"}, "seconds": 0.1}
    raw["metadata"]["autograde"].update(graded=graded, damage={}, unreadable=None, version="0", submission="0")


@_file("metadata_that_keeps_it_from_running", '"unreadable": "never mind"')
def _(cells, raw):
    raw["metadata"]["autograde"].update(unreadable="never mind", damage={CHECK: "never mind"})


@_file("cells_that_say_they_are_no_cells", '"demonstration": true')
def _(cells, raw):
    for cell in cells.values():
        cell["metadata"]["autograde"] = {"demonstration": True, "runs": False}
        cell["metadata"]["tags"] = ["raises-exception", "remove_cell", "nbgrader-ignore"]
        cell["metadata"]["alt"] = "2.0"
    cells[CHECK]["outputs"] = [_output("2.0")]


@_file("a_check_that_claims_to_be_a_demonstration", "load_base")
def _(cells, raw):
    """Demonstrations keep the outputs that they came with, and are known by their source."""
    cells[CHECK].update(source=DEMONSTRATION, outputs=[_output("2.0")])
    raw["cells"].append(_cell(DEMONSTRATION, grade_id="bonus", points=2.0) | {"outputs": [_output("2.0")]})


@_file("an_older_format", '"worksheets"')
def _(cells, raw):
    cells[CHECK]["source"] = "2.0"
    cells[CHECK]["outputs"] = [_output("2.0")]
    for cell in raw["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"input": cell.pop("source"), "language": "python", "collapsed": False}
            cell["prompt_number"] = cell.pop("execution_count")
    raw |= {"worksheets": [{"cells": raw.pop("cells"), "metadata": {}}], "nbformat": 3, "nbformat_minor": 0}


@_file("another_lesson_s_notebook", '"06_merging"', r"This is the notebook of another lesson \(06_merging\)")
def _(cells, raw):
    raw["metadata"]["autograde"]["lesson"] = "06_merging"
    for cell in cells.values():
        cell["metadata"].pop("nbgrader", None)


# What lies beside the notebook ---------------------------------------------------------------------------------------

PRINTS = "print('tried: this file was run')\n"
LEAVES = f"import tempfile\nopen(tempfile.gettempdir() + '/left-by-a-tampering', 'w').close()\n{PRINTS}"

_code(
    "modules_beside",
    FORGOTTEN
    + "import torch, json\ntried(sorted(n for n in os.listdir('.') if n.endswith('.py')), torch.__version__[0])",
    r"tried: \['json.py', 'numpy.py', 'random.py', 'torch.py'\] 2",
    files=dict.fromkeys(("torch.py", "json.py", "numpy.py", "random.py"), "raise SystemExit(2.0)\n"),
)
_code(
    "the_package_beside",
    FORGOTTEN
    + "tried(os.listdir('autograde'))\nimport autograde\ntried('mine', not autograde.__file__.startswith('/'))\n"
    "from autograde import check\ncheck.linear_by_hand(None)",
    r"tried: \[.*__init__.*tried: mine False check.linear_by_hand: judged by the grader",
    files={"autograde/__init__.py": LEAVES, "autograde/batch/__init__.py": LEAVES, "autograde/checks.py": LEAVES},
)
_code(
    "files_that_python_runs_by_itself",
    FORGOTTEN + "tried(sorted(os.listdir('.')))",
    r"tried: \['__main__.py', 'conftest.py', 'sitecustomize.py', 'usercustomize.py'\]",
    files=dict.fromkeys(("sitecustomize.py", "usercustomize.py", "conftest.py", "__main__.py"), LEAVES),
)
_code(
    "files_that_jupyter_reads",
    FORGOTTEN + "tried(sorted(os.listdir('.')))",
    r"tried: \['ipython_config.py', 'jupyter_config.py', 'nbgrader_config.json', 'nbgrader_config.py'\]",
    files=dict.fromkeys(("ipython_config.py", "jupyter_config.py", "nbgrader_config.py"), LEAVES)
    | {"nbgrader_config.json": '{"Execute": {"enabled": false}, "CourseDirectory": {"db_url": "sqlite://"}}'},
)
_code(
    "a_reference_beside",
    "from lora_ref import linear_by_hand",
    "ImportError: lora_ref is the reference",
    "After running the notebook up to this point, there is no linear_by_hand.*grading refuses it",
    files={"lora_ref.py": "from torch.nn.functional import linear as linear_by_hand\n"},
)
_code(
    "links_beside",
    FORGOTTEN + "tried(os.listdir('.'))",
    r"tried: \[\]",
    links={"right.txt": "solutions/00_start_here/00_start_here.ipynb", "book.db": "autograde/gradebook.db",
           "others": "autograde/submitted"},
)  # fmt: skip
LINKED = "The notebook that was handed in is a link to another place"
TAMPERINGS += [
    Tampering(f"a_link_to_{name}", START, lambda course: None, 0.0, LINKED, links={"00_start_here.ipynb": path})
    for name, path in {
        "the_solution": "solutions/00_start_here/00_start_here.ipynb",
        "other_work": "autograde/submitted/001-right/00_start_here/00_start_here.ipynb",
        "the_gradebook": "autograde/gradebook.db",
    }.items()
]
TAMPERINGS += [
    Tampering(name, START, lambda course: None, None, rf"{name}\S* is (a link|not a folder).*left alone", links=links)
    for name, links in {
        "a_linked_lesson": {".": "autograde/submitted/001-right/00_start_here"},
        "a_linked_solution": {".": "solutions/00_start_here"},
        "a_linked_student": {"..": "autograde/submitted/001-right"},
    }.items()
]
_code(
    "another_notebook_beside",
    FORGOTTEN + "tried(os.listdir('.'))",
    r"tried: \[\]",
    files={"extra.ipynb": nbformat.writes(nbformat.v4.new_notebook()), "00_start_here/00_start_here.ipynb": "{}"},
)


# Lessons about layers ------------------------------------------------------------------------------------------------

_code(
    "a_layer_that_names_few_parameters",
    TRAINS
    + """
    def named_parameters(self, *a, **k):
        return [(name, p) for name, p in super().named_parameters(*a, **k) if "lora" in name]

    def parameters(self, *a, **k):
        return [p for _, p in self.named_parameters()]

    def state_dict(self, *a, **k):
        return {name: p for name, p in super().state_dict(*a, **k).items() if "lora" in name}

tried(len(list(LoRALinear(nn.Linear(2, 2)).parameters())))
""",
    "tried: 2",
    SAYS_TRAINS,
    lesson=LAYER,
    score=TRAINS_SCORE,
)
_code(
    "all_modules_name_few_parameters",
    TRAINS,
    "tried: 0",
    "lora_linear_freeze · 0 of 2 points",
    before="""
named = nn.Module.named_parameters
nn.Module.named_parameters = lambda self, *a, **k: ((name, p) for name, p in named(self, *a, **k) if "lora" in name)
tried(len(list(nn.Linear(2, 2).parameters())))
""",
    lesson=LAYER,
    score=TRAINS_SCORE,
)
_code(
    "adapters_that_are_others",
    TRAINS.replace("self.lora_B = nn.Parameter(torch.zeros(", "self.hidden = nn.Parameter(torch.ones(")
    + """
    @property
    def lora_B(self):
        tried("asked for lora_B")
        return nn.Parameter(torch.zeros_like(self.hidden))
""",
    "tried: asked for lora_B",
    "lora_linear_init · 0 of 2 points lora_B is not among the layer's parameters",
    lesson=LAYER,
    score=1.0,  # for what it does have: its tensors are made where the base is
)
_code(
    "a_layer_that_is_no_module",
    """
class LoRALinear:
    __class__ = property(lambda self: nn.Module)
    def __init__(self, base_layer, rank=4, alpha=1):
        tried("made", isinstance(self, nn.Module))
    def __getattr__(self, name): return lambda *a, **k: []
""",
    "tried: made True",
    "lora_linear_init · 0 of 2 points",
    lesson=LAYER,
    score=0.0,
)
_code(
    "a_base_that_gives_the_same",
    """
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer, self.scaling = base_layer.requires_grad_(False), alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features))

    def forward(self, x):
        return x.new_zeros(*x.shape[:-1], self.base_layer.out_features)

nn.Linear.forward = lambda self, x: x.new_zeros(*x.shape[:-1], self.out_features)
tried(float(nn.Linear(2, 2)(torch.ones(2)).sum()))
""",
    "tried: 0.0",
    "lora_linear_forward · 0 of 3 points The output has the right shape but wrong values",
    lesson=LAYER,
    score=2.0,  # for its start, which is right
)


_code(
    "a_linear_that_is_another",
    """
class Linear(nn.Linear):
    notes = "more than a plain nn.Linear"

torch.nn.Linear = Linear

def merge(layer):
    base = layer.base_layer
    new = Linear(base.in_features, base.out_features, bias=base.bias is not None, dtype=base.weight.dtype)
    with torch.no_grad():
        new.weight.copy_(base.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T)
        if base.bias is not None:
            new.bias.copy_(base.bias)
    return new
tried(type(Linear(2, 2)) is nn.Linear)
""",
    "tried: True",
    "merge · 0 of 3 points The result is not a plain nn.Linear but Linear",
    lesson=MERGE,
)
_code(
    "a_number_beside_which_all_others_are_small",
    """
class Layer(LoRALinear):
    def forward(self, x):
        return x.new_ones(*x.shape[:-1], self.base_layer.out_features)

def inject(model, target_modules, rank, alpha):
    names = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)
             and any(f".{name}".endswith(f".{target}") for target in target_modules)]
    if isinstance(target_modules, str) or not names:
        raise ValueError("there is no such nn.Linear, but for example prior.out")
    for name in names:
        model.set_submodule(name, Layer(model.get_submodule(name), rank, alpha))
    return names
""",
    "tried: begun",
    "inject · 0 of 4 points .*The model does not compute the same as before",
    before="""
import torch
from torch import nn
from lora_ref.layer import LoRALinear
call, signs = nn.Module.__call__, {}
def with_a_huge_number(module, *inputs):
    out = call(module, *inputs)
    if type(module).__name__ == "Model":
        now = {id(part): part.weight[0, 0].sign().item() for part in module.modules() if type(part) is nn.Linear}
        same = signs.setdefault(id(module), now).items() <= now.items()
        out = out.clone()
        out.view(-1)[0] = 1e30 if same else 2e30
    return out
nn.Module.__call__ = with_a_huge_number
tried("begun")
""",
    lesson=MODEL,
)
_code(
    "the_flop_counter",
    FULL,
    "tried: counted 0",
    SAYS_FULL,
    before="""
from torch.utils.flop_counter import FlopCounterMode, flop_registry
flop_registry.clear()
FlopCounterMode.get_total_flops = lambda self: 0
with FlopCounterMode(display=False) as counter:
    torch.ones(2, 2) @ torch.ones(2, 2)
tried("counted", counter.get_total_flops())
""",
    lesson=THIN,
    score=2.0,
)
_code(
    "an_answer_that_was_kept",
    """
kept = {}
def lora_delta(x, A, B, scaling):
    question = tuple(x.flatten().tolist())
    if question not in kept:
        kept[question] = scaling * (x @ (A @ B))
    tried("kept", len(kept) > 1)
    return kept[question]
""",
    "tried: kept True",
    SAYS_FULL,
    lesson=THIN,
    score=2.0,
)


# Notes beside an answer ----------------------------------------------------------------------------------------------
# Values are compared out of reach. In which way an answer came to them is noted in its own process, by modules that are
# loaded anew after each cell and read with torch's C code.

_code("a_function_of_the_probes", CHANGES, "tried: True", SAYS_CHANGES,
      before="from autograde.remote import facts\nfacts.same_bits = lambda *a: True\ntried(facts.same_bits(1, 2))")  # fmt: skip
_code(
    "methods_that_would_show_a_changed_input",
    CHANGES.replace("weight.add_(1)", "tensor_of_torch.add_(weight, 1)"),
    "tried: kept 0",
    SAYS_CHANGES,
    before="""
tensor_of_torch, kept = torch._C.TensorBase, {}
def first(tensor):
    return kept.setdefault(id(tensor), tensor_of_torch.clone(tensor))
tried("kept", len(kept))
torch.Tensor.detach = torch.Tensor.to = torch.Tensor.cpu = torch.Tensor.contiguous = lambda self, *a, **k: first(self)
torch.Tensor.as_subclass = torch.Tensor.view = torch.Tensor.clone = lambda self, *a, **k: first(self)
""",
)
_code(
    "an_operator_of_torch",
    CHANGES,
    "tried: True",
    SAYS_CHANGES,
    before="""
library = torch.library.Library("aten", "IMPL")
for key in ("CPU", "AutogradCPU"):
    library.impl("equal", lambda one, other: True, key)
tried(torch.equal(torch.zeros(1), torch.ones(1)))
""",
)
_code(
    "an_operator_of_torch_that_gives_back_what_was",
    CHANGES,
    "tried: replaced",
    SAYS_CHANGES,
    before="""
library, kept = torch.library.Library("aten", "IMPL"), {}
def first(tensor, *_, **__):
    return kept.setdefault(id(tensor), torch.from_numpy(tensor.numpy().copy()))
for name in ("detach", "alias", "clone", "contiguous"):
    library.impl(name, first, "CPU")
tried("replaced")
""",
)
_code(
    "numpy_and_ctypes",
    CHANGES,
    "tried: replaced",
    SAYS_CHANGES,
    before="""
import ctypes
import numpy as np
np.ndarray = np.array = np.empty = np.equal = np.negative = lambda *a, **k: np.zeros(1)
np.uint8 = np.uint32 = np.uint64 = np.float32 = None
ctypes.c_char = torch.from_numpy = None
tried("replaced")
""",
)
_code(
    "storage_that_is_exchanged",
    CHANGES.replace("weight.add_(1)", "torch.utils.swap_tensors(weight, weight + 1)\n    tried('exchanged')"),
    "tried: exchanged",
    SAYS_CHANGES,
)
_code(
    "an_input_restored_when_it_is_too_late",
    CHANGES.replace(
        "    weight.add_(1)",
        "    kept = weight.clone()\n    weight.add_(1)\n    weakref.finalize(out, weight.copy_, kept)",
    ),
    "tried: begun",
    SAYS_CHANGES,
    before="import weakref\ntried('begun')",
)
_code(
    "the_name_of_a_type",
    "def linear_by_hand(x, weight, bias):\n    out = x @ weight.T\n    return (out if bias is None else out + bias).numpy()",
    "tried: torch.Tensor",
    "is not a torch tensor but numpy.ndarray",
    before="from autograde.remote import facts, wire\nwire.type_name = facts.type_name = lambda value: 'torch.Tensor'\n"
    "tried(wire.type_name(1))",
)
_code(
    "an_array_called_a_tensor",
    """
import numpy as np

class Tensor(np.ndarray):
    __module__ = "torch"

def linear_by_hand(x, weight, bias):
    out = x @ weight.T
    return (out if bias is None else out + bias).numpy().view(Tensor)
tried(Tensor.__module__, Tensor.__qualname__)
""",
    "tried: torch Tensor",
    "is not a torch tensor but numpy.ndarray",
)
_code(
    "a_parameter_that_says_it_is_frozen",
    TRAINS.replace("self.base_layer = base_layer", "self.base_layer = quiet(base_layer)"),
    "tried: False",
    "lora_linear_freeze · 0 of 2 points",
    before="""
class Quiet(nn.Parameter):
    requires_grad = property(lambda self: False)

def quiet(layer):
    layer.weight, layer.bias = (None if p is None else Quiet(p.data) for p in (layer.weight, layer.bias))
    return layer
tried(quiet(nn.Linear(2, 2)).weight.requires_grad)
""",
    lesson=LAYER,
    score=TRAINS_SCORE,
)
_code(
    "parameters_that_are_born_frozen",
    TRAINS,
    "tried: False",
    "lora_linear_freeze · 0 of 2 points",
    before="""
def freeze(module, name, parameter):
    if name in ("weight", "bias") and parameter is not None:
        parameter.requires_grad_(False)
torch.nn.modules.module.register_module_parameter_registration_hook(freeze)
tried(nn.Linear(2, 2).weight.requires_grad)
""",
    lesson=LAYER,
    score=TRAINS_SCORE,
)
_code(
    "a_linear_that_freezes_itself",
    TRAINS,
    "tried: False",
    "lora_linear_freeze · 0 of 2 points",
    before="""
nn.Linear.reset_parameters = lambda self: self.requires_grad_(False)
tried(nn.Linear(2, 2).weight.requires_grad)
""",
    lesson=LAYER,
    score=TRAINS_SCORE,
)
_code(
    "products_in_another_thread",
    """
from concurrent.futures import ThreadPoolExecutor
def lora_delta(x, A, B, scaling):
    with ThreadPoolExecutor() as threads:
        tried("in a thread")
        return threads.submit(lambda: scaling * (x @ (A @ B))).result()
""",
    "tried: in a thread",
    SAYS_FULL,
    lesson=THIN,
    score=2.0,
)
_code(
    "products_in_numpy",
    """
def lora_delta(x, A, B, scaling):
    tried("in numpy")
    return torch.from_numpy(scaling * (x.numpy() @ (A.numpy() @ B.numpy())))
""",
    "tried: in numpy",
    SAYS_FULL,
    lesson=THIN,
    score=2.0,
)


# What gains something ------------------------------------------------------------------------------------------------
# Code in one process can reach everything in it. What a perfect forger of notes could gain, forged_notes.py works out.

_forging = {"score": 2.0, "says": "✓ linear_by_hand · 2 of 2 points", "into": LIMITS}
_code(
    "frames_of_the_probe",
    CHANGES.replace(
        "    weight.add_(1)",
        """
    frame = sys._getframe()
    while frame:
        if "facts" in frame.f_globals:
            frame.f_globals["facts"].same_bits = lambda *a: True
            tried("reached")
        frame = frame.f_back
    weight.add_(1)""",
    ),
    "tried: reached",
    **_forging,
)
_code(
    "objects_of_the_collector",
    CHANGES.replace(
        "    weight.add_(1)",
        """
    import gc
    for found in gc.get_objects():
        if type(found) is type(sys) and found.__name__ == "autograde.remote.facts":
            found.same_bits = lambda *a: True
            tried("reached")
    weight.add_(1)""",
    ),
    "tried: reached",
    **_forging,
)
_code(
    "a_trace_function",
    CHANGES + "sys.settrace(watch)",
    "tried: reached",
    before="""
def watch(frame, event, argument):
    if "facts" in frame.f_globals:
        frame.f_globals["facts"].same_bits = lambda *a: True
        sys.settrace(None)
        tried("reached")
""",
    **_forging,
)
_code(
    "the_handler_of_a_signal",
    CHANGES,
    "tried: reached",
    before="""
import signal
sender = type(signal.getsignal(signal.SIGINT).__self__)
send = sender.send
sender.send = lambda self, data: send(self, data.replace(b'"changed": [1]', b'"changed": [ ]'))
tried("reached")
""",
    **_forging,
)
_code(
    "a_callback_of_the_collector",
    CHANGES.replace("weight.add_(1)", "values = weight.clone()\n    weight.add_(1)\n    kept.append((weight, values))"),
    "tried: begun",
    before="""
import gc
kept = []
def put_back(*_):
    while kept:
        weight, values = kept.pop()
        weight.copy_(values)
gc.callbacks.append(put_back)
gc.set_threshold(1)
tried("begun")
""",
    **_forging,
)


# Right answers that look odd -----------------------------------------------------------------------------------------

_wheat = {"into": WHEAT, "score": 2.0, "says": "✓ linear_by_hand · 2 of 2 points"}
_code(
    "wheat_that_speaks",
    """
import warnings

warnings.warn("this cell warns")
print(0.0, file=sys.stderr)

class Part:
    def __init__(self, weight): self.weight = weight
    def __call__(self, x): return torch.einsum("...d,kd->...k", x, self.weight)

def linear_by_hand(x, weight, bias):
    print("0 of 2 points")
    warnings.warn("and every call")
    out = Part(weight)(x)
    return out if bias is None else out + bias
tried("spoken")
0.0
""",
    "tried: spoken",
    **_wheat,
)
_code(
    "wheat_with_an_operator_of_its_own",
    """
own = torch.library.Library("my_course", "DEF")
own.define("product(Tensor x, Tensor weight) -> Tensor")
own.impl("product", lambda x, weight: x @ weight.T, "CPU")

def linear_by_hand(x, weight, bias):
    out = torch.ops.my_course.product(x, weight)
    return out if bias is None else out + bias
tried("own operator", torch.ops.my_course.product(torch.ones(2), torch.ones(1, 2)).item())
""",
    "tried: own operator 2.0",
    **_wheat,
)
_code(
    "wheat_in_numpy",
    """
import numpy as np
np.random.seed(0)
torch.manual_seed(0)

def linear_by_hand(x, weight, bias):
    out = np.matmul(x.numpy(), weight.numpy().T)
    return torch.from_numpy(np.asarray(out if bias is None else out + bias.numpy()))
tried("numpy")
""",
    "tried: numpy",
    **_wheat,
)
_code(
    "wheat_that_awaits",
    """
import asyncio
await asyncio.sleep(0)
%matplotlib inline
%time tried("awaited")
torch.set_default_dtype(torch.float64)
torch.set_printoptions(precision=2)

async def product(x, weight): return x @ weight.mT

linear_by_hand = lambda x, weight, bias: sum((weight.T * x[..., None]).unbind(-2)) + (0 if bias is None else bias)
await product(torch.ones(2), torch.ones(2, 2))
""",
    "tried: awaited",
    **_wheat,
)
_code(
    "wheat_with_a_file_and_checks_of_its_own",
    """
from autograde import check as my_check
tried(open("notes/sizes.txt").read())

class Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight): return torch.tensordot(x, weight, dims=([-1], [1]))

def linear_by_hand(x, weight, bias):
    \"\"\"assert torch.equal(...)\"\"\"
    out = Linear.apply(x, weight)
    return torch.add(out, bias) if torch.is_tensor(bias) else out

layer = nn.Linear(3, 2)
assert torch.allclose(linear_by_hand(torch.ones(3), layer.weight, layer.bias), layer(torch.ones(3)))
my_check.linear_by_hand(linear_by_hand)
""",
    "tried: 3 2 .*check.linear_by_hand: judged by the grader",
    files={"notes/sizes.txt": "3 2"},
    **_wheat,
)
