"""Section images: opened once per process, shared by all views, pickled without their pixels."""

import abc
import hashlib
import os
import threading
from collections import OrderedDict

import numpy as np
from PIL import Image

from ..exceptions import FileError, InputError, InputTypeError, MissingFileError
from ..utils._reading import gib_of
from ._decode import pil_to_rgb, read_image, to_rgb
from ._hashing import digest, hash_each, is_frozen

CACHE_LIMIT_VARIABLE = "HISTOEXPR_IMAGE_CACHE_GB"
_DEFAULT_CACHE_GB = 4.0
# Of slides that only OpenSlide opens; a TIFF may be either, and is decoded as a whole here.
SCANNER_SUFFIXES = {".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide"}


class SectionImage(abc.ABC):
    """The H&E image of one section.

    Attributes
    ----------
    size : tuple of int
        (width, height) in pixels.
    name : str
        What messages call it.
    mpp : float or None
        Micrometres per pixel where the image says so, as a slide does.
    nbytes : int
        Of the pixels that travel with it, when it is sent to another process.
    """

    mpp = None
    nbytes = 0

    def __init__(self, size, name):
        self.size = size
        self.name = name

    @abc.abstractmethod
    def pixels(self):
        """The image as a read-only ndarray of shape (height, width, 3), dtype uint8."""

    @abc.abstractmethod
    def same_as(self, other):
        """Whether both hold the same picture."""

    def content_key(self, most_bytes):
        """What tells the pixels from those of any other image, at any time.

        Parameters
        ----------
        most_bytes : int
            How much may be read for it, each time that it is asked for.

        Returns
        -------
        str or None
            None where it takes more, or cannot be told.

        Raises
        ------
        ValueError
            If the pixels are known to have changed since the image was opened.
        """
        return None

    def cut(self, centres, sizes, out_px, fills):
        """Cut squares around points, one after the other: see `cut_square`.

        Parameters
        ----------
        centres : ndarray of shape (n, 2), dtype float64
        sizes : ndarray of shape (n,), dtype int64
        out_px : int
        fills : ndarray of shape (n, 3), dtype uint8

        Yields
        ------
        ndarray of shape (out_px, out_px, 3), dtype uint8
        """
        pixels = self.pixels()
        for centre, size, fill in zip(centres, sizes.tolist(), fills):
            yield cut_square(pixels, centre, size, out_px, fill)

    def __repr__(self):
        return f"<{type(self).__name__} {self.name}, {self.size[0]} x {self.size[1]} px>"


class ArrayImage(SectionImage):
    """An image that is in memory already; the array is not copied when it is RGB."""

    _content = None

    def __init__(self, array):
        if array.ndim > 3:
            raise InputError(
                f"a section image has two or three dimensions; got an array of shape {array.shape}."
            )
        pixels = to_rgb(array, "the section image").view()
        pixels.flags.writeable = False
        super().__init__((pixels.shape[1], pixels.shape[0]), "array")
        self._pixels = pixels

    @property
    def nbytes(self):
        return self._pixels.nbytes

    def pixels(self):
        return self._pixels

    def same_as(self, other):
        if self is other:
            return True
        return isinstance(other, ArrayImage) and np.array_equal(self._pixels, other._pixels)

    def content_key(self, most_bytes):
        """A hash of the pixels; remembered where nobody can write to them any more."""
        if self._content is not None:
            return self._content
        frozen = is_frozen(self._pixels)
        if not frozen and self._pixels.nbytes > most_bytes:
            return None
        rows = hash_each(self._pixels, np.arange(len(self._pixels)))
        content = f"array {self._pixels.shape} {digest(rows).hex()}"
        if frozen:
            self._content = content
        return content

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._pixels.flags.writeable = False  # pickles forget it


class FileImage(SectionImage):
    """An image file: its header is read now, its pixels when they are first needed.

    The pickle carries the absolute path and the SHA-256 of the file, never the pixels; where it
    is loaded, a file with other content is refused.
    """

    def __init__(self, path):
        self.path = os.path.abspath(path)
        self._checksum = None
        with self._open() as file:
            self._stamp = _stamp(os.fstat(file.fileno()))
            super().__init__(read_image(file, self.path, header_only=True), self.path)

    @property
    def checksum(self):
        """SHA-256 of the file's bytes, in hexadecimal; computed when first asked for."""
        if self._checksum is None:
            with self._open() as file:
                self._verify(file)
        return self._checksum

    def pixels(self):
        with _cache.lock:
            pixels = _cache.get((self.path, self._checksum))
            if pixels is None:
                with self._open() as file:
                    self._verify(file)
                    key = (self.path, self._checksum)
                    pixels = _cache.get(key)
                    if pixels is None:
                        pixels = read_image(file, self.path)
                        pixels.flags.writeable = False
                        _cache.put(key, pixels)
            return pixels

    def same_as(self, other):
        if self is other:
            return True
        return isinstance(other, FileImage) and self.checksum == other.checksum

    def content_key(self, most_bytes):
        """The checksum, which is compared with the file again where that was written to."""
        try:
            stamp = _stamp(os.stat(self.path))
        except FileNotFoundError:
            return f"file {self.checksum}"  # where it is known: pixels may be in the cache
        if self._checksum is None or _verified.get((self.path, self._checksum)) != stamp:
            with self._open() as file:
                self._verify(file)
        return f"file {self._checksum}"

    def _open(self):
        try:
            return open(self.path, "rb")
        except FileNotFoundError as error:
            moved = (
                " A pickled SpotPatches carries the path of its images, not their pixels: put the "
                "file there, or build the SpotPatches anew."
            )
            raise MissingFileError(
                f"There is no section image at {self.path!r}.{moved if self._checksum else ''}"
            ) from error
        except OSError as error:
            raise FileError(f"{self.path!r} cannot be opened ({error.strerror}).") from error

    def _verify(self, file):
        """Compute the checksum, or compare it: the file must be the one that was constructed.

        Until it is known, size and modification time stand in for it.
        """
        stamp, sha = _stamp(os.fstat(file.fileno())), hashlib.sha256()
        while chunk := file.read(1 << 20):
            sha.update(chunk)
        file.seek(0)
        found = sha.hexdigest()
        if self._checksum is None:
            changed = self._stamp != stamp
        else:
            changed = self._checksum != found
        if changed:
            raise InputError(
                f"The section image {self.path!r} has changed since its SpotPatches was built. "
                "Put the old file back, or build the SpotPatches anew."
            )
        self._checksum = found
        _verified[self.path, found] = stamp

    def __getstate__(self):
        return {"path": self.path, "size": self.size, "name": self.name, "checksum": self.checksum}

    def __setstate__(self, state):
        super().__init__(state["size"], state["name"])
        self.path, self._checksum, self._stamp = state["path"], state["checksum"], None


def open_section_image(image):
    """Make a :class:`SectionImage` of an array, a PIL image or a path.

    Parameters
    ----------
    image : ndarray, PIL.Image.Image, str, os.PathLike or SectionImage
        Arrays: (height, width), (height, width, 1), (height, width, 3) or (height, width, 4),
        dtype uint8. Files: JPG and PNG through Pillow, TIFF through tifffile (through Pillow
        where tifffile would need the imagecodecs package, and for palettes and CMYK); SVS, NDPI,
        MRXS and what else scanners write, as :func:`open_slide` does.

    Returns
    -------
    SectionImage

    Raises
    ------
    FileNotFoundError
        If there is no file at the path.
    ValueError
        If the file or array is not an 8-bit grey or colour image.
    TypeError
        If ``image`` is none of these types.

    Notes
    -----
    Grey is repeated to three channels; transparency is laid on white; CMYK is converted by
    Pillow, without a colour profile; 16-bit, float and 1-bit images are refused. Pixels are
    taken as stored: an EXIF orientation is not applied. A file whose pixels take more than 8 GiB
    is refused before it is decoded; the environment variable ``HISTOEXPR_MAX_DECODED_GB`` sets
    another limit, for all that is read.
    """
    if isinstance(image, SectionImage):
        return image
    if isinstance(image, (str, os.PathLike)):
        if os.path.splitext(image)[1].lower() in SCANNER_SUFFIXES:
            from ._slides import open_slide  # a slide is a section image, too

            return open_slide(image)
        return FileImage(image)
    if isinstance(image, Image.Image):
        return ArrayImage(pil_to_rgb(image, "the PIL image"))
    if hasattr(image, "__array__"):
        return ArrayImage(np.asarray(image))
    raise InputTypeError(
        f"A section image must be an array, a PIL image or a path; got {type(image).__name__}."
    )


def clear_image_cache():
    """Forget the decoded section images of this process; they are read again when needed.

    Notes
    -----
    The cache holds at most 4 GiB of decoded pixels, the images used last, and always the newest
    one. The environment variable ``HISTOEXPR_IMAGE_CACHE_GB`` sets another limit; worker
    processes inherit it, and each has its own cache.
    """
    _cache.clear()


def cut_square(pixels, centre, size, out_px, fill):
    """Cut a square around a point; what lies beyond the image is ``fill``.

    Parameters
    ----------
    pixels : ndarray of shape (height, width, 3), dtype uint8
    centre : ndarray of shape (2,), dtype float64
        (x, y) in pixels; the square starts at ``floor(centre - size / 2 + 1 / 2)``.
    size : int
        Side of the square, in pixels of the image.
    out_px : int
        Side of the patch as returned; when it differs, Pillow's antialiased bicubic filter.
    fill : ndarray of shape (3,), dtype uint8

    Returns
    -------
    ndarray of shape (out_px, out_px, 3), dtype uint8
    """
    height, width = pixels.shape[:2]
    left, top = corner(centre, size)
    x0, x1 = max(left, 0), min(left + size, width)
    y0, y1 = max(top, 0), min(top + size, height)
    patch = pixels[y0:y1, x0:x1]
    if patch.shape[:2] != (size, size):
        inside, patch = patch, np.empty((size, size, 3), np.uint8)
        patch[:] = fill
        patch[y0 - top : y1 - top, x0 - left : x1 - left] = inside
    if size == out_px:
        return patch
    resized = Image.fromarray(np.ascontiguousarray(patch)).resize(
        (out_px, out_px), Image.Resampling.BICUBIC
    )
    return np.asarray(resized)


def corner(centre, size):
    """(left, top) pixel of the square of this size around a point."""
    return tuple(int(v) for v in np.floor(centre - size / 2 + 0.5))


class _PixelCache:
    """Decoded images of this process, the least recently used forgotten first."""

    def __init__(self):
        self.lock = threading.RLock()
        self._images = OrderedDict()

    def get(self, key):
        with self.lock:
            if key in self._images:
                self._images.move_to_end(key)
            return self._images.get(key)

    def put(self, key, pixels):
        limit = gib_of(CACHE_LIMIT_VARIABLE, _DEFAULT_CACHE_GB)
        with self.lock:
            self._images[key] = pixels
            while len(self._images) > 1 and sum(p.nbytes for p in self._images.values()) > limit:
                self._images.popitem(last=False)

    def clear(self):
        with self.lock:
            self._images.clear()

    def renew_lock(self):
        self.lock = threading.RLock()


_cache = _PixelCache()
_verified = {}  # (path, checksum) of the files of this process: size and time of change
if hasattr(os, "register_at_fork"):  # a lock held by another thread would stay held in the child
    os.register_at_fork(after_in_child=_cache.renew_lock)


def _stamp(status):
    return status.st_size, status.st_mtime_ns
