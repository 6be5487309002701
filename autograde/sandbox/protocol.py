"""How the grader and the process with the learner's code talk: numbered frames on one stream socket.

A frame is a header (payload length, number of the request it belongs to, kind) and a payload. The grader asks, one
request at a time; the far side sends any number of events and then one closing frame with the same number. The far
side is where handed-in code runs, so the grader reads every frame as one that this code may have written: lengths are
capped before anything is read, numbers and kinds are checked, and JSON is parsed without its non-finite numbers.
"""

import json
import struct

HEADER = struct.Struct("<IIB")
_LENGTH = struct.Struct("<I")
LARGEST_EVENT = 32 * 2**20  # bytes; one output larger than this is not sent
TOGETHER_BYTES, TOGETHER_SECONDS = 2**20, 1.0  # after which a request with more questions is closed
CONNECTION_LOST = 75  # exit code of the learner's process when its own code has taken its connection away

# the grader's requests
FILES, CELL, PROBE = 1, 2, 3
# the far side's frames: the first says what the sandbox reached, events come while a request runs, the others close it
READY, EVENT, DONE, ANSWER, REFUSED = 16, 17, 18, 19, 20

_DECODER = json.JSONDecoder(parse_constant=lambda _name: None)


class FrameError(ValueError):
    """Bytes that the other side of the protocol would not have written."""


def pack(kind, request, payload):
    """Bytes of one frame."""
    return HEADER.pack(len(payload), request, kind) + payload


def pack_json(kind, request, content):
    """Bytes of one frame that holds `content` as JSON."""
    return pack(kind, request, json.dumps(content).encode())


def pack_file(request, name, data):
    """Bytes of the frame that asks for a file to be written."""
    encoded = name.encode("utf-8", "surrogateescape")
    return pack(FILES, request, _LENGTH.pack(len(encoded)) + encoded + data)


def read_file(payload):
    """Name and content of a file that is to be written."""
    start = _LENGTH.size + _LENGTH.unpack_from(payload)[0]
    return payload[_LENGTH.size : start].decode("utf-8", "surrogateescape"), payload[start:]


def pack_answers(answers):
    """The payload of the frame that holds answers, each of them bytes."""
    return b"".join(part for answer in answers for part in (_LENGTH.pack(len(answer)), answer))


def read_answers(payload, most):
    """The answers in a payload, as a list of bytes.

    Raises:
        FrameError: it does not hold whole answers, or none, or more than `most`.
    """
    answers, start = [], 0
    while start + _LENGTH.size <= len(payload) and len(answers) < most:
        end = start + _LENGTH.size + _LENGTH.unpack_from(payload, start)[0]
        answers.append(payload[start + _LENGTH.size : end])
        start = end
    if start != len(payload) or not answers:
        raise FrameError("a frame that does not hold answers")
    return answers


def read_json(payload):
    """What a JSON payload holds, as a dict. NaN and the infinities, which no notebook may hold, are read as None.

    Raises:
        FrameError: it is no JSON object.
    """
    try:
        content = _DECODER.decode(payload.decode())
    except (ValueError, RecursionError):
        raise FrameError("a frame that is not JSON") from None
    if not isinstance(content, dict):
        raise FrameError("a frame that is not a JSON object")
    return content


class Reader:
    """Takes frames out of a stream of bytes, whatever the pieces it arrives in.

    Args:
        limits: the largest payload allowed, in bytes, by kind. Other kinds are errors.
    """

    def __init__(self, limits):
        self.limits = limits
        self.buffer = bytearray()

    def feed(self, data):
        """Frames that `data` completes, as ``(kind, request, payload)``.

        Raises:
            FrameError: a kind that is not expected, or a payload larger than its kind may have.
        """
        self.buffer += data
        start = 0
        try:
            while len(self.buffer) - start >= HEADER.size:
                length, request, kind = HEADER.unpack_from(self.buffer, start)
                if kind not in self.limits:
                    raise FrameError(f"a frame of kind {kind}")
                if length > self.limits[kind]:
                    raise FrameError(f"a frame of {length:,} bytes")
                end = start + HEADER.size + length
                if len(self.buffer) < end:
                    break
                payload = bytes(self.buffer[start + HEADER.size : end])
                start = end
                yield kind, request, payload
        finally:
            del self.buffer[:start]
