"""Estimators and the small objects they are made of: a class of the list, and its state."""

import dataclasses
import inspect

import sklearn
from sklearn.base import BaseEstimator
from sklearn.neighbors import BallTree, KDTree
from torch.nn import Module

from ..exceptions import InputError, InputTypeError
from ..retrieval import SpotRetriever
from ..retrieval._index import NAMES
from ._checks import LOCAL, check
from ._classes import is_closed, listed_name, own_name
from ._kinds import Kind, checked, fields

_TREES = {"kd_tree": KDTree, "ball_tree": BallTree}
_ABSENT = object()
_PLAIN = {type(None), bool, int, float, str}


def class_name(cls):
    """The name that a class has in a file; TypeError for one that cannot be in it."""
    name = listed_name(cls)
    if name is not None:
        return name
    own = issubclass(cls, (BaseEstimator, Module)) or dataclasses.is_dataclass(cls)
    if own and not is_closed(cls):
        return own_name(cls)  # whoever loads it says that it is trusted
    raise InputTypeError(
        f"a {own_name(cls)} cannot be written: a model file holds data of the classes it knows, "
        "and no code. Objects that compute in C, such as forests, and functions of your own go "
        "through joblib (a path that ends in .joblib), for people who trust each other"
    )


def refuse_taken(cls, state, taken=()):
    """Refuse attributes that would stand before the methods of a class, or are its own affair."""
    for name in state:
        if not name.isidentifier() or name.startswith("__") or name in taken:
            raise InputError(f"{name[:100]!r} is no attribute of {cls.__name__}")
        usual = inspect.getattr_static(cls, name, _ABSENT)
        # A plain public value may be the class's for all, and an object's own; nothing else.
        if usual is not _ABSENT and (name.startswith("_") or type(usual) not in _PLAIN):
            raise InputError(f"{cls.__name__}.{name} is the class's own, and not to be replaced")


def _write_object(thing, to):
    name = class_name(type(thing))
    return {"class": name, "state": {k: to(v, f".{k}") for k, v in _state(thing).items()}}


def _state(thing):
    # object has a __getstate__ from Python 3.11 on, which says no more than vars.
    own = getattr(type(thing), "__getstate__", None)
    if own is None or own is getattr(object, "__getstate__", None):
        return dict(vars(thing))
    state = own(thing)
    if not isinstance(state, dict):
        raise InputTypeError(f"its __getstate__ gives a {type(state).__name__}, not a dict")
    state = dict(state)
    state.pop("_sklearn_version", None)  # the manifest has all versions
    if state.get("_fit_method") in _TREES:
        state["_tree"] = None  # compiled; built again from the vectors
    if is_closed(type(thing)):
        state |= {k: v for k, v in LOCAL.items() if state.get(k) is not None}
    return state


def _read_object(payload, of):
    name, state = fields(payload, "class", "state")
    cls = of.known.find(name)
    state = {key: of(value) for key, value in checked(state, dict).items()}
    refuse_taken(cls, state)
    if cls is SpotRetriever and not of.known.trusts(cls):
        state = _without_faiss(state)
    if dataclasses.is_dataclass(cls) and set(state) != {f.name for f in dataclasses.fields(cls)}:
        raise InputError(f"{sorted(state)} are not the fields of {cls.__name__}")
    if issubclass(cls, BaseEstimator) and cls.__module__.startswith("sklearn."):
        state["_sklearn_version"] = sklearn.__version__  # `load` warns once, for the whole file
    thing = cls.__new__(cls)
    if hasattr(thing, "__setstate__"):
        thing.__setstate__(state)
    else:
        vars(thing).update(state)
    try:
        check(thing)
    except ValueError as error:
        raise InputError(f"{cls.__name__}: {error}") from error
    if state.get("_fit_method") in _TREES:
        thing._tree = _TREES[thing._fit_method](
            thing._fit_X,
            thing.leaf_size,
            metric=checked(thing.effective_metric_, str),
            **thing.effective_metric_params_,
        )
    return thing


def _without_faiss(state):
    """The state of a SpotRetriever without what FAISS, which is compiled, would have to believe.

    Without the index itself, one is built of the vectors when it is first needed.
    """
    if state.get("index") not in (None, *NAMES):
        raise InputError(
            f"index={state['index']!r} is an order to FAISS itself. If you trust whoever wrote the "
            "file, pass load(path, trusted=[histoexpr.SpotRetriever])"
        )
    return {key: value for key, value in state.items() if not f"{key}_".startswith("_index_")}


OBJECT_KIND = Kind("object", lambda value: True, _write_object, _read_object)
