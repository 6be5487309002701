"""Turns the events that the sandbox sends into the outputs of a cell, in nbformat's format.

The rules are those of nbclient: displays with an id can be updated later, `clear_output` empties the cell, text of the
two streams is held until the stream is flushed. Neighbouring pieces of one stream are joined. Events are written by the
process that runs handed-in code, so every field is checked before it may enter a notebook.
"""

import json
import math

import nbformat

MAX_OUTPUTS = 2_000  # in one cell
MAX_TEXT = 2_000  # characters of a name: of a mime type, of an exception
MAX_MESSAGE = 20_000  # characters of an exception's message
MAX_LINES = 1_000  # of a traceback
MAX_UPDATED = 64 * 2**20  # characters that updates of displays may write, all places where each is shown counted
UPDATE_COST = 1_000  # characters that an update counts beside its own, so that empty ones have an end too


def clean(value, depth=0):
    """JSON data that can be written to any file: no lone surrogates, only strings as keys, limited nesting."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode() if not value.isascii() else value
    if isinstance(value, list) and depth < 50:
        return [clean(item, depth + 1) for item in value]
    if isinstance(value, dict) and depth < 50:
        return {clean(key, depth + 1): clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # 1e999 is JSON for infinity
    return value if value is None or isinstance(value, int) else "…"


def _text(value, limit=None):
    return clean(value if isinstance(value, str) else repr(value))[:limit]


def _is_json(mime):
    return mime == "application/json" or mime.endswith("+json")


def _bundle(data):
    """A mime bundle: text for every mime type, any JSON for the JSON ones."""
    if not isinstance(data, dict):
        return {}
    return {
        _text(mime, MAX_TEXT): clean(value) if _is_json(mime) else _text(value)
        for mime, value in data.items()
        if isinstance(value, str) or _is_json(mime)
    }


def _metadata(value):
    return clean(value) if isinstance(value, dict) else {}


def _count(value):
    return value if type(value) is int and 0 < value < 10**6 else None


def new_output(kind, **fields):
    """An output with exactly these fields. `nbformat.v4.new_output` validates each one against the schema, which takes longer
    than the cell did; the whole notebook is validated when it is written.
    """
    return nbformat.from_dict({"output_type": kind} | fields)


class Outputs:
    """Collects the outputs of one cell after another, and updates displays with an id, also in earlier cells.

    They are plain dicts, since nbformat's take several times as long and most of what floods a notebook is never shown.
    """

    def __init__(self):
        self.displays = {}  # display id -> the outputs that show it, in whatever cell they are
        self.updated = 0  # characters, see MAX_UPDATED
        self.begin()

    def begin(self):
        """Start a new cell."""
        self.cell = []
        self.shown_before = {}  # display id -> how many outputs showed it when this cell began
        self.pieces = []  # of the stream output that is the cell's last, not yet joined
        self.held = {"stdout": [], "stderr": []}
        self.clear_next = False

    def end(self):
        """The outputs of the cell, complete."""
        self.flush("stdout")
        self.flush("stderr")
        self._join()
        return self.cell

    def flush(self, name):
        """Turn the held text of a stream into an output, or append it to the last one."""
        text = "".join(self.held[name])
        self.held[name] = []
        if not text:
            return
        self._clear_if_asked()
        if not (self.pieces and self.cell[-1]["name"] == name):
            if not self._append({"output_type": "stream", "name": name, "text": ""}):
                return
        self.pieces.append(text)

    def _join(self):
        """Write the text of the last output; piece by piece, it would be copied each time."""
        if self.pieces:
            self.cell[-1]["text"] = "".join(self.pieces)
            self.pieces = []

    def write(self, name, text):
        """Text for one of the two streams."""
        self.held[name].append(text)

    def error(self, ename, evalue, traceback):
        """An exception's output."""
        self._clear_if_asked()
        self._append({"output_type": "error", "ename": ename, "evalue": evalue, "traceback": traceback})

    def add(self, event):
        """Take one event from the sandbox; malformed parts of it are left out."""
        kind, content = event.get("type"), event.get("content")
        if not isinstance(content, dict):
            return
        if kind in ("stream", "flush"):
            name = content.get("name")
            if not isinstance(name, str) or name not in self.held:
                return
            if kind == "stream":
                self.write(name, _text(content.get("text", "")))
            else:
                self.flush(name)
            return
        self.flush("stdout")
        self.flush("stderr")
        if kind in ("display_data", "execute_result", "update_display_data"):
            self._display(kind, content)
        elif kind == "error":
            lines = content.get("traceback")
            lines = [_text(line) for line in lines] if isinstance(lines, list) else []
            evalue = _text(content.get("evalue", ""), MAX_MESSAGE)
            self.error(_text(content.get("ename", ""), MAX_TEXT), evalue, lines[:MAX_LINES])
        elif kind == "clear_output":
            if content.get("wait"):
                self.clear_next = True
            else:
                self._clear()

    def _display(self, kind, content):
        transient = content.get("transient")
        identity = transient.get("display_id") if isinstance(transient, dict) else None
        identity = identity if isinstance(identity, str) and identity else None
        data, metadata = _bundle(content.get("data")), _metadata(content.get("metadata"))
        if identity is not None:
            self._update(self.displays.get(identity, ()), data, metadata)
        if kind == "update_display_data":
            return
        self._clear_if_asked()
        more = {"execution_count": _count(content.get("execution_count"))} if kind == "execute_result" else {}
        output = {"output_type": kind, "data": data, "metadata": metadata} | more
        if self._append(output) and identity is not None:
            shown = self.displays.setdefault(identity, [])
            self.shown_before.setdefault(identity, len(shown))
            shown.append(output)

    def _update(self, displays, data, metadata):
        if not displays:
            return
        self.updated += len(displays) * (UPDATE_COST + sum(len(json.dumps(part)) for part in (data, metadata)))
        if self.updated <= MAX_UPDATED:
            for shown in displays:
                shown["data"], shown["metadata"] = data, metadata

    def _append(self, output):
        self._join()
        if len(self.cell) < MAX_OUTPUTS:
            self.cell.append(output)
            return True
        return False

    def _clear_if_asked(self):
        if self.clear_next:
            self._clear()

    def _clear(self):
        for identity, before in self.shown_before.items():
            del self.displays[identity][before:]
        self.shown_before.clear()
        self.cell.clear()
        self.pieces.clear()
        self.clear_next = False
