"""The messages between a grading process and its client, here or on a cluster: JSON and bytes, never pickle."""

import json
import struct

_LENGTHS = struct.Struct("<IQ")


def pack(metadata, *files):
    """The message with a dict (JSON data) and the contents of any number of files, as bytes."""
    head = json.dumps(metadata | {"sizes": [len(file) for file in files]}).encode()
    return b"".join([_LENGTHS.pack(len(head), sum(map(len, files))), head, *files])


def unpack(data):
    """``(dict, bytes of the first file, bytes of the second, …)`` of a complete message."""
    head, _ = _LENGTHS.unpack_from(data)
    start = _LENGTHS.size + head
    metadata = json.loads(data[_LENGTHS.size : start])
    files = []
    for size in metadata.pop("sizes"):
        files.append(bytes(data[start : start + size]))
        start += size
    return metadata, *files


def read(read_exactly):
    """The next complete message of a stream, as bytes; None at its end.

    Args:
        read_exactly: ``read_exactly(count)`` returns `count` bytes, or fewer at the end of the stream.
    """
    lengths = read_exactly(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    rest = sum(_LENGTHS.unpack(lengths))
    content = read_exactly(rest)
    return lengths + content if len(content) == rest else None


def is_whole(data):
    """Whether `data` is one complete message."""
    return len(data) >= _LENGTHS.size and len(data) == _LENGTHS.size + sum(_LENGTHS.unpack_from(data))
