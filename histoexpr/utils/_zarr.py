"""Zarr stores that anyone may have written."""

import json
from pathlib import Path

from ..exceptions import InputError
from ._apart import check_apart
from ._reading import read_json

_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")


def check_zarr(path, parts=("",), lazy=()):
    """Refuse a store that would fill the memory, run code, or crash its reader.

    Another process reads it, to see. It goes by the metadata that stand beside the data; zarr
    may go by copies of them, which therefore have to be the same.

    Parameters
    ----------
    path : Path
        The folder of the store.
    parts : sequence of str, default=("",)
        Groups and arrays that will be read; "" is all.
    lazy : sequence of str, default=()
        Groups whose arrays are read chunk by chunk.

    Raises
    ------
    ValueError
        If it is such a store.
    OSError
        If it cannot be read otherwise.
    """
    told = {}
    for file in path.rglob("*"):
        if file.is_symlink():
            raise InputError(
                f"{str(file)!r} is a link; a store has to hold all that is read of it. Put what it "
                "points to in its place."
            )
        if file.name in _METADATA:
            told[str(file)] = read_json(file)
            if "pickle" in _layout(told[str(file)]):
                raise InputError(f"{str(file)!r} tells of a pickle: reading it would run it.")
    for file in map(Path, told):
        _check_metadata(file, told)
    check_apart(path, "zarr", parts, lazy)


def _check_metadata(file, told):
    """Refuse what zarr could read in more than one way."""
    if file.name == "zarr.json" and {str(file.with_name(n)) for n in _METADATA[1:]} & set(told):
        raise InputError(f"{str(file.parent)!r} has metadata of two formats of zarr; remove one.")
    for name, copy in _copies(told[str(file)]):
        place = file.parent / name / file.name.replace(".zmetadata", "")
        if _layout(copy) != _layout(told.get(str(place), {})):
            raise InputError(
                f"{str(file)!r} tells of {name!r} otherwise than itself does. Write it anew "
                "(zarr.consolidate_metadata), or remove the copy."
            )


def _copies(told, within=""):
    """What metadata of a group tell, once more, of all that is in it: (name, metadata)."""
    for holder in (told, told.get("consolidated_metadata") or {}):
        for name, copy in (holder.get("metadata") or {}).items():
            if not name.endswith(".zattrs"):
                yield within + name, copy
                yield from _copies(copy, f"{within}{name}/")


def _layout(told):
    """All but what users write, as text: NaN equals nothing."""
    ours = {k: v for k, v in told.items() if k not in ("attributes", "consolidated_metadata")}
    ours.pop("metadata", None)
    return json.dumps(ours, sort_keys=True)
