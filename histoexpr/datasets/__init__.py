"""Data sets as ``(SpotPatches, AnnData)``: synthetic cohorts and readers of public layouts."""

import importlib

_HOME = {
    "from_anndata": "_anndata",
    "from_spatialdata": "_spatialdata",
    "join_sections": "_join",
    "load_cscc": "_cscc",
    "load_her2st": "_her2st",
    "load_hest": "_hest",
    "load_patches": "_patch_folder",
    "load_sheet": "_sheet",
    "load_visium": "_visium",
    "load_visium_hd": "_visium_hd",
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
