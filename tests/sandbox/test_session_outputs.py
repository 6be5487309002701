"""A notebook shows in a session what it shows in a real kernel: the same cells through both, output by output."""

import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from autograde.sandbox.pool import SandboxPool

CELLS = [
    "1 + 1",
    "x = 3",
    "",
    "# only a comment",
    "print('a'); print('b')\nx",
    "_ + Out[1]",
    "In[1], len(In)",
    "'a'; 'b'",
    "'hidden';",
    "None",
    "import sys\nprint('out'); print('err', file=sys.stderr); print('out again')",
    "print('no newline', end='')",
    "sys.stdout.write('abc\\n')",
    "print('now', flush=True); print('later')",
    "1 / 0",
    "def f(n):\n    return 1 / n\n\ndef g(n):\n    return f(n)\n\ng(0)",
    "x = = 2",
    "def broken(:\n    pass",
    "import does_not_exist",
    "undefined_name",
    "raise ValueError('two\\nlines')",
    "assert x == 4, 'x is three'",
    "import torch\ntorch.arange(6.).reshape(2, 3)",
    "torch.ones(2, 3) @ torch.ones(2, 3)",
    "import numpy as np\nnp.arange(4), np.float32(2.5)",
    "%timeit -n1 -r1 pass",
    "%%time\ny = 5",
    "%%capture taken\nprint('captured')",
    "taken.stdout",
    "%pwd;",
    "%lsmagic;",
    "%no_such_magic",
    "%%no_such_magic\nx",
    "for code in ('1 + 1', '2 + 2'):\n    get_ipython().run_cell(code)",
    "get_ipython().input_transformers_post.append(lambda lines: [each.replace('spam', 'eggs') for each in lines])",
    "print('spam')",
    "get_ipython().run_cell(\"print('spam')\");",
    "get_ipython().input_transformers_post.clear()",
    "%matplotlib inline\nimport matplotlib.pyplot as plt",
    "plt.plot([1, 4, 2])\nplt.title('a figure')\nprint('with text')",
    "plt.figure(); plt.plot([0, 1]); plt.figure(); plt.bar([1, 2], [3, 4]);",
    "fig, ax = plt.subplots(1, 2, figsize=(4, 2))\nax[0].imshow([[1, 2], [3, 4]])\nplt.show()\nprint('after')",
    "fig",
    "from IPython.display import HTML, JSON, Image, Markdown, clear_output, display, update_display\nHTML('<b>b</b>')",
    "display(1, 'two', [3])",
    "display(Markdown('*m*'), metadata={'a': 1})",
    "JSON({'a': [1, 2]})",
    "handle = display('first', display_id='shown')\nprint('between')\nhandle.update('second')",
    "update_display('third', display_id='shown')",
    "print('gone'); display('gone too'); clear_output(); print('stays')",
    "print('waits'); clear_output(wait=True); print('replaces')",
    "display({'text/plain': 'raw', 'application/x-own': 'data'}, raw=True)",
    "class Rich:\n    def _repr_html_(self): return '<i>rich</i>'\n    def __repr__(self): return 'Rich()'\nRich()",
    "class Bad:\n    def __repr__(self): raise RuntimeError('in repr')\nBad()",
    "class Own(Exception):\n    def _render_traceback_(self): return ['my own', 'words']\nraise Own('hidden')",
    "import inspect, sys\ninspect.getmodule(sys._getframe()), [name for name in inspect.modulesbyfile if 'ipykernel_' in name]",
    "await __import__('asyncio').sleep(0)\nprint('awaited')",
    "import asyncio\nasync def later(): return 7\nawait later()",
    "asyncio.run('not even a coroutine')",
    "async def fails(): raise KeyError('k')\nawait fails()",
    "'await in words, async too'",
    "rest = (7\n  % 4)\nrest",
    "from IPython.core.inputtransformer2 import TokenTransformBase\n"
    "class Doubled(TokenTransformBase):\n"
    "    @classmethod\n"
    "    def find(cls, lines):\n"
    "        return next((cls(each.start) for line in lines for each in line if each.string == 'doubled'), None)\n"
    "    def transform(self, lines):\n"
    "        return [line.replace('doubled', '2 *') for line in lines]\n"
    "get_ipython().input_transformer_manager.token_transformers.append(Doubled)",
    "doubled + 4",
    "get_ipython().input_transformer_manager.token_transformers.pop();",
    "input('name? ')",
    "import getpass; getpass.getpass()",
    "get_ipython().__class__.__mro__[1].__name__ in ('ZMQInteractiveShell', 'InteractiveShell')",
    "sys.exit(3)",
    "raise SystemExit",
    "import warnings\nwarnings.warn('careful')",
    "import os, time\ncode = os.system('echo from a shell'); time.sleep(0.3)\ncode",
    "!echo from bang",
    "listed = !printf 'a\\nb\\n'\nlisted",
    "import subprocess\ndone = subprocess.run('echo a; sleep 0.3; echo b >&2', shell=True); time.sleep(0.3)\ndone.args",
    "subprocess.run(['no-such-program'])",
    "print('ü ∑ \\x1b[31mred\\x1b[0m')",
    "for i in range(300): print(i)",
    "before = sys.getrecursionlimit(); sys.setrecursionlimit(200)\ndef r(n): return r(n + 1)\nr(0)",
    "sys.setrecursionlimit(before)",
    "import builtins\nbuiltins._",
    "__name__",
    "%history -n 1-2",
    "class Point:\n    pass\nimport pickle\ntype(pickle.loads(pickle.dumps(Point()))).__name__",
    "from autograde import check",
    "f?",
    "import logging\nlogging.warning('logged')",
    "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise RuntimeError('chained') from error",
    "%xmode Plain",
    "g(0)",
    "%xmode Context",
    "%reset -f",
    "x",
]


def _kernel_outputs(folder):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, kernel_name="python3", allow_errors=True, timeout=600, resources=resources).execute()
    return [(cell.outputs, cell.execution_count) for cell in notebook.cells]


def _session_outputs():
    with SandboxPool() as warm, warm.open() as session:
        runs = [session.run_cell(source) for source in CELLS]
    return [(run.outputs, run.execution_count) for run in runs]


def _plain_text(text):
    """Text without colours, addresses, temporary names and durations."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text).replace(str(Path.home()), "~")
    text = re.sub(r"0x[0-9a-f]{6,}", "0x", text)
    text = re.sub(r"/(box/)?tmp/ipykernel_\d+/\d+", "ipykernel", text)
    return re.sub(r"[\d.]+(e[+-]\d+)? (ns|μs|ms|s)\b", "0 s", text)


def _comparable(outputs):
    """Outputs without what differs between any two runs; neighbouring pieces of a stream joined."""
    kept = []
    for output in outputs:
        if output["output_type"] == "stream":
            if kept and kept[-1][:2] == ("stream", output["name"]):
                kept[-1] = ("stream", output["name"], kept[-1][2] + _plain_text(output["text"]))
            else:
                kept.append(("stream", output["name"], _plain_text(output["text"])))
        elif output["output_type"] == "error":
            lines = [_plain_text(line) for line in output["traceback"]]
            kept.append(("error", output["ename"], _plain_text(output["evalue"]), lines[:6] + lines[-1:]))
        else:
            data = {mime: _plain_text(v) if isinstance(v, str) else v for mime, v in output["data"].items()}
            kept.append((output["output_type"], data, dict(output["metadata"]), output.get("execution_count")))
    return kept


def test_every_cell_shows_what_a_kernel_shows(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # ipykernel leaves the file descriptors alone where it is set
    expected, got = _kernel_outputs(tmp_path), _session_outputs()
    different = {}
    for source, (theirs, their_count), (ours, our_count) in zip(CELLS, expected, got, strict=True):
        kernel, session = (_comparable(theirs), their_count), (_comparable(ours), our_count)
        if kernel != session:
            different[source] = {"kernel": kernel, "session": session}
    assert not different
    nbformat.validate(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=outputs) for outputs, _ in got])
    )
