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


def main():
    asked = json.loads(sys.argv[1])
    sys.path[:] = asked["modules"]
    read, most = {"hdf5": _hdf5, "zarr": _zarr}[asked["reader"]], asked["most_bytes"]
    blocks = read(asked["path"], asked["parts"], most)
    next(blocks)  # has imported what it needs
    _bound_memory(_TWICE * most + _SPARE)
    try:
        _check(sum(map(_bytes_of_strings, blocks)), most)
    except MemoryError:
        return TOO_LARGE
    except Exception as error:  # HDF5, zarr and its codecs each have their own
        sys.stderr.write(str(error) or type(error).__name__)
        return REFUSED
    return 0


def _check(n_bytes, most):
    if n_bytes > most:
        raise MemoryError


def _bound_memory(n_bytes):
    """Have allocations fail that go beyond what is taken now by so many bytes (Linux)."""
    with contextlib.suppress(ImportError, FileNotFoundError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + n_bytes
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _hdf5(path, parts, most):
    """Arrays that are all attributes and data of an HDF5 file, after a first None."""
    import h5py
    import numpy as np

    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401 - brings filters; anndata's files may need them
    yield
    with h5py.File(path, "r") as file:
        items = [file]
        file.visititems(lambda _, item: items.append(item))
        arrays = [item for item in items if isinstance(item, h5py.Dataset) and _is_here(item)]
        _check(sum(array.size * array.dtype.itemsize for array in arrays), most)
        for item in items:
            yield from map(np.asarray, item.attrs.values())
        for array in arrays:
            yield from _blocks(array, array.chunks or (1,) * array.ndim)


def _is_here(dataset):
    """Whether it has data in this file, and what unpacks them: the caller may have more."""
    import h5py

    if dataset.shape is None or dataset.external or dataset.is_virtual:
        return False
    creation = dataset.id.get_create_plist()
    filters = [creation.get_filter(i)[0] for i in range(creation.get_nfilters())]
    return all(map(h5py.h5z.filter_avail, filters))


def _zarr(path, parts, most):
    """Arrays that are all data of parts of a zarr store, after a first None."""
    import zarr

    yield
    for file in (found for part in parts for found in Path(path, part).rglob("*")):
        if _tells_of_array(file):
            array = zarr.open_array(str(file.parent), mode="r")
            chunks = getattr(array, "shards", None) or array.chunks
            yield from _blocks(array, chunks, _stored(file.parent, array.ndim))


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
    return sum(getattr(value, "nbytes", None) or len(value) for value in sized)


if __name__ == "__main__":
    sys.exit(main())
