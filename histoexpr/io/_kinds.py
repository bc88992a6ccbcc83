"""What plain values, arrays and tables become in a model file, and how they are read back.

Each kind is a pair of functions. ``write(value, to)`` gives what JSON holds of the value, where
``to(part, step)`` writes a part of it and ``to.array(array)`` an array; ``read(payload, of)``
undoes that with ``of(part)`` and ``of.array(name)``. What is read may come from anyone: a read
function checks what it gets, or passes it on to what does, and an exception of any type means
"not what it has to be".
"""

import base64
import math
import re
from collections import OrderedDict
from pathlib import Path, PurePath
from types import FunctionType
from typing import Any, Callable, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse

from ..exceptions import InputError
from ._classes import find_function, listed_name


class Kind(NamedTuple):
    """A kind of value: its name in the file, who is of it, and the two ways."""

    name: str
    matches: Callable[[Any], bool]
    write: Callable
    read: Callable


def exactly(*types):
    """Of one of these types, and of no subclass, which could carry more than is written."""
    return lambda value: type(value) in types


def checked(payload, kind):
    """The payload, if it is of that type."""
    if type(payload) is not kind:
        raise InputError(f"a {kind.__name__} is expected, not a {type(payload).__name__}")
    return payload


def fields(payload, *names):
    """The values of a dict that has exactly these names."""
    if set(checked(payload, dict)) != set(names):
        raise InputError(f"{sorted(names)} are expected, not {sorted(payload)}")
    return [payload[name] for name in names]


def whole(value, low, high):
    """A whole number between two others."""
    if type(value) is not int or not low <= value <= high:
        raise InputError(f"a whole number from {low} to {high} is expected, not {value!r}")
    return value


# Containers


def _write_items(values, to):
    return [to(value, f"[{i}]") for i, value in enumerate(values)]


def _read_items(payload, of):
    return [of(item) for item in checked(payload, list)]


def _write_set(values, to):
    in_order = sorted(values, key=lambda value: (type(value).__name__, repr(value)))
    return _write_items(in_order, to)


def _write_dict(values, to):
    return [[to(key, ".key"), to(value, f"[{key!r}]")] for key, value in values.items()]


def _read_dict(payload, of):
    pairs = [(of(key), of(value)) for key, value in checked(payload, list)]
    if len(dict(pairs)) != len(pairs):
        raise InputError("a key stands there twice")
    return dict(pairs)


# Values that JSON does not know


_FLOATS = {repr(value): value for value in (math.nan, math.inf, -math.inf)}


_NAMED = {name: getattr(np, name) for name in "float64 float32 float16 int64 int32 uint8".split()}
_NAMED |= {"float": float, "int": int, "bool": bool, "str": str}
_NAMES = {value: name for name, value in _NAMED.items()}


def _read_slice(payload, of):
    return slice(*(of(part) for part in fields(payload, "start", "stop", "step")))


def _write_slice(value, to):
    return {name: to(getattr(value, name)) for name in ("start", "stop", "step")}


def _write_random_state(value, to):
    state = value.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        raise InputError(f"only MT19937 can be written, not {state['bit_generator']}")
    position, gauss = int(state["state"]["pos"]), [int(state["has_gauss"]), float(state["gauss"])]
    return {"key": to(state["state"]["key"], ".key"), "position": position, "gauss": gauss}


def _read_random_state(payload, of):
    key, position, (has_gauss, gauss) = fields(payload, "key", "position", "gauss")
    key = of(key)
    if key.shape != (624,) or key.dtype != np.uint32:
        raise InputError("624 numbers of uint32 are expected")
    # NumPy believes the position: one beyond the numbers would read what lies behind them.
    state = {"key": key, "pos": whole(position, 0, 624)}
    random_state = np.random.RandomState(0)
    random_state.set_state(
        {
            "bit_generator": "MT19937",
            "state": state,
            "has_gauss": whole(has_gauss, 0, 1),
            "gauss": checked(gauss, float),
        }
    )
    return random_state


# Arrays

_STORED = set("|b1 |u1 |i1 <u2 <i2 <f2 <u4 <i4 <f4 <u8 <i8 <f8".split())  # by safetensors
_OTHER = re.compile(r"[<>](c8|c16|f[248]|[iu][248]|[mM]8(\[\w{1,10}\])?)")


def _is_numeric(value):
    if type(value) not in (np.ndarray, np.memmap):
        return False
    return value.dtype.str in _STORED or _OTHER.fullmatch(value.dtype.str) is not None


def _write_array(array, to):
    array = np.asarray(array)
    # BLAS may add in another order when rows lie otherwise in memory, so that is kept, too.
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    stored = np.asarray(array.T if order == "F" else array, order="C")
    if array.dtype.str not in _STORED:
        stored = stored.reshape(-1).view(np.uint8)
    shape = list(array.shape)
    return {"name": to.array(stored), "dtype": array.dtype.str, "shape": shape, "order": order}


def _read_array(payload, of):
    name, dtype, shape, order = fields(payload, "name", "dtype", "shape", "order")
    shape = [whole(side, 0, 2**62) for side in checked(shape, list)]
    if dtype not in _STORED and not _OTHER.fullmatch(dtype):
        raise InputError(f"{dtype!r} is no type of numbers")
    dtype, stored = np.dtype(dtype), of.array(name)
    if dtype.str not in _STORED and stored.dtype == np.uint8 and stored.ndim == 1:
        stored = stored.view(dtype).reshape(shape[::-1] if order == "F" else shape)
    array = {"C": stored, "F": stored.T}[order]
    if array.dtype != dtype or list(array.shape) != shape:
        raise InputError(
            f"array {name!r} was to be {dtype} of shape {tuple(shape)}; it is {array.dtype} of "
            f"shape {array.shape}"
        )
    return array


def _write_strings(array, to):
    return {"shape": list(array.shape), "values": array.ravel().tolist()}


def _read_strings(payload, of):
    shape, values = fields(payload, "shape", "values")
    if not all(type(value) is str for value in checked(values, list)):
        raise InputError("strings are expected")
    if 4 * len(values) * max(map(len, values), default=0) > of.max_bytes:
        raise InputError("strings of such different lengths would fill the memory")
    return np.array(values, dtype=str).reshape(_shape_of(shape, len(values)))


def _write_objects(array, to):
    return {"shape": list(array.shape), "values": _write_items(array.ravel(), to)}


def _read_objects(payload, of):
    shape, values = fields(payload, "shape", "values")
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(_read_items(values, of)):
        array[i] = value
    return array.reshape(_shape_of(shape, len(values)))


def _shape_of(shape, n_values):
    shape = [whole(side, 0, 2**62) for side in checked(shape, list)]
    if math.prod(shape) != n_values:
        raise InputError(f"{n_values} values do not fill the shape {tuple(shape)}")
    return shape


# Sparse matrices

_PARTS = {
    "csr": ("data", "indices", "indptr"),
    "csc": ("data", "indices", "indptr"),
    "coo": ("data", "row", "col"),
}


def _is_sparse(value):
    return scipy.sparse.issparse(value) and value.format in _PARTS and value.ndim == 2


def _write_sparse(matrix, to):
    parts = [to(getattr(matrix, name), f".{name}") for name in _PARTS[matrix.format]]
    kind = "array" if isinstance(matrix, scipy.sparse.sparray) else "matrix"
    return {"format": [matrix.format, kind], "shape": list(matrix.shape), "parts": parts}


def _read_sparse(payload, of):
    (layout, kind), shape, parts = fields(payload, "format", "shape", "parts")
    shape = tuple(whole(side, 0, 2**62) for side in shape)
    data, *places = (np.array(of(part)) for part in parts)
    if layout not in _PARTS or any(p.dtype not in (np.int32, np.int64) for p in places):
        raise InputError("it has another layout than csr, csc and coo have")
    if data.dtype.kind not in "biufc":
        raise InputError("its values are no numbers")
    given = (data, *places) if layout != "coo" else (data, tuple(places))
    matrix = getattr(scipy.sparse, f"{layout}_{checked(kind, str)}")(given, shape=shape)
    if layout != "coo":  # which checks by itself that places lie inside
        matrix.check_format(full_check=True)
    return matrix


# Tables

_PANDAS_STRINGS = ("str", "string")


def _write_column(values, to):
    """Of a Series or Index: its values as an array, and the dtype that they have in pandas."""
    dtype = str(values.dtype)
    if dtype not in _PANDAS_STRINGS and not isinstance(values.dtype, np.dtype):
        raise InputError(f"a column of dtype {dtype} cannot be written")
    if dtype in _PANDAS_STRINGS:
        missing = np.asarray(values.isna())
        values = values.astype(object).where(~missing, None)  # NaN and NA are objects of their own
    return {"values": to(values.to_numpy(), ".values"), "dtype": dtype}


def _read_column(payload, of):
    values, dtype = fields(payload, "values", "dtype")
    values = of(values)
    if values.ndim != 1 or dtype not in (str(values.dtype), *_PANDAS_STRINGS):
        raise InputError(f"a column of dtype {dtype!r} is expected")
    return values, dtype


def _write_index(index, to):
    if type(index) is pd.RangeIndex:
        return {"range": [index.start, index.stop, index.step], "name": to(index.name)}
    return {"column": _write_column(index, to), "name": to(index.name)}


def _read_index(payload, of):
    if "range" in checked(payload, dict):
        limits, name = fields(payload, "range", "name")
        return pd.RangeIndex(*(whole(limit, -(2**62), 2**62) for limit in limits), name=of(name))
    column, name = fields(payload, "column", "name")
    values, dtype = _read_column(column, of)
    return pd.Index(values, dtype=dtype, name=of(name))


def _write_series(series, to):
    index, name = to(series.index, ".index"), to(series.name)
    return {"column": _write_column(series, to), "index": index, "name": name}


def _read_series(payload, of):
    column, index, name = fields(payload, "column", "index", "name")
    values, dtype = _read_column(column, of)
    return pd.Series(values, dtype=dtype, index=of(index), name=of(name))


def _write_frame(frame, to):
    columns = [_write_column(frame.iloc[:, i], to) for i in range(frame.shape[1])]
    return {
        "names": to(frame.columns, ".columns"),
        "index": to(frame.index, ".index"),
        "columns": columns,
    }


def _read_frame(payload, of):
    names, index, columns = fields(payload, "names", "index", "columns")
    names, index = of(names), of(index)
    parts = [pd.Series(*_read_column(column, of)[:1], index=index) for column in columns]
    frame = pd.concat(parts, axis=1) if parts else pd.DataFrame(index=index)
    return frame.set_axis(names, axis=1)


PLAIN_KINDS = [
    Kind("list", exactly(list), _write_items, _read_items),
    Kind("tuple", exactly(tuple), _write_items, lambda p, of: tuple(_read_items(p, of))),
    Kind("set", exactly(set), _write_set, lambda p, of: set(_read_items(p, of))),
    Kind("frozenset", exactly(frozenset), _write_set, lambda p, of: frozenset(_read_items(p, of))),
    Kind("dict", exactly(dict), _write_dict, _read_dict),
    Kind("ordered_dict", exactly(OrderedDict), _write_dict,
         lambda p, of: OrderedDict(_read_dict(p, of))),
    Kind("float", exactly(float), lambda value, to: repr(value),
         lambda p, of: _FLOATS[p]),
    Kind("bytes", exactly(bytes), lambda value, to: base64.b64encode(value).decode(),
         lambda p, of: base64.b64decode(p, validate=True)),
    Kind("slice", exactly(slice), _write_slice, _read_slice),
    Kind("path", lambda value: isinstance(value, PurePath), lambda value, to: str(value),
         lambda p, of: Path(checked(p, str))),
    Kind("type", lambda value: isinstance(value, type) and value in _NAMES,
         lambda value, to: _NAMES[value], lambda p, of: _NAMED[p]),
    Kind("function", lambda value: type(value) is FunctionType and listed_name(value),
         lambda value, to: listed_name(value), lambda p, of: find_function(p)),
    Kind("dtype", lambda value: isinstance(value, np.dtype) and value.kind in "biufcmM",
         lambda value, to: to(np.empty(0, value)), lambda p, of: of(p).dtype),
    Kind("scalar", lambda value: isinstance(value, np.generic),
         lambda value, to: to(np.asarray(value)), lambda p, of: of(p)[()]),
    Kind("random_state", exactly(np.random.RandomState), _write_random_state, _read_random_state),
    Kind("array", _is_numeric, _write_array, _read_array),
    Kind("strings", lambda value: type(value) is np.ndarray and value.dtype.kind == "U",
         _write_strings, _read_strings),
    Kind("objects", lambda value: type(value) is np.ndarray and value.dtype.kind == "O",
         _write_objects, _read_objects),
    Kind("sparse", _is_sparse, _write_sparse, _read_sparse),
    Kind("index", exactly(pd.Index, pd.RangeIndex), _write_index, _read_index),
    Kind("series", exactly(pd.Series), _write_series, _read_series),
    Kind("frame", exactly(pd.DataFrame), _write_frame, _read_frame),
]  # fmt: skip
