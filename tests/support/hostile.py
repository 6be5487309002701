"""Submissions that are work for whoever reads, shows or judges them: what the grader's own processes must survive.

`CODE` stands before a right answer, which then still has its points. `FILES` are the whole file.
"""

import json

import nbformat
from small_class import RIGHT, handed_in

SHOW = "from IPython import get_ipython\nsend = get_ipython().display_pub.session.hand_over\n"
# What a learner's cell does before a right answer, and whether that answer is still to be had.
CODE = {
    "json_that_is_a_number": "from IPython.display import display\ndisplay({'text/x+json': 5}, raw=True)",
    "stream_named_by_a_list": SHOW + "send('stream', {'name': ['stdout'], 'text': 'x'})",
    "stream_of_no_text": SHOW + "send('stream', {'name': 'stdout', 'text': {'a': 1}})",
    "one_display_a_thousand_times": "from IPython.display import display, HTML\n"
    "for i in range(1000):\n    display('a', display_id='x', update=i > 500)\n"
    "display('b' * 10**6, display_id='x', update=True)",
    "long_type_name": "E = type('E' * 10**6, (Exception,), {})\ndef late():\n    raise E('m' * 10**6)\n",
    "displays_shown_and_cleared": "from IPython.display import clear_output, display\n"
    "for i in range(6_000):\n    display(i, display_id=str(i))\n    clear_output()",
    "one_display_in_many_places": "from IPython.display import display\n"
    "for i in range(6_000):\n    display(i, display_id='x')",
    "flushed_piece_by_piece": "for i in range(15_000):\n    print(i, flush=True)",
    "more_outputs_than_a_page_holds": "from IPython.display import display\nfor i in range(1_900):\n    display('a' * 2_000)",
    "a_word_without_end": "# " + "a" * 90_000,
    "inputs_asked_for_by_a_name": "if False:\n" + "    check.linear_by_hand.inputs(seed=a)\n" * 2_300,
    "many_names_for_a_check": "if False:\n" + "".join(f"    import check as a{i}\n" for i in range(3_700)),
    "files_written_at_once": "import os\nwith open('file', 'wb') as file:\n    for i in range(20_000):\n"
    "        file.write(b'a')\n        file.flush()\n        os.fsync(file)\n    os.sync()",
    "epolls": "import select\nfor i in range(20_000):\n    try: select.epoll().register(0)\n    except OSError: pass",
    "rules_for_files": "import ctypes\ncall = ctypes.CDLL(None).syscall\nfor number in (444, 445, 446):\n"
    "    for i in range(20_000):\n        call(number, 0, 0, 0, 0)",  # Landlock's
    "full_pipes": "import os\nkept = [os.pipe() for i in range(100)]\nfor _, end in kept:\n"
    "    os.set_blocking(end, False)\n    os.write(end, bytes(2**16))",
    "long_message": "print('a' * 10**6)\nimport sys\nprint('b' * 10**6, file=sys.stderr)",
}


def _file(change):
    """A submitted file with a right answer that `change` was done to."""

    def content(course):
        notebook = json.loads(nbformat.writes(handed_in(course, RIGHT)))
        return json.dumps(change(notebook) or notebook)

    return content


def _text_cell(source):
    def change(notebook):
        notebook["cells"].append({"cell_type": "markdown", "metadata": {}, "source": source, "id": "text"})

    return _file(change)


def _code_cell(source, times=1):
    def change(notebook):
        for number in range(times):
            cell = {"cell_type": "code", "metadata": {}, "source": source, "id": f"own-{number}", "outputs": []}
            notebook["cells"].append(cell | {"execution_count": None})

    return _file(change)


def _text_cells(source, times):
    def change(notebook):
        cell = {"cell_type": "markdown", "metadata": {}, "source": source}
        notebook["cells"] += [cell | {"id": f"text-{number}"} for number in range(times)]

    return _file(change)


def _pictures(notebook):
    attached = {f"a{number}": {"image/png": "aaaa"} for number in range(140_000)}
    cell = {"cell_type": "markdown", "metadata": {}, "source": "x", "id": "text", "attachments": attached}
    notebook["cells"].append(cell)


def _old_headings(course):
    cells = [{"cell_type": "heading", "level": 10**6, "source": "x", "metadata": {}}] * 480
    return json.dumps({"nbformat": 3, "metadata": {}, "worksheets": [{"cells": cells}]})


FILES = {
    "digits_of_a_character": _text_cell(f"&#{'9' * 5000};"),
    "markdown_in_quadratic_time": _text_cell("![" * 20_000),
    "source_too_deep": _code_cell("x = " + "(" * 20_000 + ")" * 20_000),
    "sum_too_long": _code_cell("x = " + "+".join(["1"] * 45_000)),
    "format_of_many_letters": _file(lambda notebook: notebook.update(nbformat="4" * 3_000_000)),
    "format_of_many_digits": lambda course: '{"cells": [{}], "nbformat": ' + "4" * 5000 + "}",
    "deep_json": lambda course: '{"cells": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "empty_lists": lambda course: '{"cells": [' + ",".join(["[]"] * 1_500_000) + "]}",
    "html_that_grows": _text_cell("<b><i>" * 900 + "<p>" * 1500),
    "html_of_open_tags": _text_cell("<b>" * 200 + "x</p>" * 1200),
    "emphasis_without_end": _text_cell("**a_" * 5000),
    "brackets_without_end": _text_cell("[" * 20_000),
    "quotations_in_quotations": _text_cell(">" * 5000 + "a"),
    "lists_in_lists": _text_cell("\n".join(" " * depth + "- a" for depth in range(500))),
    "a_table_of_many_columns": _text_cell("|a" * 3000 + "\n" + "|-" * 3000 + "\n" + "|b\n" * 3000),
    "formulas_without_end": _text_cell("$" * 20_001),
    "quadratic_markdown_in_many_cells": _text_cells("\\begin{a}" * 1_200, 9),
    "lists_in_many_cells": _text_cells("* a\n" * 500, 29),
    "much_code": _code_cell("x=1\n" * 24_000),
    "as_many_names_in_terms_of_as_many": _code_cell("\n".join(f"a{i}=b{i}" for i in range(7_500))),
    "code_in_many_cells": _code_cell("x=1\n" * 48, 480),
    "code_that_is_slow_to_colour": _code_cell("." * 95_000),
    "many_pictures": _file(_pictures),
    "headings_of_an_old_format": _old_headings,
    "blanks_without_end": _text_cells("x" + " " * 19_900 + "x", 3),
    "many_keys": lambda course: '{"cells": [], "a": {' + ",".join(f'"{i:x}":1' for i in range(1_100_000)) + "}}",
    "many_numbers": lambda course: '{"cells": [], "a": [' + ",".join(["1"] * 5_100_000) + "]}",
    "many_worksheets": lambda course: '{"nbformat": 3, "worksheets": [' + ",".join(['{"cells": []}'] * 140_000) + "]}",
    "empty_cells": lambda course: '{"cells": [' + ",".join(["{}"] * 400_000) + "]}",
}

# What follows a right answer, and runs into a limit of the sandbox or ends its own process.
ENDS = {
    "exits": "import os\nos._exit(0)",
    "crashes": "import ctypes\nctypes.string_at(0)",
    "fills_memory": "a = [bytearray(2**26) for _ in range(10**4)]",
    "fork_bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "many_sockets": "import socket, os\nfor _ in range(40):\n    if os.fork() == 0: break\n"
    "kept = []\nwhile True:\n    try: kept += socket.socketpair()\n    except OSError: break\nos.wait()",
    "sockets_without_a_descriptor": "import socket\nkept = []\nfor name in 'abcdefghijklmnop':\n"
    "    kept.append(socket.socket(socket.AF_UNIX))\n    kept[-1].bind(name)\n    kept[-1].listen(4096)\n"
    "    for _ in range(4_000):\n        with socket.socket(socket.AF_UNIX) as client:\n"
    "            client.setblocking(False)\n            client.connect(name)\n            client.send(bytes(30_000))",
    "processes_without_a_first_thread": "import ctypes, os, threading, time\ndef fill():\n    time.sleep(0.1)\n"
    "    kept = b'x' * (100 * 2**20)\n    time.sleep(100)\nfor _ in range(30):\n    if os.fork() == 0:\n"
    "        threading.Thread(target=fill).start()\n"
    "        ctypes.CDLL(None).syscall({'x86_64': 60, 'aarch64': 93}[os.uname().machine], 0)\ntime.sleep(100)",
    "descriptors_on_their_way": "import socket\nkept, others = socket.socketpair()\nwhile True:\n"
    "    for each in (pair := socket.socketpair()):\n        socket.send_fds(kept, [b'x'], [each.fileno()])\n        each.close()",
    "prints_without_end": "while True: print('a' * 10**5)",
    "fills_the_disk": "with open('file', 'wb') as file:\n    while True: file.write(bytes(2**24))",
}
