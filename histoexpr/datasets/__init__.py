"""Data sets as ``(SpotPatches, AnnData)``: synthetic cohorts and readers of public layouts."""

import importlib

_HOME = {
    "load_her2st": "_her2st",
    "make_spatial_expression": "_synthetic",
}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name in _HOME:
        value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(__all__))
