"""Read all of a file and exit: a script that `_apart.check_apart` runs in a process of its own.

What native code does with a damaged or hostile file, it does here. Imports nothing of this package.
Its argument is JSON: the file, the reader's name, parts of the file, where modules are, most bytes.
"""

import contextlib
import itertools
import json
import math
import re
import sys
from pathlib import Path

REFUSED, TOO_LARGE = 3, 4  # exit codes; others are Python's own

_BLOCK = 2**26  # bytes that are read at once
_SPARE = 2**28  # bytes that reading takes beside what is read
_TWICE = 2  # a chunk is there as unpacked, and in its array
_OF_CHUNK = 2**10  # bytes that stand for the time that reading a chunk takes, however small it is


def main():
    asked = json.loads(sys.argv[1])
    sys.path[:] = asked["modules"]
    read = {"hdf5": _hdf5, "zarr": _zarr}[asked["reader"]]
    parts_of_bytes = read(asked["path"], asked["parts"], asked["lazy"])
    next(parts_of_bytes)  # has imported what it needs
    _bound_memory(_TWICE * asked["most_bytes"] + _SPARE)
    try:
        if any(taken > asked["most_bytes"] for taken in itertools.accumulate(parts_of_bytes)):
            return TOO_LARGE
    except MemoryError:
        return TOO_LARGE
    except Exception as error:  # HDF5, zarr and its codecs each have their own
        sys.stderr.write(str(error) or type(error).__name__)
        return TOO_LARGE if "memory allocation failed" in str(error) else REFUSED
    return 0


def _bound_memory(n_bytes):
    """Have allocations fail that go beyond what is taken now by so many bytes (Linux)."""
    with contextlib.suppress(ImportError, FileNotFoundError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + n_bytes
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        if soft == resource.RLIM_INFINITY or most < soft:
            resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _hdf5(path, parts, lazy):
    """Bytes that the data of an HDF5 file take, part by part; a first 0 before it is opened."""
    import h5py
    import numpy as np

    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401 - brings filters; anndata's files may need them
    yield 0
    with h5py.File(path, "r") as file:
        items = [file]
        file.visititems(lambda _, item: items.append(item))
        arrays = [item for item in items if isinstance(item, h5py.Dataset) and _is_here(item)]
        yield sum(_declared(array, array.chunks or array.shape, 0) for array in arrays)
        for item in items:
            yield from map(_bytes_of_strings, map(np.asarray, item.attrs.values()))
        for array in arrays:
            yield from map(_bytes_of_strings, _blocks(array, array.chunks or (1,) * array.ndim))


def _is_here(dataset):
    """Whether it has data in this file, and what unpacks them: the caller may have more."""
    import h5py

    if dataset.shape is None or dataset.external or dataset.is_virtual:
        return False
    creation = dataset.id.get_create_plist()
    filters = [creation.get_filter(i)[0] for i in range(creation.get_nfilters())]
    return all(map(h5py.h5z.filter_avail, filters))


def _zarr(path, parts, lazy):
    """Bytes that the arrays in parts of a zarr store take; a first 0 before it is opened."""
    import zarr

    yield 0
    for file in (found for part in parts for found in Path(path, part).rglob("*")):
        if _tells_of_array(file):
            array = zarr.open_array(str(file.parent), mode="r")
            by_chunk = file.relative_to(path).parts[0] in lazy
            strings = array.dtype.kind in "OT"  # each value that is not there is this one
            of_value = len(str(array.fill_value)) if strings else 0
            declared = _declared(array, array.chunks, of_value, by_chunk)
            yield declared
            stored = _stored(file.parent, array.ndim)
            blocks = _blocks(array, getattr(array, "shards", None) or array.chunks, stored)
            yield from map(_bytes_of_strings, blocks)
            yield -declared if by_chunk else 0  # given back when the next one is read


def _declared(array, chunks, of_value, by_chunk=False):
    """Bytes that an array says it takes, or a chunk of it; not less than its chunks stand for.

    `of_value` are those that a value takes beside its place in the array.
    """
    n_chunks = math.prod(-(-n // max(1, side)) for n, side in zip(array.shape, chunks))
    n_values = math.prod(chunks if by_chunk else array.shape)
    return max((array.dtype.itemsize + of_value) * n_values, _OF_CHUNK * n_chunks)


def _tells_of_array(file):
    if file.name == "zarr.json":
        return json.loads(file.read_bytes()).get("node_type") == "array"
    return file.name == ".zarray"


def _stored(folder, n_axes):
    """The chunks of an array of zarr that are there, of the many that it may say it has."""
    for file in folder.rglob("*"):
        key = re.findall(r"\d+", str(file.relative_to(folder)))
        if len(key) == n_axes and file.is_file():
            yield tuple(map(int, key))


def _blocks(array, chunks, stored=None):
    """An array in blocks of whole chunks; of some chunks, the blocks where they are."""
    import numpy as np

    sides = list(chunks)
    for axis in reversed(range(len(sides))):
        row = max(1, math.prod(sides) * array.dtype.itemsize)
        sides[axis] *= max(1, min(_BLOCK // row, -(-array.shape[axis] // max(1, sides[axis]))))
    counts = [-(-n // side) for n, side in zip(array.shape, sides)]
    blocks = itertools.product(*map(range, counts))
    if stored is not None:
        blocks = {tuple(i * c // s for i, c, s in zip(key, chunks, sides)) for key in stored}
    for block in blocks:
        where = tuple(slice(i * side, (i + 1) * side) for i, side in zip(block, sides))
        yield np.asarray(array[where])


def _bytes_of_strings(values):
    """What the values take that are no numbers of a fixed size."""
    import numpy as np

    if values.dtype.names:
        return sum(_bytes_of_strings(values[name]) for name in values.dtype.names)
    if values.dtype.kind == "T":  # numpy's strings of any length
        return int(np.strings.str_len(values).sum())
    if values.dtype != object:
        return 0
    sized = (value for value in values.flat if hasattr(value, "__len__"))
    return sum(getattr(value, "nbytes", None) or sys.getsizeof(value) for value in sized)


if __name__ == "__main__":
    sys.exit(main())
