"""The command `autograde` without its second for importing torch: each call is a fork of one process that has done that.

A fork has its own working folder, environment and output, and loads the course itself, as a process of its own does.
"""

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def autograde(*words, cwd=ROOT):
    """Run ``autograde`` with these words in a folder; a `CompletedProcess` with its output as text."""
    server = _server()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("out", "err")]
        for file in files:
            file.touch()
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        request = {
            "words": [*map(str, words)],
            "cwd": str(cwd),
            "environment": environment,
            "output": [*map(str, files)],
        }
        server.stdin.write(json.dumps(request).encode() + b"\n")
        server.stdin.flush()
        code = server.stdout.readline()
        assert code, "the process that runs the commands has ended"
        return subprocess.CompletedProcess(words, int(code), *(file.read_text(encoding="utf-8") for file in files))


@functools.cache
def _server():
    process = subprocess.Popen(
        [sys.executable, __file__],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    atexit.register(process.wait)
    atexit.register(process.stdin.close)
    return process


def _serve():
    from autograde.sandbox.environment import single_threaded
    from autograde.startup import skip_slow_imports

    skip_slow_imports()
    single_threaded()
    from autograde import cli
    from autograde.sandbox import unsandboxed  # noqa: F401  (imports torch, and no right answer)

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(cli.main, **json.loads(line))
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        answers.flush()


def _run(main, words, cwd, environment, output):
    """Run the command in this fork, and end it with the command's exit code."""
    code = 1
    try:
        for number, path in enumerate([os.devnull, *output]):
            os.dup2(os.open(path, os.O_RDWR), number)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[0] = cwd  # as `python -m autograde` has it
        try:
            main(words, prog_name="autograde")
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    _serve()
