"""Plain data, and its encoding between processes: JSON for structure, safetensors for tensors, never pickle.

Plain data is None, bool, int, float, str, a dense CPU tensor, an `Opaque`, a list of plain data, or a dict from str to
plain data. `plain` converts whatever a learner's code returns; `encode` and `decode` turn it into bytes and back.
Bytes from the learner's process are untrusted: `decode` raises `WireError` for every malformed message.
"""

import json
import struct

import numpy as np
import torch
from safetensors import deserialize

from autograde.remote import facts
from autograde.remote.facts import type_name

MAX_BYTES = 64 * 2**20  # one message; the largest honest answer of the course is a thousand times smaller
MAX_TEXT = 4_000  # characters of one string a learner's code returned
MAX_ITEMS = 10_000  # entries of one list or dict
MAX_BITS = 4_096  # of a whole number; JSON takes 14,000
MAX_DEPTH = 20  # lists within lists
MAX_HEAD = 8 * 2**20  # bytes of the structure of an answer: what takes time to read is not its tensors' bytes
MAX_TENSORS = 10_000  # in one answer
MAX_DIMENSIONS = 64  # of a tensor in an answer
MAX_LOOPED = 1_000  # entries of a tensor in an answer that Python code may go through

_LENGTH, _HEADER_LENGTH = struct.Struct("<I"), struct.Struct("<Q")
_DTYPES = {  # by the names of safetensors
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32, "I64": torch.int64,
    "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


class WireError(ValueError):
    """A message that this module would not have written."""


class LongTensor(torch.Tensor):
    """A tensor of an answer that can only be compared as a whole. Where a list of names was expected, it would take seconds to
    go through its entries one by one.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # what is computed with it is a plain tensor

    def __iter__(self):
        raise WireError("a tensor in place of a list")

    def tolist(self):
        """Refused, as going through it is."""
        raise WireError("a tensor in place of a list")


class Opaque:
    """Stands for an object that has no plain form: the name of its type, and its repr, shortened.

    No dataclass: making one takes longer than the rest of this module, which a session executes anew after its cells.
    """

    def __init__(self, type, text=""):
        self.type = type
        self.text = text

    def __eq__(self, other):
        return isinstance(other, Opaque) and (self.type, self.text) == (other.type, other.text)

    def __hash__(self):
        return hash((self.type, self.text))

    def __repr__(self):
        return f"Opaque({self.type!r}, {self.text!r})"


def _opaque(value):
    try:
        text = repr(value)
    except Exception:  # a learner's __repr__ may do anything
        text = "<its repr raised>"
    return Opaque(type_name(value)[:200], text[:200])


def _plain_tensor(tensor):
    # A subclass (nn.Parameter, or one of the learner's own) is read as the plain tensor under it.
    try:
        dtype, shape = facts.dtype(tensor), tuple(facts.shape(tensor))
    except RuntimeError:
        return Opaque(type_name(tensor), "a nested tensor of shapes that differ")
    try:
        values = facts.dense_values(tensor, _NAMES, MAX_BYTES // 2)
    except (TypeError, ValueError):
        return Opaque(type_name(tensor), f"a tensor of shape {shape}, without memory for its values")
    if values is not None:
        return values
    is_dense = facts.layout(tensor) == torch.strided and not facts.is_quantized(tensor)
    if is_dense and dtype in _NAMES and not facts.is_meta(tensor):
        return Opaque(type_name(tensor), f"a tensor of shape {shape}, too large to be an answer")
    layout = "" if facts.layout(tensor) == torch.strided else f" {str(facts.layout(tensor)).removeprefix('torch.')}"
    what = f"{str(dtype).removeprefix('torch.')}{layout} tensor of shape {shape}"
    return Opaque(type_name(tensor), f"{what} on {facts.device(tensor)}")


def plain(value, depth=0):
    """Plain data for `value`; an object without a plain form becomes `Opaque`. Tensors are detached and moved to the CPU."""
    if type(value) is int and value.bit_length() > MAX_BITS:
        return Opaque("int", f"a whole number of {value.bit_length():,} bits")
    if value is None or type(value) in (bool, int, float):
        return value
    if isinstance(value, str):
        return str(value)[:MAX_TEXT]
    if isinstance(value, Opaque):
        return value
    try:
        if isinstance(value, torch.Tensor):
            return _plain_tensor(value)
        if isinstance(value, (np.ndarray, np.generic)):
            return _plain_tensor(torch.as_tensor(np.asarray(value)))
        if depth < MAX_DEPTH and isinstance(value, (list, tuple)) and len(value) <= MAX_ITEMS:
            return [plain(item, depth + 1) for item in value]
        if depth < MAX_DEPTH and isinstance(value, dict) and len(value) <= MAX_ITEMS:
            if all(isinstance(key, str) and not key.startswith("$") for key in value):
                return {str(key): plain(item, depth + 1) for key, item in value.items()}
    except Exception:  # an array of objects, a hostile subclass: it has no plain form
        return _opaque(value)
    return _opaque(value)


def copy(value):
    """A deep copy of plain data that keeps each tensor's strides, so that a non-contiguous input stays one."""
    if isinstance(value, torch.Tensor):
        return facts.copied(value)
    if isinstance(value, list):
        return [copy(item) for item in value]
    if isinstance(value, dict):
        return {key: copy(item) for key, item in value.items()}
    return value


def encode(value):
    """Bytes for plain data.

    Raises:
        WireError: the data is not plain, or holds an int that is too long for JSON.
    """
    tensors = []

    def structure(item):
        if isinstance(item, torch.Tensor):
            tensors.append(item)
            return {"$tensor": len(tensors) - 1, "stride": list(facts.strides(item))}
        if isinstance(item, Opaque):
            return {"$opaque": [item.type, item.text]}
        if isinstance(item, (list, tuple)):
            return [structure(part) for part in item]
        if isinstance(item, dict):
            return {key: structure(part) for key, part in item.items()}
        return item

    try:
        head = json.dumps(structure(value)).encode()
    except (TypeError, ValueError) as error:
        raise WireError(f"not plain data: {error}") from None
    return _LENGTH.pack(len(head)) + head + _safetensors(tensors)


def _safetensors(tensors):
    """Bytes in the format of safetensors, each tensor under its position. The library's own writer asks methods of the
    tensors, which handed-in code may have replaced.
    """
    header, parts, end = {}, [], 0
    for tensor in tensors:
        parts.append(facts.as_bytes(tensor))
        start, end = end, end + len(parts[-1])
        shape = list(facts.shape(tensor))
        header[len(header)] = {"dtype": _NAMES[facts.dtype(tensor)], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([_HEADER_LENGTH.pack(len(text)), text, *parts])


def decode(data, *, trusted=False):
    """Plain data from bytes. Strides are restored only from a `trusted` sender; other tensors are contiguous.

    Raises:
        WireError: the bytes are malformed, in whatever way.
    """
    if len(data) > MAX_BYTES:
        raise WireError(f"the message has {len(data):,} bytes, more than the {MAX_BYTES:,} allowed")
    try:
        (length,) = _LENGTH.unpack_from(data)
        (header_length,) = _HEADER_LENGTH.unpack_from(data, _LENGTH.size + length)
        if not trusted and (length > MAX_HEAD or header_length > MAX_HEAD):
            raise WireError("the message has too many parts")
        head = json.loads(data[_LENGTH.size : _LENGTH.size + length].decode())
        read = deserialize(bytes(data[_LENGTH.size + length :]))
        if not trusted and (len(read) > MAX_TENSORS or any(len(each["shape"]) > MAX_DIMENSIONS for _, each in read)):
            raise WireError("the message has too many parts")
        tensors = {name: facts.from_bytes(each["data"], _DTYPES[each["dtype"]], each["shape"]) for name, each in read}
        return _restore(head, tensors, trusted, 0)
    except WireError:
        raise
    except Exception as error:  # whatever it was, these bytes led to it
        raise WireError(f"the message cannot be read: {type(error).__name__}") from None


def _restore(item, tensors, trusted, depth):
    if depth > MAX_DEPTH + 10:
        raise WireError("the message is nested too deeply")
    if isinstance(item, str):
        return _text(item if trusted else item[:MAX_TEXT])  # as `plain` cuts it, unless the sender was tampered with
    if isinstance(item, list):
        return [_restore(part, tensors, trusted, depth + 1) for part in item]
    if isinstance(item, dict):
        if "$tensor" in item:
            tensor = tensors[str(int(item["$tensor"]))]
            if not trusted:
                return tensor.as_subclass(LongTensor) if tensor.numel() > MAX_LOOPED else tensor
            has_other_strides = tuple(item["stride"]) != facts.strides(tensor)
            return facts.copied(tensor, item["stride"]) if has_other_strides else tensor
        if "$opaque" in item:
            kind, text = item["$opaque"]
            return Opaque(_text(str(kind)[:200]), _text(str(text)[:200]))
        return {_restore(key, tensors, trusted, depth): _restore(part, tensors, trusted, depth + 1)
                for key, part in item.items()}  # fmt: skip
    return item


def _text(text):
    """The text without lone surrogates, which could not be written to a file later."""
    return text.encode("utf-8", "replace").decode()
