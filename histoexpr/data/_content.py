"""Keys of what patches show, told without reading them where they are cut from an image."""

import numpy as np
from joblib import hash as hash_object

from ._hashing import DIGEST_BYTES, digest, hash_each
from ._images import SectionImage
from ._patches import SpotPatches

_MOST_BYTES = 2**23  # that takes some milliseconds
_OWN = __name__.partition(".")[0]


def is_told_by_reading(images):
    """Whether only the pixels tell what patches show: functions of `map` may do anything.

    Parameters
    ----------
    images : SpotPatches or ndarray of shape (n_spots, height, width, 3)

    Returns
    -------
    bool
    """
    return any(_name(function) is None for function in getattr(images, "_maps", ()))


def content_keys(images, most_bytes=_MOST_BYTES):
    """A key of what each patch shows: of equal ones, all pixels are equal.

    Parameters
    ----------
    images : SpotPatches or ndarray of shape (n_spots, height, width, 3), dtype uint8
        Not one that `is_told_by_reading`.
    most_bytes : int
        How much of an image may be read for each of its spots.

    Returns
    -------
    list of bytes, 16 each, or None
        Of a patch that is cut from an image: by the content of the image and the square, so that
        nothing is cut; of one that was given: by its pixels. They do not depend on what else is
        in `images`. None where an image cannot be told from others, or not for the price.
    """
    if not isinstance(images, SpotPatches):
        images = SpotPatches.from_arrays(images)
    columns = _sources(images, most_bytes)
    if columns is None:
        return None
    if images.is_mapped:  # a function may look at all that is known of a spot
        known = (images.crop_px, images.spatial, images.positions, images.section)
        columns += [_as_bytes(v) for v in (*known, images.patient, images.mpp) if v is not None]
    names = [_name(function) for function in images._maps]
    common = digest(repr((tuple(images.shape[1:]), names)).encode())
    table = np.ascontiguousarray(np.concatenate(columns, axis=1))
    data, width = table.tobytes(), table.shape[1]
    return [digest(common + data[i : i + width]) for i in range(0, len(data), width)]


def _sources(images, most_bytes):
    """What each patch is cut from, and where: arrays of (n_spots, ...) bytes; or None."""
    content = np.zeros((len(images), DIGEST_BYTES), np.uint8)
    square = np.zeros((len(images), 27), np.uint8)
    for index in np.unique(images._source):
        mine = np.flatnonzero(images._source == index)
        source = images._sources[index]
        if not isinstance(source, SectionImage):
            content[mine] = hash_each(source, images._row[mine])
            continue
        key = source.content_key(most_bytes * len(mine))
        if key is None:
            return None
        content[mine] = np.frombuffer(digest(key.encode()), np.uint8)
        place = images.spatial[mine], images.crop_px[mine], images._fill[mine]
        square[mine] = np.concatenate([_as_bytes(values) for values in place], axis=1)
    return [content, square]


def _as_bytes(values):
    """An array of (n, ...) as (n, n_bytes) uint8; of words, their hashes."""
    if values.dtype.kind not in "fiu":
        words, word = np.unique(values.astype(str), return_inverse=True)
        hashes = b"".join(digest(each.encode()) for each in words.tolist())
        return np.frombuffer(hashes, np.uint8).reshape(-1, DIGEST_BYTES)[word]
    return np.ascontiguousarray(values).reshape(len(values), -1).view(np.uint8)


def _name(function):
    """What tells a function of `map` from others; None for one that is not ours.

    Ours are objects whose state is all that they depend on. Of another's function neither the
    name nor the code tells what it reads.
    """
    kind = type(function)
    if kind.__module__.partition(".")[0] != _OWN:
        return None
    return f"{kind.__module__}.{kind.__qualname__} {hash_object(function, hash_name='sha1')}"
