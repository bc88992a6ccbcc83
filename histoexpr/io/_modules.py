"""Torch tensors and modules in a model file.

A module is its class, its plain attributes, its parameters and buffers and the modules inside it.
It is put together again without its constructor, and draws no random numbers.
"""

import torch

from ..exceptions import InputError, InputTypeError
from ._kinds import Kind, checked, exactly, fields
from ._objects import class_name, refuse_taken

_AS_ARRAYS = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
_AS_BYTES = ("bfloat16",)  # which NumPy does not know
_DTYPES = {getattr(torch, name): name for name in _AS_ARRAYS + _AS_BYTES}
_BY_NAME = {name: dtype for dtype, name in _DTYPES.items()}
_BOOKKEEPING = set(vars(torch.nn.Module()))


def _write_tensor(tensor, to):
    if tensor.dtype not in _DTYPES or tensor.layout is not torch.strided or tensor.is_meta:
        raise InputTypeError(f"a tensor of {tensor.dtype}, {tensor.layout} cannot be written")
    dense, name = tensor.detach().cpu().contiguous(), _DTYPES[tensor.dtype]
    dense = dense.reshape(-1).view(torch.uint8) if name in _AS_BYTES else dense
    return {"name": to.array(dense.numpy()), "dtype": name, "shape": list(tensor.shape)}


def _read_tensor(payload, of):
    name, dtype, shape = fields(payload, "name", "dtype", "shape")
    # A copy lies where torch puts its tensors: where it lies, too, decides the order of sums.
    tensor = torch.from_numpy(of.array(name)).clone()
    if dtype in _AS_BYTES and tensor.dtype == torch.uint8:
        tensor = tensor.view(_BY_NAME[dtype]).reshape(shape)
    if _DTYPES[tensor.dtype] != dtype or list(tensor.shape) != checked(shape, list):
        raise InputError(
            f"tensor {name!r} was to be {dtype} of shape {tuple(shape)}; it is {tensor.dtype} of "
            f"shape {tuple(tensor.shape)}"
        )
    return tensor


def _write_parameter(parameter, to):
    return {**_write_tensor(parameter, to), "learns": parameter.requires_grad}


def _read_parameter(payload, of):
    tensor = {name: value for name, value in payload.items() if name != "learns"}
    return torch.nn.Parameter(_read_tensor(tensor, of), checked(payload["learns"], bool))


def _write_module(module, to):
    state = dict(vars(module))
    hooks = [name for name in _BOOKKEEPING & set(state) if "hook" in name and state[name]]
    if hooks:
        raise InputTypeError(f"its hooks ({', '.join(hooks)}) are code, which is not written")
    transient = state["_non_persistent_buffers_set"]
    return {
        "class": class_name(type(module)),
        "training": module.training,
        "attributes": {k: to(v, f".{k}") for k, v in state.items() if k not in _BOOKKEEPING},
        "parameters": {k: to(v, f".{k}") for k, v in module._parameters.items()},
        "buffers": {k: to(v, f".{k}") for k, v in module._buffers.items() if k not in transient},
        "transient": {k: to(v, f".{k}") for k, v in module._buffers.items() if k in transient},
        "modules": {k: to(v, f".{k}") for k, v in module._modules.items()},
    }


def _read_module(payload, of):
    name, training, *parts = fields(
        payload, "class", "training", "attributes", "parameters", "buffers", "transient", "modules"
    )
    cls = of.known.find(name)
    if not issubclass(cls, torch.nn.Module):
        raise InputError(f"{name} is no module")
    parts = [{k: of(v) for k, v in checked(part, dict).items()} for part in parts]
    attributes, parameters, buffers, transient, modules = parts
    module = cls.__new__(cls)
    torch.nn.Module.__init__(module)
    refuse_taken(cls, attributes, _BOOKKEEPING)
    vars(module).update(attributes)
    for add, values in (
        (module.register_parameter, parameters),
        (module.register_buffer, buffers),
        (lambda k, v: module.register_buffer(k, v, persistent=False), transient),
        (module.add_module, modules),
    ):
        for k, v in values.items():  # each refuses what is of another type, or a name in use
            add(k, v)
    module.training = checked(training, bool)
    return module


def _read_dtype(payload, of):
    return _BY_NAME[payload]


TORCH_KINDS = [
    Kind("parameter", exactly(torch.nn.Parameter), _write_parameter, _read_parameter),
    Kind("tensor", exactly(torch.Tensor), _write_tensor, _read_tensor),
    Kind("module", lambda v: isinstance(v, torch.nn.Module), _write_module, _read_module),
    Kind("device", exactly(torch.device), lambda v, to: str(v),
         lambda p, of: torch.device(checked(p, str))),
    Kind("torch_dtype", lambda v: type(v) is torch.dtype and v in _DTYPES,
         lambda v, to: _DTYPES[v], _read_dtype),
]  # fmt: skip
