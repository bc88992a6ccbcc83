"""HDF5 files that anyone may have written."""

import contextlib
import mmap
import os
import struct

from ..exceptions import InputError
from ._apart import check_apart
from ._reading import check_decoded

_HEAP = b"GCOL\x01\0\0\0"  # a collection of the global heap: strings of variable length
_OBJECT = struct.Struct("<HH4xQ")  # number, references, size


@contextlib.contextmanager
def opened_h5(path):
    """An h5py.File to read from, once it is checked and another process has read it.

    Raises
    ------
    ValueError
        If its arrays would take too much memory together, lie in other files or under several
        names, or if HDF5 would crash, or never come back, from reading it.
    """
    import h5py

    _check_heaps(path)
    check_apart(path, "hdf5")
    with h5py.File(path, "r") as file:
        n_bytes = 0

        def look(name, item):
            nonlocal n_bytes
            if not isinstance(item, h5py.Datatype) and h5py.h5o.get_info(item.id).rc > 1:
                # What reads the file takes it anew under each, without end where they are nested.
                raise InputError(f"{str(path)!r} has {name!r} under several names.")
            if isinstance(item, h5py.Dataset):
                n_bytes += (item.size or 0) * item.dtype.itemsize
                if item.external or item.is_virtual:
                    raise InputError(f"{str(path)!r} takes {name!r} from another file.")
            elif isinstance(item, h5py.Group):
                links = {key: item.get(key, getlink=True) for key in item}
                elsewhere = [key for key in links if not isinstance(links[key], h5py.HardLink)]
                if elsewhere:
                    raise InputError(f"{str(path)!r} takes {elsewhere[0]!r} from another place.")

        look("/", file)
        file.visititems(look)
        check_decoded(n_bytes, f"what {str(path)!r} holds")
        yield file


def _check_heaps(path):
    """Refuse a heap with an object that has no end, as in a file with blocks of zeros.

    HDF5 goes from one object to the next by their sizes, so that it stays at one of size 0.
    """
    if os.path.getsize(path) == 0:
        return
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = -1
        while (start := data.find(_HEAP, start + 1)) >= 0:
            place = start + 16
            end = start + int.from_bytes(data[start + 8 : place], "little")
            while place + _OBJECT.size <= min(end, len(data)):
                number, _, size = _OBJECT.unpack_from(data, place)
                # Of free space the size is that of all, else of what follows, to whole words.
                length = size if number == 0 else _OBJECT.size + -(-size // 8) * 8
                if length < _OBJECT.size or place + length > end:
                    raise InputError(
                        f"{str(path)!r} is damaged: a part of it was never written, or written "
                        "over. Copy or download it again."
                    )
                place += length
