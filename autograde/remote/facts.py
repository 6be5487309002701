"""What a tensor, a type or a module is, read by C code.

A class may override an attribute, and a cell may replace a method of torch, or with `torch.library` the kernel of an
operator. None of these is asked here: what is noted beside an answer (does a tensor train, whose memory is it, were its
values changed) must be what is the case. Values are therefore read from memory, by numpy. The exceptions are tensors on
other devices and the copies of bfloat16, a dtype that numpy lacks: they go through torch's operators.
"""

import ctypes

import numpy as np
import torch
from torch import Tensor, nn
from torch._C import (
    DisableTorchFunction,
    StorageBase,
    TensorBase,
    _parse_dispatch_key,
)
from torch._C import _dispatch_tls_is_dispatch_key_excluded as _is_excluded
from torch._C import _dispatch_tls_set_dispatch_key_excluded as _exclude
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor

_module_of = type.__dict__["__module__"].__get__
_name_of = type.__dict__["__qualname__"].__get__
_is_subclass = type.__subclasscheck__  # `isinstance` believes what an object says its __class__ is
_attributes_of = nn.Module.__dict__["__dict__"].__get__
_NUMPY = {
    torch.bool: np.bool_, torch.uint8: np.uint8, torch.int8: np.int8, torch.int16: np.int16, torch.int32: np.int32,
    torch.int64: np.int64, torch.float16: np.float16, torch.float32: np.float32, torch.float64: np.float64,
}  # fmt: skip
_BITS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}  # by the size of an entry
_PYTHON, _SNAPSHOT = _parse_dispatch_key("Python"), _parse_dispatch_key("PythonTLSSnapshot")


def _in_c(function, *arguments):
    """Call a function of torch's C code so that no override in Python is asked, of a class or of a mode.

    A cell can replace `torch._C._DisableTorchDispatch.__enter__`, so its two keys are set by functions.
    """
    python, snapshot = _is_excluded(_PYTHON), _is_excluded(_SNAPSHOT)
    _exclude(_PYTHON, True)
    _exclude(_SNAPSHOT, True)
    try:
        with DisableTorchFunction():
            return function(*arguments)
    finally:
        _exclude(_PYTHON, python)
        _exclude(_SNAPSHOT, snapshot)


def type_name(value):
    """The usual name of the type of `value`: `int`, `torch.Tensor`, `numpy.ndarray`."""
    kind = type(value)
    try:
        module = _module_of(kind)
    except AttributeError:  # a class that has deleted it
        module = ""
    name = _name_of(kind) if module in ("builtins", "__main__") else f"{module}.{_name_of(kind)}"
    # A subclass of an array is read as the array that it is, whatever it is called.
    return name if name.startswith("numpy.") or not _is_subclass(np.ndarray, kind) else "numpy.ndarray"


def is_tensor(value):
    """Whether `value` is a tensor."""
    return _is_subclass(Tensor, type(value))


def is_module(value):
    """Whether `value` is an nn.Module."""
    return _is_subclass(nn.Module, type(value))


def is_parameter(value):
    """Whether `value` is an nn.Parameter."""
    return _is_subclass(nn.Parameter, type(value))


def _getter(name):
    return vars(TensorBase)[name].__get__


def _reader(name):
    get = _getter(name)

    def read(tensor):
        with DisableTorchFunction():  # an attribute is not dispatched
            return get(tensor)

    return read


requires_grad, is_leaf, is_meta = _reader("requires_grad"), _reader("is_leaf"), _reader("is_meta")
shape, dtype, device, grad = _reader("shape"), _reader("dtype"), _reader("device"), _reader("grad")
layout, is_quantized = _reader("layout"), _reader("is_quantized")
_grad_fn = _reader("grad_fn")


def set_requires_grad(tensors, value):
    """Have each of some tensors of floats train, or not, whatever their classes say."""
    with DisableTorchFunction():
        for tensor in tensors:
            vars(TensorBase)["requires_grad"].__set__(tensor, value)


def has_graph(tensor):
    """Whether autograd has recorded how a tensor was made."""
    return _grad_fn(tensor) is not None


def is_inference(tensor):
    """Whether a tensor was made under torch.inference_mode()."""
    return _in_c(TensorBase.is_inference, tensor)


def strides(tensor):
    """The strides of a tensor, as a tuple of ints."""
    with DisableTorchFunction():
        return TensorBase.stride(tensor)


def memory(tensor):
    """The address of a tensor's memory; those that share it have the same one. 0 where there is none."""
    return StorageBase.data_ptr(_in_c(TensorBase.untyped_storage, tensor))


def values(tensor):
    """The values of a tensor of any class: a plain tensor on the CPU, without a graph and with memory of its own."""
    return _in_c(_values, tensor)


def dense_values(tensor, dtypes, most_bytes):
    """As `values`; None for a tensor that is sparse, quantized, on the device "meta", of no dtype in `dtypes`, or larger than
    `most_bytes`.
    """
    return _in_c(_dense_values, tensor, dtypes, most_bytes)


# Below, `_get_…` and functions with an underscore are for use within `_in_c` alone.
_get_shape, _get_dtype, _get_device = _getter("shape"), _getter("dtype"), _getter("device")
_get_layout, _get_size = _getter("layout"), _getter("nbytes")
_get_is_quantized, _get_is_meta = _getter("is_quantized"), _getter("is_meta")


def _has_array(tensor):
    return _get_device(tensor).type == "cpu" and _get_dtype(tensor) in _NUMPY


def _unwrapped(tensor):
    """The tensor itself: what is made while `torch.func` transforms a function comes wrapped, and has no memory then."""
    while is_functorch_wrapped_tensor(tensor):
        inner = get_unwrapped(tensor)
        if _get_shape(inner) != _get_shape(tensor):
            raise ValueError("one of a batch, whose values are not its own")
        tensor = inner
    return tensor


def _array(tensor, kind):
    """The memory of a tensor on the CPU as a numpy array of the dtype `kind`; it may not be used when the tensor is gone."""
    tensor = _unwrapped(tensor)
    shape, size = tuple(_get_shape(tensor)), TensorBase.element_size(tensor)
    if 0 in shape:
        return np.empty(shape, kind)
    storage = TensorBase.untyped_storage(tensor)
    address = StorageBase.data_ptr(storage)
    if not address:
        raise ValueError("a tensor without memory")
    memory = (ctypes.c_char * StorageBase.nbytes(storage)).from_address(address)
    strides = [stride * size for stride in TensorBase.stride(tensor)]
    return np.ndarray(shape, kind, memory, TensorBase.storage_offset(tensor) * size, strides)


def _values(tensor):
    if _has_array(tensor):
        array = np.array(_array(tensor, _NUMPY[_get_dtype(tensor)]))
        return torch.from_numpy(np.negative(array, out=array) if TensorBase.is_neg(tensor) else array)
    detached = TensorBase.as_subclass(TensorBase.detach(tensor), Tensor)
    return TensorBase.clone(TensorBase.resolve_neg(TensorBase.resolve_conj(TensorBase.to(detached, "cpu"))))


def _dense_values(tensor, dtypes, most_bytes):
    is_dense = _get_layout(tensor) == torch.strided and not _get_is_quantized(tensor) and not _get_is_meta(tensor)
    if is_dense and _get_dtype(tensor) in dtypes and _get_size(tensor) <= most_bytes:
        return _values(tensor)
    return None


def as_bytes(tensor):
    """The bytes of the values of a plain tensor on the CPU, row by row."""
    return _in_c(lambda: _array(tensor, _BITS[TensorBase.element_size(tensor)]).tobytes())


def from_bytes(data, dtype, shape):
    """The tensor on the CPU whose `as_bytes` are `data`."""
    values = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
    return _in_c(TensorBase.reshape, values, shape)


def copied(tensor, new_strides=None):
    """A copy of a plain tensor, with its strides or with other ones; a contiguous one of an expanded tensor."""
    return _in_c(_copied, tensor, new_strides)


def _copied(tensor, new_strides):
    shape, wanted = _get_shape(tensor), new_strides or TensorBase.stride(tensor)
    if 0 in wanted and any(stride == 0 and size > 1 for stride, size in zip(wanted, shape, strict=True)):
        return _values(tensor)
    if 0 in shape or not _has_array(tensor):
        empty = torch.empty_strided(shape, wanted, dtype=_get_dtype(tensor), device=_get_device(tensor))
        return TensorBase.copy_(empty, tensor)
    array = _array(tensor, _NUMPY[_get_dtype(tensor)])
    room = np.empty(1 + sum((size - 1) * stride for size, stride in zip(shape, wanted, strict=True)), array.dtype)
    copy = np.ndarray(array.shape, array.dtype, room, 0, [stride * array.itemsize for stride in wanted])
    copy[...] = array
    return torch.from_numpy(copy)


def same_values(a, b):
    """Whether two plain tensors have the same dtype, shape and values: 0.0 equals -0.0."""
    return dtype(a) == dtype(b) and shape(a) == shape(b) and _in_c(torch.equal, a, b)


def same_bits(a, b):
    """Whether two plain tensors are the same to the last bit: 0.0 differs from -0.0, and nan equals itself."""
    return _in_c(_same_bits, a, b)


def _same_bits(a, b):
    if _get_dtype(a) != _get_dtype(b) or _get_shape(a) != _get_shape(b):
        return False
    a, b = (each if _get_device(each).type == "cpu" else _values(each) for each in (a, b))
    kind = _BITS[TensorBase.element_size(a)]
    return bool((_array(a, kind) == _array(b, kind)).all())


def attributes(module):
    """The attributes of an nn.Module, its own dict."""
    return _attributes_of(module)


def children(module):
    """The modules in an nn.Module by name, each once."""
    return _each_once(attributes(module).get("_modules"), is_module, set())


def own_parameters(module):
    """The parameters that an nn.Module itself holds, by name, each once."""
    return _each_once(attributes(module).get("_parameters"), is_tensor, set())


def parameters(module):
    """The parameters of an nn.Module and of all modules in it: ``{full name: parameter}``, each once, in torch's order."""
    found, seen = {}, set()
    for name, part in modules(module).items():
        own = _each_once(attributes(part).get("_parameters"), is_tensor, seen)
        found |= {_path(name, key): parameter for key, parameter in own.items()}
    return found


def buffers(module):
    """The buffers of an nn.Module and of all modules in it: ``{full name: buffer}``."""
    return _tensors_under(module, "_buffers")


def state_names(module):
    """The names under which an nn.Module and all modules in it hold parameters, and buffers that are saved with them."""
    names = list(_tensors_under(module, "_parameters"))
    for path, part in modules(module).items():
        not_saved = attributes(part).get("_non_persistent_buffers_set") or ()
        own = attributes(part).get("_buffers") or {}
        names += [_path(path, key) for key, value in own.items() if is_tensor(value) and key not in not_saved]
    return names


def _tensors_under(module, held):
    """All tensors in the dict `held` of an nn.Module and of all modules in it, by full name."""
    return {
        _path(path, key): value
        for path, part in modules(module).items()
        for key, value in (attributes(part).get(held) or {}).items()
        if is_tensor(value)
    }


def modules(module):
    """An nn.Module, under the name "", and all modules in it by their full names, each once, in torch's order."""
    found, seen, waiting = {}, set(), [("", module)]
    while waiting:
        name, part = waiting.pop()
        if id(part) not in seen:
            seen.add(id(part))
            found[name] = part
            waiting += [(_path(name, key), each) for key, each in reversed(children(part).items())]
    return found


def _path(name, key):
    return f"{name}.{key}" if name else key


def _each_once(held, wanted, seen):
    found = {}
    for key, each in dict.items(held) if _is_subclass(dict, type(held)) else ():
        if wanted(each) and id(each) not in seen:
            seen.add(id(each))
            found[str(key)] = each
    return found
