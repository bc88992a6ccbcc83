"""Whole slides: read region by region at any scale, never as a whole."""

import abc
import copy
import functools
import hashlib
import math
import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from ..exceptions import InputError, MissingFileError
from ..utils._reading import check_decoded
from ..utils._validation import check_number
from ._images import FileImage, SectionImage, corner, open_section_image
from ._patch_checks import check_fill
from ._slide_checks import (
    FARTHEST,
    check_mpp,
    check_side,
    check_slide_size,
    check_whole,
    unknown_mpp,
)

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf2", ".tf8")
PLAIN_SUFFIXES = (".jpg", ".jpeg", ".png")
# Share by which a level may be coarser than asked for: mpp and level sizes are rounded numbers.
_LEVEL_TOLERANCE = 0.01
_MOST_READ = 2**25  # pixels of a level read at once; larger regions are read in bands
_FINEST = 1e-4  # of the slide's own scale
_MPP_DIFFERS = 0.1  # share by which a given mpp may differ from the file's without a word
# Slides that are one file. Others (MRXS, VMS) are many, and could change behind its back.
_ONE_FILE = (*TIFF_SUFFIXES, ".svs", ".ndpi", ".scn", ".bif", ".svslide")


class Slide(SectionImage):
    """A slide that is read by regions; made by :func:`open_slide`.

    A slide is a section image: ``SpotPatches.from_images(slide, ...)`` cuts patches from it, each
    read when it is asked for. It may be read from several threads at once.

    Attributes
    ----------
    path : str or None
        None for an array.
    size : tuple of int
        (width, height) in pixels at full resolution.
    levels : tuple of tuple of int
        (width, height) of each level of the pyramid, the full resolution first.
    downsamples : tuple of float
        Pixels at full resolution per pixel of each level.
    mpp : float or None
        Micrometres per pixel at full resolution; None where the file does not say.
    fingerprint : str
        Tells the content of one file from that of another, in hexadecimal.
    """

    def __init__(self, path, name, levels, mpp):
        super().__init__(levels[0], name)
        self.path = path
        self.levels = tuple(levels)
        check_slide_size(self.size, name)
        self.downsamples = tuple(_downsample(levels[0], level) for level in levels)
        self.mpp = mpp
        self._opened = _file_state(path)

    @functools.cached_property
    def fingerprint(self):
        return _file_fingerprint(self.path)

    @abc.abstractmethod
    def _read_level(self, level, x0, y0, x1, y1):
        """Pixels [y0, y1) x [x0, x1) of a level, all within it: (height, width, 3) uint8."""

    def read_region(self, x, y, width, height, mpp=None, fill=255):
        """Read a rectangle at a scale, from the nearest finer level of the pyramid.

        Parameters
        ----------
        x, y : float
            Its upper left corner, in pixels at full resolution.
        width, height : int
            What is returned, in pixels at `mpp`.
        mpp : float or None, default=None
            Micrometres per pixel. None is the full resolution.
        fill : int or tuple of 3 int, default=255
            Colour beyond the border of the slide.

        Returns
        -------
        ndarray of shape (height, width, 3), dtype uint8
            Resized by Pillow's antialiased bicubic filter; to the bit what the file holds where
            the scale is that of the full resolution and the corner whole pixels.

        Raises
        ------
        ValueError
            If `mpp` is given and the slide's own is not known, or the file cannot be decoded.
        """
        if mpp is not None and self.mpp is None:
            raise InputError(unknown_mpp(self.name))
        x, y = (check_number(v, "the corner", -FARTHEST) for v in (x, y))
        if max(x, y) > FARTHEST:
            raise InputError(f"the corner must be at most {FARTHEST:g} px away; got {(x, y)}.")
        check_side(width, "width"), check_side(height, "height")
        fill = check_fill(fill)
        ratio = 1.0 if mpp is None else check_mpp(mpp) / self.mpp
        if ratio < _FINEST:
            raise InputError(
                f"mpp={mpp} is far finer than the {self.mpp:.4g} um/px of {self.name!r}: nothing "
                "can be seen at that scale."
            )
        return self._read((x, y, x + width * ratio, y + height * ratio), (width, height), fill)

    def thumbnail(self, max_px=2048):
        """The whole slide, small.

        Parameters
        ----------
        max_px : int, default=2048
            The longer side has at most so many pixels.

        Returns
        -------
        ndarray of shape (height, width, 3), dtype uint8
        """
        shrink = min(1.0, check_side(max_px, "max_px") / max(self.size))
        size = tuple(max(1, round(side * shrink)) for side in self.size)
        return self._read((0, 0, *self.size), size, 255)

    def pixels(self):
        """All pixels at full resolution, where they fit: (height, width, 3) uint8.

        Raises
        ------
        ValueError
            If they take more than 8 GiB, or than ``HISTOEXPR_MAX_DECODED_GB``.
        """
        check_whole(self.size, self.name)
        pixels = self._read_level(0, 0, 0, *self.size)
        pixels.flags.writeable = False
        return pixels

    def cut(self, centres, sizes, out_px, fills):
        for centre, size, fill in zip(centres, sizes.tolist(), fills):
            left, top = corner(centre, size)
            yield self._read((left, top, left + size, top + size), (out_px, out_px), fill)

    def same_as(self, other):
        return self is other or (
            isinstance(other, Slide) and self.fingerprint == other.fingerprint
        )

    def content_key(self, most_bytes):
        """The fingerprint and the state of the file: to hash a slide would take minutes."""
        if self._opened is None or self._opened != _file_state(self.path):
            return None
        return f"slide {self.fingerprint} {self.path} {self._opened}"

    def _read(self, box, size, fill):
        """A box (left, top, right, bottom) at full resolution as an image of this size."""
        width, height = size
        ratio = min((box[2] - box[0]) / width, (box[3] - box[1]) / height)
        level = self._nearest_finer(ratio)
        box = tuple(side / self.downsamples[level] for side in box)
        x0, x1 = math.floor(box[0]), math.ceil(box[2])
        out = np.empty((height, width, 3), np.uint8)
        step = (box[3] - box[1]) / height
        rows = max(1, int(_MOST_READ / (x1 - x0) / step))
        check_decoded(
            3 * (x1 - x0) * min(step * (rows + 4), box[3] - box[1]),
            f"a region of {x1 - x0:,} px of level {level} of {self.name!r}, {step:.4g} to a pixel,",
            "Or ask for a smaller region, or for more pixels.",
        )
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            # The filter looks beyond the band, but not beyond the box.
            reach = 2 * max(step, 1) + 1
            y0 = math.floor(max(box[1] + start * step - reach, box[1]))
            y1 = math.ceil(min(box[1] + stop * step + reach, box[3]))
            pixels = self._read_filled(level, x0, y0, x1, y1, fill)
            bottom = box[3] if stop == height else box[1] + stop * step
            part = (box[0] - x0, box[1] + start * step - y0, box[2] - x0, bottom - y0)
            out[start:stop] = _resized(pixels, (width, stop - start), part)
        return out

    def _nearest_finer(self, ratio):
        finer = [d <= ratio * (1 + _LEVEL_TOLERANCE) for d in self.downsamples]
        return max(
            (level for level, is_finer in enumerate(finer) if is_finer),
            key=self.downsamples.__getitem__,
            default=0,
        )

    def _read_filled(self, level, x0, y0, x1, y1, fill):
        """As `_read_level`, with what lies beyond the level filled."""
        width, height = self.levels[level]
        inside = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        if inside == (x0, y0, x1, y1):
            return self._read_level(level, x0, y0, x1, y1)
        pixels = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
        pixels[:] = fill
        left, top, right, bottom = inside
        if left < right and top < bottom:
            part = self._read_level(level, *inside)
            pixels[top - y0 : bottom - y0, left - x0 : right - x0] = part
        return pixels

    def __reduce__(self):
        return _reopen, (self.path, self.mpp, self.fingerprint)


class PlainSlide(Slide):
    """A picture without a pyramid, decoded as a whole: JPG, PNG, small TIFF, array."""

    def __init__(self, image, mpp=None):
        check_whole(image.size, image.name)
        super().__init__(getattr(image, "path", None), image.name, [image.size], mpp)
        self._image = image

    @functools.cached_property
    def fingerprint(self):
        if self.path is not None:
            return self._image.checksum
        return hashlib.sha256(np.ascontiguousarray(self.pixels())).hexdigest()

    def pixels(self):
        return self._image.pixels()

    def cut(self, centres, sizes, out_px, fills):
        return self._image.cut(centres, sizes, out_px, fills)

    def content_key(self, most_bytes):
        return self._image.content_key(most_bytes)

    def _read_level(self, level, x0, y0, x1, y1):
        return self.pixels()[y0:y1, x0:x1]

    def __reduce__(self):
        return type(self), (self._image, self.mpp)


def open_slide(path, mpp=None):
    """Open a whole slide, to be read by regions.

    Parameters
    ----------
    path : str, os.PathLike, ndarray, PIL.Image.Image or Slide
        TIFF and OME-TIFF are read by tifffile, tile by tile: pyramids as SubIFDs or as further
        pages, RGB, grey or planes. JPG and PNG are decoded as a whole (Pillow). Everything else,
        such as SVS, NDPI and MRXS, is read by OpenSlide (the extra ``slides``).
    mpp : float or None, default=None
        Micrometres per pixel at full resolution. None: what the file says (the physical size in
        OME metadata, the resolution tags of a TIFF where they are those of a microscope,
        ``openslide.mpp-x``).

    Returns
    -------
    Slide

    Raises
    ------
    FileNotFoundError
        If there is no file at the path.
    ValueError
        If the file is no slide, damaged, or not 8-bit grey or colour; or `mpp` is not above 0.
    ImportError
        If OpenSlide is needed, or imagecodecs for a compressed TIFF, and not installed.

    Warns
    -----
    UserWarning
        If the given `mpp` differs by more than 10 % from what the file says.

    Notes
    -----
    No pixel is decoded yet. A TIFF without tiles, whose rows lie in large pieces, is decoded as a
    whole, up to 8 GiB; the environment variable ``HISTOEXPR_MAX_DECODED_GB`` sets another limit.

    Examples
    --------
    >>> import numpy as np
    >>> from histoexpr.data import SpotPatches, open_slide
    >>> slide = open_slide(np.zeros((100, 200, 3), np.uint8), mpp=0.5)
    >>> slide.size, slide.mpp
    ((200, 100), 0.5)
    >>> slide.read_region(0, 0, 50, 20, mpp=1.0).shape
    (20, 50, 3)
    >>> SpotPatches.from_images(slide, [[50, 50]], patch_size="10um").crop_px
    array([20])
    """
    given = None if mpp is None else check_mpp(mpp)
    slide = _open(path)
    if given is not None:
        if slide.mpp is not None and abs(given / slide.mpp - 1) > _MPP_DIFFERS:
            warnings.warn(
                f"mpp={mpp} is taken for {slide.name!r}, but the file says {slide.mpp:.4g} "
                "micrometres per pixel.",
                stacklevel=2,
            )
        slide.mpp = given
    return slide


def _open(path):
    if isinstance(path, Slide):
        return copy.copy(path)
    if not isinstance(path, (str, os.PathLike)):
        return PlainSlide(open_section_image(path))
    path = os.path.abspath(path)
    if not os.path.exists(path):
        raise MissingFileError(f"There is no slide at {path!r}.")
    if os.path.isdir(path) or os.path.getsize(path) == 0:
        what = "is a folder" if os.path.isdir(path) else "is empty"
        raise InputError(f"{path!r} {what}; a slide is a file (of MRXS, the .mrxs beside it).")
    suffix = Path(path).suffix.lower()
    if suffix in PLAIN_SUFFIXES:
        return PlainSlide(FileImage(path))
    if suffix in TIFF_SUFFIXES:
        from ._slide_tiff import open_tiff

        return open_tiff(path)
    from ._slide_openslide import VendorSlide

    return VendorSlide(path)


def _reopen(path, mpp, fingerprint):
    """What a pickle of a slide becomes."""
    slide = _open(path)
    if slide.fingerprint != fingerprint:
        raise InputError(
            f"The slide {path!r} has changed since it was opened. Put the old file back, or "
            "build the SpotPatches anew."
        )
    slide.mpp = mpp
    return slide


def _file_state(path):
    """What changes whenever a file is written to; None where there is no one file to look at."""
    if path is None or Path(path).suffix.lower() not in _ONE_FILE:
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _file_fingerprint(path):
    """SHA-256 of a large file's size, first and last MiB: all of it would take minutes."""
    size = os.path.getsize(path)
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        digest.update(file.read(2**20))
        file.seek(max(0, size - 2**20))
        digest.update(file.read())
    return digest.hexdigest()


def _downsample(full, level):
    """Pixels at full resolution per pixel of a level; sizes of levels are rounded down or up."""
    ratio = math.sqrt(full[0] / level[0] * full[1] / level[1])
    whole = round(ratio)
    is_whole = all(abs(n - side * whole) <= whole for n, side in zip(full, level))
    return float(whole) if is_whole else ratio


def _resized(pixels, size, box):
    if box == (0, 0, *size) and pixels.shape[1::-1] == size:
        return pixels
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC, box=box))
