"""Attacks from inside the box: what handed-in code must not reach. Each is tried where everything stands and where the
machine has no namespaces to give; and after each, the next session must work.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from waiting import GENEROUS, wait_for

from autograde.sandbox import usage
from autograde.sandbox.isolation import seccomp
from autograde.sandbox.limits import MIB, Limits
from autograde.sandbox.pool import IsolationError, SandboxPool
from autograde.sandbox.session import SessionEnded
from autograde.sandbox.usage import SOCKET_BYTES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="boxes are a matter of Linux")

ROOT = Path(__file__).parents[2]
SECRET = "a-secret-of-the-grader"
SHORT = Limits(cell=20, probe=3, grace=0.5, memory=768 * MIB, disk=32 * MIB, processes=40)
BOXES = {"full": (), "partial": ("namespaces",)}

# No attack may do harm where a wall has fallen: files of the course are a copy, others are only opened, and signals
# have the number 0, for which the kernel asks the same questions.

# Lies in the session's folder. It says what came of an attempt, so that a misspelt attack cannot pass for a failed one.
HELPERS = b"""
import ctypes, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)

def outcome(attempt, *arguments):
    try:
        result = attempt(*arguments)
    except (OSError, ImportError) as error:
        return "refused " + type(error).__name__
    return f"REACHED {result!r}"

def all_of(attempt, items):
    return sorted({outcome(attempt, item) for item in items})

def call(name, *arguments):
    ctypes.set_errno(0)
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)

def read(path):
    with open(path, "rb") as file:
        return file.read(40)

def write(path):
    return os.close(os.open(path, os.O_WRONLY | os.O_CREAT))

def connect(family, kind, address):
    with socket.socket(family, kind) as sock:
        sock.settimeout(2)
        sock.connect(address)
        return "connected"
"""


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """What is worth stealing on this machine: a course, and listeners of every kind."""
    course = tmp_path_factory.mktemp("course")
    (course / "empty").mkdir()
    for name in ("solutions/01.py", "autograde/submitted/other/01/01.ipynb", "gradebook.db", ".env"):
        (course / name).parent.mkdir(parents=True, exist_ok=True)
        (course / name).write_text(SECRET)
    tcp = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0autograde-test-{os.getpid()}")
    named = socket.socket(socket.AF_UNIX)
    named.bind(str(course / "socket"))
    for listener in (abstract, named):
        listener.listen()
    victim = subprocess.Popen(["sleep", "86400"])
    yield {
        "course": str(course), "tcp": tcp.getsockname(), "udp": udp.getsockname(), "abstract": abstract.getsockname(),
        "named": str(course / "socket"), "grader": os.getpid(), "victim": victim.pid, "root": str(ROOT),
        "secret": SECRET,
    }  # fmt: skip
    victim.kill()
    victim.wait()
    for listener in (tcp, udp, abstract, named):
        listener.close()


@pytest.fixture(
    scope="module",
    params=["full", pytest.param("partial", marks=pytest.mark.slow)],
)
def warm(request, outside):
    os.environ["AUTOGRADE_TEST_SECRET"] = SECRET
    with SandboxPool(without=BOXES[request.param], require_isolation=request.param == "full") as warm:
        warm.level = request.param
        yield warm
    del os.environ["AUTOGRADE_TEST_SECRET"]


def run(session, code, outside):
    """Run an attack; what its last expression came to, as text."""
    run = session.run_cell(f"from helpers import *\nO = {outside!r}\n" + code)
    assert run.ok, run.outputs
    return run.outputs[-1]["data"]["text/plain"]


def alive(warm):
    """The next session works."""
    with warm.open() as session:
        assert session.run_cell("6 * 7").outputs[0]["data"]["text/plain"] == "42"


REFUSED = {
    # files
    "read the course": """all_of(read, [O['course'] + '/' + name for name in
        ('solutions/01.py', 'gradebook.db', 'autograde/submitted/other/01/01.ipynb', '.env')])""",
    "list the course": "all_of(os.listdir, [O['course'], O['course'] + '/solutions', O['root'] + '/solutions'])",
    "read what the grader knows": """all_of(read, [O['root'] + '/' + name for name in (
        'autograde/checks/__init__.py', 'autograde/authoring/__init__.py', 'autograde/sandbox/session.py',
        'autograde/sandbox/pool.py', 'autograde/sandbox/isolation/walls.py', 'lora_ref/__init__.py', 'tests/conftest.py',
        'tests/sandbox/test_isolation.py', 'pyproject.toml', '.git/HEAD')])""",
    "list what the grader knows": """all_of(os.listdir, [O['root'] + '/' + name for name in (
        'autograde/checks', 'autograde/batch', 'autograde/sandbox/isolation', 'lora_ref', 'tests', 'solutions')])""",
    "read the system's secrets": "all_of(read, ['/etc/shadow', '/root/.bashrc', '/root/.profile', '/etc/hostname'])",
    "list roots": "all_of(os.listdir, ['/var', '/mnt', '/sys', '/run', '/boot', '/srv', '/opt', '/media'])",
    "read through links of /proc": """all_of(read, ['/proc/self/root' + O['course'] + '/gradebook.db',
        '/proc/1/root' + O['course'] + '/gradebook.db', '/proc/self/cwd/../..' + O['course'] + '/gradebook.db',
        f"/proc/{O['grader']}/root{O['course']}/gradebook.db", f"/proc/{O['grader']}/environ"])""",
    "read through a link of one's own": """os.symlink(O['course'], 'link')
all_of(read, ['link/gradebook.db', 'link/solutions/01.py'])""",
    "hard link": "outcome(os.link, O['course'] + '/gradebook.db', 'mine')",
    "rename into reach": "outcome(os.rename, O['course'] + '/gradebook.db', 'mine')",
    "raw disk": "all_of(read, ['/dev/vda', '/dev/sda', '/dev/mem', '/dev/kmsg', '/proc/kcore', '/dev/tty'])",
    "make a device": "outcome(os.mknod, 'disk', 0o60600, os.makedev(254, 0)), outcome(read, 'disk')",
    "mount": "outcome(call, 'mount', b'none', os.getcwd().encode(), b'tmpfs', 0, b'')",
    "unmount a cover": "all_of(lambda p: call('umount2', p, 2), [b'/', b'/proc', (O['root'] + '/lora_ref').encode()])",
    "change root": "outcome(os.chroot, '.')",
    "new user namespace": "outcome(call, 'unshare', 0x10000000), outcome(call, 'unshare', 0x10020000)",
    "enter another namespace": "outcome(call, 'setns', os.open('/proc/self', os.O_RDONLY), 0)",
    "open by handle": "outcome(call, 'open_by_handle_at', -100, ctypes.create_string_buffer(64), 0)",
    "watch files, of which a user has few": "outcome(call, 'inotify_init1', 0), outcome(call, 'inotify_init')",
    "interrupt every processor": "outcome(call, 'syscall', 324, 1, 0, 0)",
    "gift pages to a pipe": "outcome(call, 'vmsplice', os.pipe()[1], None, 0, 0)",
    "calls that libseccomp does not know by name": """outcome(call, 'syscall', 457, 0, 0, 0, 0),
outcome(call, 'syscall', 458, 0, 0, 0, 0), outcome(call, 'syscall', 467, -100, b'/', 0, 0, 0)""",
    # writing
    "write outside": """all_of(write, [O['course'] + '/gradebook.db', O['course'] + '/new', '/new', '/usr/new',
        '/etc/new', os.path.join(sys.prefix, 'lib', 'new'), O['root'] + '/autograde/new',
        O['root'] + '/autograde/probes/__init__.py', '/proc/sysrq-trigger', '/proc/sys/kernel/core_pattern',
        '/proc/self/oom_score_adj', '/home/new', '/root/new'])""",
    "truncate": "outcome(os.truncate, O['course'] + '/gradebook.db', 0)",
    "delete": "outcome(os.unlink, O['course'] + '/gradebook.db'), outcome(os.rmdir, O['course'] + '/empty')",
    "change permissions": "outcome(os.chmod, O['course'] + '/gradebook.db', 0), outcome(os.chmod, O['course'], 0)",
    "change times": "outcome(os.utime, O['course'] + '/gradebook.db')",
    "change owner": "outcome(os.chown, O['course'] + '/gradebook.db', 1, 1)",
    "set an attribute": "outcome(os.setxattr, O['course'] + '/gradebook.db', 'user.a', b'b')",
    # network
    "TCP to this machine": "outcome(connect, socket.AF_INET, socket.SOCK_STREAM, O['tcp'])",
    "TCP to the world": "outcome(connect, socket.AF_INET, socket.SOCK_STREAM, ('1.1.1.1', 53))",
    "TCP listen": "outcome(socket.create_server, ('127.0.0.1', 0))",
    "UDP": "outcome(connect, socket.AF_INET, socket.SOCK_DGRAM, O['udp'])",
    "IPv6": "outcome(connect, socket.AF_INET6, socket.SOCK_STREAM, ('::1', O['tcp'][1]))",
    "abstract socket": "outcome(connect, socket.AF_UNIX, socket.SOCK_STREAM, O['abstract'])",
    "named socket": "outcome(connect, socket.AF_UNIX, socket.SOCK_STREAM, O['named'])",
    "names": "outcome(socket.gethostbyname, 'example.com')",
    "other families": """all_of(lambda f: socket.socket(f, socket.SOCK_RAW if f in (16, 17) else socket.SOCK_STREAM),
        [16, 17, 29, 31, 38, 40, 44])""",
    # other processes
    "signal the grader": "all_of(lambda name: os.kill(O[name], 0), ['grader', 'warm', 'victim'])",
    "kill a bystander": "outcome(os.kill, O['victim'], 9)",
    "signal everyone": "outcome(os.kill, -1, 0)",
    "kill everyone": "alone = outcome(os.kill, -1, 0)\nalone if 'REACHED' in alone else outcome(os.kill, -1, 9)",
    "hold the grader by pidfd": "all_of(os.pidfd_open, [O['grader'], O['victim']])",
    "trace": "outcome(call, 'ptrace', 16, O['grader'], 0, 0), outcome(call, 'ptrace', 16, O['victim'], 0, 0)",
    "read another's memory": """outcome(call, 'process_vm_readv', O['victim'], 0, 0, 0, 0, 0)""",
    "slow the grader down": "outcome(os.setpriority, os.PRIO_PROCESS, O['grader'], 19)",
    "limit the grader": "import resource\noutcome(resource.prlimit, O['grader'], resource.RLIMIT_CPU, (1, 1))",
    "pin the grader": "outcome(os.sched_setaffinity, O['grader'], {0})",
    "signal by SIGIO": """import fcntl
reader, writer = os.pipe()
outcome(lambda: fcntl.fcntl(reader, fcntl.F_SETOWN, O['victim']))""",
    # the kernel
    "shared memory of System V": "outcome(call, 'shmget', 7, 4096, 0o1666)",
    "message queue": "outcome(call, 'mq_open', b'/queue', os.O_CREAT | os.O_RDWR, 0o600, None)",
    "memory that no limit counts": "outcome(os.memfd_create, 'a')",
    "memory that stays when it is no longer mapped": """import mmap
outcome(mmap.mmap, -1, 4096), outcome(lambda: mmap.mmap(os.open('/dev/zero', os.O_RDWR), 4096))""",
    "events of the disk, of which a machine has few": "outcome(call, 'syscall', 206, 1, ctypes.byref(ctypes.c_long()))",
    "watch a folder": """import fcntl
all_of(lambda path: fcntl.fcntl(os.open(path, os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_ACCESS), ['.', '/usr/lib'])""",
    "wait by epoll, of which a user has few": "import select\noutcome(select.epoll)",
    "rules that the kernel keeps": """rights = ctypes.byref((ctypes.c_uint64 * 2)(0, 3))
all_of(lambda arguments: call('syscall', *arguments), [(444, rights, 16, 0), (445, 3, 2, None, 0), (446, 3, 0)])""",
    "filters that the kernel keeps": """ours, theirs = socket.socketpair()
outcome(call, 'syscall', 317, 1, 0, None), outcome(call, 'prctl', 22, 2, None, 0, 0), all_of(
    lambda option: ours.setsockopt(socket.SOL_SOCKET, option, bytes(16)), [26, 50, 51, 52])""",
    "pairs of other sockets": "all_of(lambda family: socket.socketpair(family), [2, 10, 16, 17, 30, 31, 40])",
    "another discipline of a terminal": """import fcntl
outcome(fcntl.ioctl, 0, 0x5423, bytes(4))""",
    "a thread with files of its own": "outcome(call, 'syscall', 56, 0x10900, None, None, None, None)",
    "keyring": "outcome(call, 'syscall', 248, b'user', b'a', b'b', 1, -3)",
    "io_uring": "outcome(call, 'syscall', 425, 8, 0)",
    "bpf": "outcome(call, 'syscall', 321, 0, 0, 0)",
    "perf": "outcome(call, 'syscall', 298, 0, 0, -1, -1, 0)",
    "userfaultfd": "outcome(call, 'syscall', 323, 0)",
    "become root": "outcome(os.setuid, 0), outcome(os.setgid, 0), outcome(os.setgroups, [0])",
    "set the clock": "import time\noutcome(time.clock_settime, time.CLOCK_REALTIME, time.time())",
    "reboot": "outcome(call, 'reboot', 0)",
}


@pytest.fixture(scope="module")
def session(warm):
    with warm.open(limits=SHORT, files={"helpers.py": HELPERS}) as session:
        yield session


@pytest.mark.parametrize("name", REFUSED)
def test_refused(warm, session, outside, name):
    if name == "become root" and warm.level == "partial" and os.geteuid() == 0:
        pytest.skip("root without privileges, behind Landlock, remains root in name")
    text = run(session, REFUSED[name], outside | {"warm": warm.process.pid})
    assert "refused" in text and "REACHED" not in text, text
    assert psutil.Process(outside["victim"]).status() != psutil.STATUS_ZOMBIE
    assert Path(outside["course"], "gradebook.db").read_text() == SECRET


def test_without_namespaces_all_is_refused_as_well(outside):
    """What `make test` sees of the partial box, in one session."""
    with (
        SandboxPool(without=BOXES["partial"]) as warm,
        warm.open(limits=SHORT, files={"helpers.py": HELPERS}) as session,
    ):
        for name in REFUSED.keys() - {"become root"}:
            text = run(session, REFUSED[name], outside | {"warm": warm.process.pid})
            assert "refused" in text and "REACHED" not in text, f"{name}: {text}"
    assert psutil.Process(outside["victim"]).status() != psutil.STATUS_ZOMBIE


def test_only_a_full_box_hides_names(warm, outside):
    """What `partial` says of itself, and `full` must not have to say."""
    with warm.open(files={"helpers.py": HELPERS}) as session:
        text = run(session, "all_of(os.stat, [O['course'], O['root'] + '/tests', '/etc/shadow'])", outside)
        told = "Names and sizes" in session.isolation["message"]
    assert ("REACHED" in text) == told == (warm.level == "partial")


LORA_REF = {
    "plainly": "import lora_ref",
    "a part": "from lora_ref.layer import LoRALinear",
    "by importlib": "import importlib; importlib.import_module('lora_ref')",
    "without the finder": "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'Refuse' not in str(type(f))]\n"
    "sys.path.insert(0, O['root']); sys.path_importer_cache.clear()\nimport lora_ref.layer",
    "by location": "import importlib.util as u\n"
    "s = u.spec_from_file_location('r', O['root'] + '/lora_ref/__init__.py')\n"
    "m = u.module_from_spec(s)\ns.loader.exec_module(m)",
    "as text": "exec(open(O['root'] + '/lora_ref/__init__.py').read())",
    "by a link": "import os; os.symlink(O['root'] + '/lora_ref', 'mine')\nimport sys\nsys.path.insert(0, '.')\n"
    "import mine.layer",
    "the checks": "import autograde.checks.start_here",
    "the grader": "import autograde.submission.grading_process",
}


@pytest.mark.parametrize("way", LORA_REF)
def test_reference_is_refused(warm, outside, way):
    with warm.open() as session:
        run = session.run_cell(f"O = {outside!r}\n" + LORA_REF[way])
    assert not run.ok
    error = run.outputs[-1]
    assert error["ename"] in {"ImportError", "ModuleNotFoundError", "FileNotFoundError", "PermissionError"}
    if way in ("plainly", "a part", "by importlib"):
        assert "grading refuses it" in error["evalue"]


GIVEN = ("lora_ref.layer", "lora_ref.merging")
WAYS_TO_WHAT_IS_GIVEN = {
    "from the part": "from lora_ref.layer import LoRALinear",
    "the part": "import lora_ref.layer\nlora_ref.layer.LoRALinear",
    "as": "import lora_ref.layer as l\nl.LoRALinear",
    "from the package": "from lora_ref import layer\nlayer.LoRALinear",
    "its source": "import inspect, lora_ref.layer\ninspect.getsource(lora_ref.layer.LoRALinear)",
}


@pytest.mark.parametrize("way", WAYS_TO_WHAT_IS_GIVEN)
def test_a_part_of_the_reference_can_be_given(warm, way):
    with warm.open(given=GIVEN) as session:
        run = session.run_cell(WAYS_TO_WHAT_IS_GIVEN[way])
        assert run.ok, run.outputs
    with warm.open() as session:
        assert not session.run_cell(WAYS_TO_WHAT_IS_GIVEN[way]).ok


@pytest.mark.parametrize("way", sorted({*LORA_REF} - {"a part", "plainly", "by importlib"}))
def test_the_rest_is_refused_where_a_part_is_given(warm, outside, way):
    code = LORA_REF[way].replace("lora_ref.layer", "lora_ref.inject").replace("mine.layer", "mine.inject")
    with warm.open(given=GIVEN) as session:
        assert session.run_cell("import lora_ref.layer").ok
        run = session.run_cell(f"O = {outside!r}\n" + code)
    assert not run.ok
    assert run.outputs[-1]["ename"] in {"ImportError", "ModuleNotFoundError", "FileNotFoundError", "PermissionError"}


@pytest.mark.parametrize(
    "code",
    [
        "from lora_ref import LoRALinear",
        "from lora_ref import inject",
        "import lora_ref.inject",
        "import lora_ref\nlora_ref.inject",
    ],
)
def test_what_is_not_given_is_refused_in_words(warm, code):
    with warm.open(given=GIVEN) as session:
        run = session.run_cell(code)
    assert not run.ok and "grading refuses it" in run.outputs[-1]["evalue"]


def test_check_is_a_note(warm):
    with warm.open() as session:
        run = session.run_cell("from autograde import check\ncheck.lora_delta(None)")
        assert run.ok and "judged by the grader" in run.outputs[0]["text"]
        names = session.run_cell("import sys\n[m for m in sys.modules if m.startswith(('autograde.ch', 'lora_ref'))]")
        assert names.outputs[0]["data"]["text/plain"] == "[]"


def test_nothing_of_the_grader_is_inherited(warm, outside):
    with warm.open(files={"helpers.py": HELPERS}) as session:
        text = run(
            session, "dict(os.environ), [open(f'/proc/self/{n}').read() for n in ('environ', 'cmdline')]", outside
        )
        assert SECRET not in text and "AUTOGRADE_TEST" not in text and "PATH" in text
        code = "paths = [f'/proc/self/fd/{n}' for n in os.listdir('/proc/self/fd')]\n"
        descriptors = run(session, code + "[os.readlink(path) for path in paths if os.path.islink(path)]", outside)
        assert descriptors.count("socket") <= 3 and SECRET not in descriptors  # its own, and its loop's pair
        assert "gradebook" not in descriptors and "pytest" not in descriptors


def test_sees_only_itself(warm, outside):
    with warm.open(files={"helpers.py": HELPERS}) as session:
        text = run(session, "outcome(lambda: sorted(int(n) for n in os.listdir('/proc') if n.isdigit()))", outside)
    assert text == ("'REACHED [1]'" if warm.level == "full" else "'refused PermissionError'")


def test_sessions_do_not_see_each_other(warm, outside):
    with warm.open(files={"helpers.py": HELPERS, "mine": b"first"}) as first, \
            warm.open(files={"helpers.py": HELPERS}) as second:  # fmt: skip
        place = run(first, "outcome(write, '/dev/shm/left')\nos.getcwd()", outside)
        run(first, "open(os.path.join(__import__('tempfile').gettempdir(), 'left'), 'w').write('x')\n0", outside)
        assert "mine" not in run(second, f"outcome(os.listdir, {place})", outside) or warm.level == "full"
        assert "left" not in run(second, "os.listdir('.') + os.listdir(__import__('tempfile').gettempdir())", outside)
        assert "refused" in run(second, f"outcome(read, os.path.join({place}, 'mine'))", outside)
        if warm.level == "full":
            address = "'\\0between'"
            run(first, f"s = socket.socket(socket.AF_UNIX); s.bind({address}); s.listen()\n0", outside)
            assert "refused" in run(second, f"outcome(connect, socket.AF_UNIX, socket.SOCK_STREAM, {address})", outside)
    alive(warm)


def test_random_state_is_its_own(warm):
    code = "import random, numpy, torch, uuid\nrandom.random(), numpy.random.rand(), torch.rand(1).item(), uuid.uuid4()"
    seen = []
    for _ in range(2):
        with warm.open() as session:
            seen.append(session.run_cell(code).outputs[0]["data"]["text/plain"].split(","))
    assert not set(seen[0]) & set(seen[1])


def test_folder_is_gone_afterwards(warm, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with warm.open(files={"a": b"b"}) as session:
        assert session.run_cell("""
import os
os.makedirs('x/y')
for _ in range(1200):
    os.mkdir('d'); os.chdir('d')
open('deep', 'w').write('x')
""").ok
    assert not list(tmp_path.iterdir())


def test_kill_the_parent(warm):
    with warm.open() as session:
        process = warm.process.pid
        with contextlib.suppress(SessionEnded):
            session.run_cell("import os; os.kill(os.getppid(), 9)")
            session.run_cell("os.killpg(0, 9)")  # with it, itself
    alive(warm)
    assert warm.process.pid == process


# What ends a session or not, and with which word.
ENDINGS = {
    "exits": ("import os; os._exit(0)", "exited"),
    "exits by system call": ("import ctypes; ctypes.CDLL(None)._exit(3)", "exited"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "crashed"),
    "aborts": ("import os; os.abort()", "crashed"),
    "overflows the C stack": (
        "import sys\nsys.setrecursionlimit(10**9)\n"
        "class A:\n    def __getattr__(self, name): return getattr(self, name)\nA().x",
        "crashed",
    ),
    "recurses": ("import sys; sys.setrecursionlimit(300)\ndef f(): f()\nf()", "RecursionError"),
    "exits Python": ("import sys; sys.exit(1)", "SystemExit"),
    "loops": ("while True: pass", "LimitReached"),
    "sleeps": ("import time; time.sleep(1000)", "LimitReached"),
    "awaits": ("import asyncio; await asyncio.sleep(1000)", "LimitReached"),
    "loops in a coroutine": ("import asyncio; await asyncio.sleep(0)\nwhile True: pass", "LimitReached"),
    "swallows interrupts": (
        "while True:\n    try:\n        for _ in iter(int, 1): x = 1\n    except BaseException: pass",
        "timeout",
    ),
    "ignores interrupts": ("import signal, time; signal.signal(2, signal.SIG_IGN)\ntime.sleep(1000)", "timeout"),
    "blocks signals": (
        "import signal, time; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64)); time.sleep(1000)",
        "timeout",
    ),
    "waits in C": ("import ctypes; ctypes.PyDLL(None).pause()", "LimitReached"),
    "computes in C": ("sum(range(10**13))", "timeout"),
    "stops itself": ("import os; os.kill(os.getpid(), 19)\nimport time; time.sleep(1000)", "LimitReached or timeout"),
    "fills memory": ("a = []\nwhile True: a.append(bytearray(10**7))", "MemoryError"),
    "fills memory with tensors": ("import torch\na = [torch.ones(10**7) for _ in range(10**4)]", "RuntimeError"),
    "closes everything": ("import os; os.closerange(0, 10**5)", "closed"),
    "closes its connection": ("import os; os.close(3)", "closed"),
    "prints without end": ("while True: print('x' * 1000)", "LimitReached"),
    "prints without end, swallowing": (
        "while True:\n    try:\n        while True: print('x' * 1000)\n    except BaseException: pass",
        "output",
    ),
    "floods a descriptor": ("import os\nwhile True: os.write(2, b'x' * 10000)", "LimitReached"),
    "floods with displays": ("from IPython.display import display\nwhile True: display('x' * 100000)", "LimitReached"),
    "writes to every descriptor": (
        "import os\nfor n in range(64):\n    try: os.write(n, b'\\xff' * 5000)\n    except OSError: pass",
        "protocol",
    ),
    "makes threads": (
        "import threading, time\nfor _ in range(10**4): threading.Thread(target=time.sleep, args=(100,)).start()",
        "RuntimeError or processes",
    ),
    "fills the disk": ("with open('f', 'wb') as f:\n    while True: f.write(bytes(10**6))", "OSError or disk"),
    "fills the disk with files": (
        "for n in range(10**6):\n    with open(f'f{n}', 'wb') as f: f.write(bytes(10**5))",
        "OSError or disk",
    ),
    "makes a file that looks huge": ("with open('f', 'wb') as f: f.truncate(10**15)", "OSError"),
}
STRICT = Limits(
    cell=1.5, probe=1, grace=1.5, memory=256 * MIB, disk=16 * MIB, processes=40, output=2 * MIB, cpu=60, session=60
)
PATIENT = dataclasses.replace(STRICT, cell=20)
BY_TIME = {"LimitReached", "timeout"}


@pytest.mark.parametrize("name", ENDINGS)
def test_endings(warm, name):
    code, words = ENDINGS[name]
    with warm.open(limits=STRICT if BY_TIME & {*words.split(" or ")} else PATIENT) as session:
        assert session.run_cell("x = 1").ok
        try:
            run = session.run_cell(code)
        except SessionEnded as ended:
            word = ended.reason
            assert "in cell 2" in ended.message and len(ended.message) > 40
            assert ended.run.outputs[-1]["output_type"] == "error" and ended.run.outputs[-1]["evalue"] == ended.message
            with pytest.raises(SessionEnded) as again:
                session.ask("autograde.remote.call:call", "x", {"args": []})
            assert again.value.reason == word and again.value.message == ended.message
        else:
            assert not run.ok
            word = next(output["ename"] for output in run.outputs if output["output_type"] == "error")
            assert session.run_cell("assert x == 1").ok
    assert word in words.split(" or ")
    alive(warm)


def _remains(marker):
    return [p for p in psutil.process_iter(["cmdline"]) if marker in " ".join(p.info["cmdline"] or [])]


DAEMON = """
import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for n in range(256):
            try: os.close(n)
            except OSError: pass
        os.execvp('sleep', ['sleep', '{marker}'])
    os._exit(0)
os.wait()
import time; time.sleep(0.2)
"""


@pytest.mark.parametrize("end", ["closed", "exited", "timeout"])
def test_nothing_outlives_its_session(warm, end):
    marker = f"98{os.getpid()}{abs(hash(end)) % 1000}"
    with warm.open(limits=dataclasses.replace(STRICT, cell=3)) as session:
        run = session.run_cell(DAEMON.format(marker=marker))
        if warm.level == "partial":  # there it cannot start a process at all
            assert run.outputs[-1]["ename"] == "PermissionError" and not _remains(marker)
            return
        assert run.ok
        wait_for(lambda: len(_remains(marker)) == 1)  # on a busy machine it has not become `sleep` yet
        if end == "exited":
            with pytest.raises(SessionEnded):
                session.run_cell("os._exit(1)")
            wait_for(lambda: not _remains(marker))
        elif end == "timeout":
            with pytest.raises(SessionEnded):
                session.run_cell("import signal; signal.signal(2, signal.SIG_IGN); time.sleep(1000)")
            assert not _remains(marker)
    assert not _remains(marker)


def test_a_copy_of_the_process_does_not_answer(warm):
    if warm.level == "partial":
        pytest.skip("no child can be started there")
    with warm.open(limits=PATIENT) as session:
        run = session.run_cell(
            "import os\nchild = os.fork()\nif child: os.wait()\nprint('child' if not child else 'parent')"
        )
        assert run.ok and run.outputs[0]["text"] in ("child\nparent\n", "parent\nchild\n")
        assert session.run_cell("child > 0").outputs[0]["data"]["text/plain"] == "True"


# Machines that have less to give, made with unshare(1), which needs no rights.
MACHINES = {
    "no user namespaces": ("echo 0 > /proc/sys/user/max_user_namespaces", "partial"),
    "parts of /proc covered": ("mount -t tmpfs none /proc/acpi", "full"),
}
LEVEL = """
from autograde.sandbox.pool import SandboxPool
with SandboxPool() as warm, warm.open() as session:
    assert session.run_cell('1').ok
    print(session.isolation['level'])
"""


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES)
def test_lesser_machines(machine):
    command, level = MACHINES[machine]
    inside = ["unshare", "-Urmpf", "--mount-proc", "sh", "-c"]
    if subprocess.run([*inside, command], capture_output=True).returncode:
        pytest.skip("this machine cannot be made a lesser one")
    script = f'{command}; exec "$0" -c "$1"'
    done = subprocess.run(
        [*inside, script, sys.executable, LEVEL],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == level, done.stderr


def test_fork_bomb(warm):
    with warm.open(limits=STRICT) as session:
        try:
            run = session.run_cell("import os\nwhile True:\n    try: os.fork()\n    except BlockingIOError: pass")
        except SessionEnded as ended:
            assert ended.reason in ("timeout", "processes", "memory", "protocol")
        else:  # where no process can be started
            assert run.outputs[-1]["ename"] == "PermissionError" and warm.level == "partial"
    alive(warm)


def test_memory_of_children_counts(warm):
    if warm.level == "partial":
        pytest.skip("no child can be started there")
    code = """
import os, time
for _ in range(12):
    if os.fork() == 0:
        a = bytearray(60 * 2**20)
        time.sleep(100)
time.sleep(100)
"""
    with warm.open(limits=PATIENT) as session, pytest.raises(SessionEnded) as ended:
        session.run_cell(code)
    assert ended.value.reason == "memory"
    assert "256 MiB" in ended.value.message


def test_sockets_count_as_memory(warm):
    """The kernel holds what waits in them, and counts it against nobody."""
    if warm.level == "partial":
        pytest.skip("no socket can be made there")
    code = "import socket, time\npairs = [socket.socketpair() for _ in range(120)]\ntime.sleep(100)"
    with (
        warm.open(limits=dataclasses.replace(PATIENT, memory=40 * MIB)) as session,
        pytest.raises(SessionEnded) as ended,
    ):
        session.run_cell(code)
    assert ended.value.reason == "memory"


# Sockets that no descriptor leads to: what waits in them is kept all the same.
UNREACHABLE = {
    "not accepted": """
listener = socket.socket(socket.AF_UNIX)
listener.bind("listener")
listener.listen(4096)
listener.setblocking(False)
for _ in range(1_000):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("listener")
        client.send(bytes(30_000))
""",
    "closed by their senders": """
kept = []
for number in range(30):
    kept.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    kept[-1].bind(f"receiver-{number}")
    for _ in range(10):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(f"receiver-{number}")
            sender.send(bytes(100_000))
""",
    "on their way": """
kept, others = socket.socketpair()
for _ in range(120):
    for each in (pair := socket.socketpair()):
        socket.send_fds(kept, [b"x"], [each.fileno()])
        each.close()
""",
}


@pytest.mark.parametrize("how", UNREACHABLE)
def test_sockets_count_that_no_descriptor_leads_to(warm, how):
    if warm.level == "partial":
        pytest.skip("no socket can be made there")
    code = f"import socket, time\n{UNREACHABLE[how]}\ntime.sleep(100)"
    limits = dataclasses.replace(PATIENT, memory=40 * MIB)
    with warm.open(limits=limits) as session, pytest.raises(SessionEnded) as ended:
        session.run_cell(code)
    assert ended.value.reason == "memory"


def test_memory_counts_of_processes_whose_first_threads_have_ended(warm):
    """Their /proc/PID says nothing of memory any more."""
    if warm.level == "partial":
        pytest.skip("no child can be started there")
    code = """
import ctypes, os, threading, time
def fill():
    time.sleep(0.1)
    kept = b"x" * (100 * 2**20)
    time.sleep(100)
for _ in range(6):
    if os.fork() == 0:
        threading.Thread(target=fill).start()
        ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)
time.sleep(100)
"""
    with warm.open(limits=PATIENT) as session, pytest.raises(SessionEnded) as ended:
        session.run_cell(code)
    assert ended.value.reason == "memory"


def test_a_socket_holds_no_more_than_is_counted_for_it(warm):
    if warm.level == "partial":
        pytest.skip("no socket can be made there")
    code = """
import socket
ours, theirs = socket.socketpair()
for option in (socket.SO_SNDBUF, 32):
    ours.setsockopt(socket.SOL_SOCKET, option, 2**22)
ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
"""
    with warm.open() as session:
        assert int(session.run_cell(code).outputs[-1]["data"]["text/plain"]) <= SOCKET_BYTES


def test_what_notebooks_share_between_their_processes_still_works(warm):
    if warm.level == "partial":
        pytest.skip("no process can be started there")
    code = """
import multiprocessing, torch
from multiprocessing.shared_memory import SharedMemory
from torch.utils.data import DataLoader
fork = multiprocessing.get_context("fork")
array, queue, shared = fork.Array("d", 3), fork.Queue(), SharedMemory(create=True, size=100)
def work():
    array[1] = 2.0
    shared.buf[5] = 7
    queue.put("done")
process = fork.Process(target=work)
process.start()
got = queue.get(timeout=60)
process.join()
loaded = sum(batch.sum().item() for batch in DataLoader(torch.ones(64), batch_size=8, num_workers=2))
with open("/dev/zero", "rb") as zeros:
    zero = zeros.read(3)
got, array[1], shared.buf[5], loaded, zero
"""
    with warm.open(limits=PATIENT) as session:
        run = session.run_cell(code)
    assert run.outputs[-1]["data"]["text/plain"] == r"('done', 2.0, 7, 64.0, b'\x00\x00\x00')", run.outputs


def test_sockets_of_many_processes_count_as_memory(warm):
    if warm.level == "partial":
        pytest.skip("no socket can be made there")
    code = """
import os, socket, time
for _ in range(25):
    if os.fork() == 0:
        pairs = [socket.socketpair() for _ in range(15)]
        time.sleep(100)
time.sleep(100)
"""
    with (
        warm.open(limits=dataclasses.replace(PATIENT, memory=128 * MIB)) as session,
        pytest.raises(SessionEnded) as ended,
    ):
        session.run_cell(code)
    assert ended.value.reason == "memory"


def test_what_processes_share_counts_once_and_what_each_copies_counts_too(warm):
    if warm.level == "partial":
        pytest.skip("no child can be started there")
    code = """
import os, time
shared = bytearray(100 * 2**20)
for _ in range(4):
    if os.fork() == 0:
        while not os.path.exists("go"): time.sleep(0.001)
        for start in range(0, len(shared), 4096): shared[start] = 1
        time.sleep(100)
time.sleep(1)
"""
    with warm.open(limits=PATIENT) as session:
        assert session.run_cell(code).ok
        session.put({"go": b""})
        with pytest.raises(SessionEnded) as ended:
            session.run_cell("time.sleep(100)")
    assert ended.value.reason == "memory"


def test_processes_that_cannot_be_measured_in_time_count_with_all_that_they_have(monkeypatch):
    finished, calls = threading.Event(), []
    monkeypatch.setattr(usage, "_exact", lambda process, about: 5 if process == 1 else finished.wait())
    monkeypatch.setattr(usage, "_resident", lambda process, tasks: 7 if process == 2 else 0)
    found = usage.exact_memory({1: (0, []), 2: (0, [])}, 0.3, meanwhile=lambda: calls.append(1))
    finished.set()
    assert found == 1024 * (5 + 7)
    assert calls


def test_no_more_processes_are_measured_after_a_limit_was_found_exceeded(monkeypatch):
    measured, may_go_on = [], threading.Event()

    def exact(process, about):
        measured.append(process)
        may_go_on.wait(10)
        return 1

    def exceeded():
        raise SessionEnded("processes", "too many")

    monkeypatch.setattr(usage, "_exact", exact)
    with pytest.raises(SessionEnded):
        usage.exact_memory({process: (0, []) for process in range(5)}, 5, meanwhile=exceeded)
    may_go_on.set()
    time.sleep(0.2)
    assert measured == [0]


def test_what_a_notebook_leaves_running_is_looked_at_between_short_probes(warm):
    if warm.level == "partial":
        pytest.skip("no child can be started there")
    code = """
import os, time
for _ in range(12):
    if os.fork() == 0:
        while not os.path.exists("go"): time.sleep(0.001)
        a = bytearray(60 * 2**20)
        time.sleep(100)
"""
    with warm.open(limits=PATIENT) as session:
        assert session.run_cell(code).ok
        session.put({"go": b""})
        with pytest.raises(SessionEnded) as ended:
            for _ in range(10_000):
                session.run_cell("")
    assert ended.value.reason == "memory"


def test_when_the_machine_is_short_of_memory_the_largest_session_goes_first(warm, monkeypatch):
    """The machine's word is all that is made up here."""
    fill = "a = bytearray({} * 2**20)\nimport time\n"
    monkeypatch.setattr("autograde.sandbox.session.available_memory", lambda: 40 * MIB)
    with warm.open() as small, warm.open() as large:
        assert small.run_cell(fill.format(60) + "time.sleep(0.5)").ok
        with pytest.raises(SessionEnded) as ended:
            large.run_cell(fill.format(300) + "time.sleep(100)")
        assert ended.value.reason == "machine" and large.starved
        assert small.run_cell("time.sleep(0.5)").ok and not small.starved


def test_what_a_session_uses_is_the_same_beside_many_others(warm, monkeypatch):
    """The memory that all sessions share with the fork server counts for each the less, the more there are."""
    monkeypatch.setattr("autograde.sandbox.session.available_memory", lambda: 40 * MIB)
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(warm.open()) for _ in range(5)]
        with warm.open() as large, pytest.raises(SessionEnded) as ended:
            large.run_cell("a = bytearray(200 * 2**20)\nimport time\ntime.sleep(20)")
        assert ended.value.reason == "machine"
        assert all(each.run_cell("").ok for each in others)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give each session a user of its own")
def test_descriptors_on_their_way_do_not_count_for_a_neighbour(warm):
    if warm.level == "partial":
        pytest.skip("no process can be started there")
    hoard = """
import array, os, socket
pairs = [socket.socketpair() for _ in range(5)]
try:
    for ours, _ in pairs:
        ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 250))])
except OSError as error:
    print(os.strerror(error.errno), os.getuid())
"""
    send = "import socket\nours, theirs = socket.socketpair()\nsocket.send_fds(ours, [b'x'], [0])"
    with warm.open() as hostile, warm.open() as honest:
        assert hostile.run_cell(hoard).outputs[0]["text"].startswith("Too many references")
        assert not hostile.run_cell(send).ok
        assert honest.run_cell(send).ok


def test_locks_are_not_felt_outside(warm, outside):
    file = Path(json.__file__)  # shown to everyone who runs this Python
    code = f"""
import fcntl, sqlite3
held = open({str(file)!r})
fcntl.flock(held, fcntl.LOCK_EX)
fcntl.lockf(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
book = sqlite3.connect("book.db")
book.execute("create table page (number)")
book.execute("insert into page values (42)")
book.commit()
book.execute("select number from page").fetchone()
"""
    with warm.open() as session, open(file) as ours:
        shown = session.run_cell(code)
        assert shown.outputs[-1]["data"]["text/plain"] == "(42,)", shown.outputs
        fcntl.flock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)
        whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        assert struct.unpack("hhqqi4x", fcntl.fcntl(ours, fcntl.F_GETLK, whole))[0] == fcntl.F_UNLCK


def test_files_of_the_machine_stay_in_memory_and_are_not_written_at_once(warm):
    """With a descriptor that is none the kernel would refuse: here nothing asks it."""
    code = """
import ctypes, mmap, os
os.sync()
with open(os.__file__) as file:
    os.fsync(file)
    os.fdatasync(file)
libc = ctypes.CDLL(None, use_errno=True)
os.posix_fadvise(-1, 0, 0, os.POSIX_FADV_DONTNEED)
print([libc.syncfs(-1), libc.fsync(-1), libc.fdatasync(-1), libc.madvise(1, 4096, 20), libc.madvise(1, 4096, 21), libc.madvise(1, 4096, 4)])
"""
    with warm.open() as session:
        shown = session.run_cell(code)
        assert shown.outputs[-1]["text"] == "[0, 0, 0, 0, 0, -1]\n", shown.outputs


def test_signals_that_wait_are_few(warm):
    """The kernel counts them for all processes of a user together."""
    with warm.open() as session:
        shown = session.run_cell("import resource\nprint(resource.getrlimit(resource.RLIMIT_SIGPENDING))")
    if warm.level == "full":
        assert shown.outputs[-1]["text"] == "(1024, 1024)\n", shown.outputs


def test_calls_that_an_older_libseccomp_does_not_know_are_refused_by_number(monkeypatch):
    """As if it knew none of those that were made since 2019."""
    newest = seccomp.program(namespaces=True)
    real = seccomp._library()

    class Older:
        def __getattr__(self, name):
            return getattr(real, name)

        def seccomp_syscall_resolve_name(self, name):
            return -1 if name.decode() in seccomp.NUMBERS else real.seccomp_syscall_resolve_name(name)

    monkeypatch.setattr(seccomp, "_library", Older)
    assert seccomp.program(namespaces=True) == newest


def test_cpu_of_children_counts(warm):
    if warm.level == "partial":
        pytest.skip("no child can be started there")
    code = "import os\nfor _ in range(3): os.fork()\nwhile True: pass"
    limits = Limits(cell=30, cpu=2)
    with warm.open(limits=limits) as session, pytest.raises(SessionEnded) as ended:
        session.run_cell(code)
    assert ended.value.reason == "cpu"


def test_cpu_limit(warm):
    with warm.open(limits=Limits(cell=30, cpu=1)) as session, pytest.raises(SessionEnded) as ended:
        session.run_cell("while True: pass")
    assert ended.value.reason == "cpu"


def test_whole_session_has_a_limit(warm):
    with warm.open(limits=Limits(session=4)) as session:
        assert session.run_cell("import time; time.sleep(0.7)").ok
        with pytest.raises(SessionEnded) as ended:
            session.run_cell("time.sleep(30)")
    assert ended.value.reason == "timeout"
    assert "4 s in all" in ended.value.message


GRADER = """
import sys, time
from autograde.sandbox.pool import SandboxPool
warm = SandboxPool(without={without!r}).__enter__()
session = warm.open()
session.run_cell({code!r})
print('ready', flush=True)
session.run_cell('while True: pass')
"""


def test_grader_killed(warm, tmp_path):
    """`kill -9` of the grader: nothing of the warm process nor of a session remains."""
    marker = f"97{os.getpid()}"
    code = DAEMON.format(marker=marker) if warm.level == "full" else "1"
    script = GRADER.format(without=BOXES[warm.level], code=code)
    env = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE) as grader:
        assert grader.stdout.readline() == b"ready\n"
        below = psutil.Process(grader.pid).children(recursive=True)
        assert len(below) >= (4 if warm.level == "full" else 2)
        grader.kill()
        _, left = psutil.wait_procs(below, timeout=GENEROUS)
    assert not [p for p in left if p.status() != psutil.STATUS_ZOMBIE]
    assert not _remains(marker)
    assert not list(tmp_path.glob("autograde-*"))


def test_warm_process_killed(warm):
    """The warm process is lost: its session ends, the next one gets a new warm process."""
    if warm.level == "partial":
        pytest.skip("it is the same there, and takes seconds")
    with warm.open() as session:
        first = psutil.Process(warm.process.pid)
        for process in [*reversed(first.children(recursive=True)), first]:
            process.kill()
        with pytest.raises(SessionEnded) as ended:
            session.run_cell("1")
        assert ended.value.reason == "killed"
    alive(warm)


def test_required_isolation(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with (
        pytest.raises(IsolationError, match="full sandbox"),
        SandboxPool(require_isolation=True, without=("namespaces",)),
    ):
        pass
    assert not list(tmp_path.glob("autograde-*")), "a folder of the fork server is left"
    with pytest.raises(IsolationError, match="Linux"):
        SandboxPool(require_isolation=True, fork=False)


def test_what_was_reached_is_recorded(warm):
    with warm.open() as session:
        record = session.isolation
    assert record["level"] == warm.level
    assert ("namespaces" in record["by"]) == (warm.level == "full")
    assert {"files", "network", "processes", "survivors", "memory", "disk"} <= set(record["up"])
    assert record["missing"] == []


def test_no_means_at_all():
    with SandboxPool(without=("namespaces", "landlock", "seccomp")) as warm, warm.open() as session:
        assert session.isolation["level"] == "none"
        assert {"files", "network", "processes"} <= set(session.isolation["missing"])
        assert session.run_cell("1 + 1").ok
