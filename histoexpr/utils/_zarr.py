"""Zarr stores that anyone may have written."""

import json
import math

from ..exceptions import InputError
from ._apart import check_apart
from ._reading import check_decoded, read_json

_MOST_ITEM = 8  # bytes of a value
_OF_CHUNK = 2**10  # bytes that reading one takes, however small it is
_CODECS = ("codecs", "compressor", "filters")
_LAYOUT = ("shape", "chunks", "chunk_grid", "dtype", "data_type", *_CODECS)


def check_zarr(path, parts=("",), lazy=()):
    """Refuse a store whose arrays fill the memory, once another process has read its parts.

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
        If an array, or a chunk of one, would take too much, or reading it would run code or crash.
    OSError
        If it cannot be read otherwise.
    """
    files = [file for name in ("zarr.json", ".zarray", ".zmetadata") for file in path.rglob(name)]
    stated = {str(file): read_json(file) for file in files}
    for file in files:
        for name, copy in _copies(stated[str(file)]):
            place = file.parent / name / file.name.replace(".zmetadata", "")
            own = stated.get(str(place), {})
            if any(copy.get(key) != own.get(key) for key in _LAYOUT):
                raise InputError(f"{str(file)!r} tells of {name!r} otherwise than itself does.")
        whole = file.relative_to(path).parts[0] not in lazy
        _check_array(stated[str(file)], whole, f"an array of {str(file)!r}")
    check_apart(path, "zarr", parts)


def _copies(stated):
    """What the metadata of a group tell, once more, of what is in it; zarr believes these."""
    copies = (stated.get("consolidated_metadata") or stated).get("metadata", {})
    return [item for item in copies.items() if not item[0].endswith((".zattrs", ".zgroup"))]


def _check_array(stated, whole, what):
    grid = stated.get("chunk_grid", {}).get("configuration", {})
    shape, chunks = stated.get("shape"), stated.get("chunks", grid.get("chunk_shape"))
    if "pickle" in json.dumps([stated.get(key) for key in _CODECS]):
        raise InputError(f"{what} is packed by pickle: reading it would run what it says.")
    if not shape or not chunks:
        return
    shape, chunks = list(map(int, shape)), list(map(int, chunks))
    n_chunks = math.prod(-(-n // max(1, side)) for n, side in zip(shape, chunks))
    n_values = max(math.prod(chunks), math.prod(shape) if whole else 0)
    check_decoded(max(_MOST_ITEM * n_values, _OF_CHUNK * n_chunks), what)
