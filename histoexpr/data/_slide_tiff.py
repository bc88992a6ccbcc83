"""Slides in TIFF and OME-TIFF, read tile by tile."""

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from ..exceptions import InputError, MissingPackageError
from ..utils._reading import reading
from ._decode import opened_tiff, tiff_plane, to_rgb
from ._images import FileImage
from ._slide_checks import square_mpp
from ._slides import PlainSlide, Slide
from ._tiff_pieces import check_piece

_CACHE_BYTES = 2**27  # of decoded tiles: the rows of tiles that a row of patches touches
_MOST_PIECE = 2**26  # bytes of a decoded tile or strip; in larger ones there is nothing to gain
# Micrometres per pixel that a microscope gives. Resolution tags often hold those of a printer.
_PLAUSIBLE_MPP = (0.05, 5.0)
_MICROMETRES = {"nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}


def open_tiff(path):
    """A TIFF as a Slide, tile by tile where it has tiles; see :func:`open_slide`."""
    with reading(repr(path), "is a broken TIFF file"), opened_tiff(path, path) as tiff:
        found = tiff_plane(tiff, path)
        if found is None:  # palette, white-is-zero, CMYK: Pillow reads it as a whole
            return PlainSlide(FileImage(path))
        series, sizes = found
        mpp = _read_mpp(tiff)
        levels = [_Level.of(level, sizes) for level in series.levels]
    if levels[0].tile_bytes > _MOST_PIECE:
        return PlainSlide(FileImage(path), mpp)
    for level in levels:
        level.check_whole(path)
    return TiffSlide(path, levels, mpp)


class TiffSlide(Slide):
    """A tiled or finely striped TIFF."""

    def __init__(self, path, levels, mpp):
        super().__init__(path, path, [level.size for level in levels], mpp)
        self._levels = levels
        self._tiles = _TileCache(_CACHE_BYTES)

    def _read_level(self, level, x0, y0, x1, y1):
        pixels = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
        width, height = self._levels[level].tile
        with open(self.path, "rb") as file:  # a handle of its own: threads do not share a place
            for row in range(y0 // height, -(-y1 // height)):
                for col in range(x0 // width, -(-x1 // width)):
                    left, top = col * width, row * height
                    tile = self._tile(file, level, row, col)
                    part = tile[max(y0 - top, 0) : y1 - top, max(x0 - left, 0) : x1 - left]
                    y, x = max(top - y0, 0), max(left - x0, 0)
                    pixels[y : y + part.shape[0], x : x + part.shape[1]] = part
        return pixels

    def _tile(self, file, level, row, col):
        key = level, row, col
        tile = self._tiles.get(key)
        if tile is None:
            tile = self._levels[level].read_tile(file, row, col, self.path)
            self._tiles.put(key, tile)
        return tile


@dataclass(frozen=True)
class _Level:
    """A level of the pyramid: where its tiles lie in the file, and how they are decoded.

    ``planes`` are (page, number of the page's first tile in the plane): one that holds all
    channels, or one for each channel.
    """

    size: tuple  # (width, height)
    tile: tuple  # (width, height)
    planes: list
    n_samples: int  # in a plane

    @classmethod
    def of(cls, series, sizes):
        level = dict(zip(series.axes, series.shape))
        size = level["X"], level["Y"]
        pages = [page.aspage() for page in series.pages if page is not None]
        page = pages[0]
        tile = (page.tilewidth, page.tilelength)
        if not page.is_tiled:
            tile = (size[0], min(page.rowsperstrip, size[1]))
        n_planes = 3 if "C" in sizes or list(sizes)[0] == "S" else 1
        n_tiles = -(-size[0] // tile[0]) * -(-size[1] // tile[1])
        if len(pages) == n_planes:
            planes = [(page, 0) for page in pages]
        else:
            planes = [(page, plane * n_tiles) for plane in range(n_planes)]
        if not all(isinstance(side, int) and side > 0 for side in (*size, *tile)):
            raise InputError(
                f"{page.parent.filehandle.path!r} is a broken TIFF file: it says that it is of "
                f"{size} px, in pieces of {tile} px. Copy or download it again."
            )
        for page in pages:  # read while the file is open
            page.decode, page.dataoffsets, page.databytecounts, page.jpegtables, page.jpegheader
        return cls(size, tile, planes, sizes.get("S", 1) if n_planes == 1 else 1)

    @property
    def tile_bytes(self):
        return self.tile[0] * self.tile[1] * self.n_samples * len(self.planes)

    def check_whole(self, path):
        """Refuse a file that ends before its tiles do, or that does not have all of them."""
        length = os.path.getsize(path)
        n_tiles = -(-self.size[0] // self.tile[0]) * -(-self.size[1] // self.tile[1])
        for page, first in self.planes:
            offsets, counts = np.asarray(page.dataoffsets), np.asarray(page.databytecounts)
            numbers = all(v.dtype.kind in "iu" and v.min(initial=0) >= 0 for v in (offsets, counts))
            if not numbers or min(len(offsets), len(counts)) < first + n_tiles:
                raise InputError(
                    f"{path!r} is a broken TIFF file: it does not say where the {n_tiles} pieces "
                    "of the image are. Copy or download it again."
                )
            ends = offsets[: first + n_tiles].astype(np.float64) + counts[: first + n_tiles]
            if len(ends) and ends.max() > length:
                raise InputError(
                    f"{path!r} is cut short: {int((ends > length).sum())} of {len(ends)} pieces "
                    "of the image lie beyond its end. Copy or download it again."
                )

    def read_tile(self, file, row, col, path):
        """A tile as (height, width, 3) uint8; white where the file leaves it out."""
        index = row * -(-self.size[0] // self.tile[0]) + col
        planes = [_decode(page, first + index, file, path) for page, first in self.planes]
        if any(plane is None for plane in planes):
            return np.full((self.tile[1], self.tile[0], 3), 255, np.uint8)
        here = [min(self.tile[1], self.size[1] - row * self.tile[1]),
                min(self.tile[0], self.size[0] - col * self.tile[0])]  # fmt: skip
        if any(np.less(plane.shape[:2], here).any() for plane in planes):
            raise InputError(f"{path!r} is damaged: a piece of it is smaller than its place.")
        planes = [plane[: self.tile[1], : self.tile[0]] for plane in planes]
        with reading(repr(path), "cannot be decoded; is it damaged?"):
            return to_rgb(np.concatenate(planes, axis=-1), repr(path))


def _decode(page, index, file, path):
    """A tile or strip of a page, (height, width, samples), or None where there is none."""
    n_bytes = page.databytecounts[index]
    if n_bytes == 0:
        return None
    file.seek(page.dataoffsets[index])
    data = file.read(n_bytes)
    check_piece(page, data, path)
    try:
        tile, _, _ = page.decode(
            data, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader
        )
    except Exception as error:  # each codec raises its own type
        if "imagecodecs" in str(error):
            raise MissingPackageError(
                f"{path!r} is compressed ({page.compression.name}); to decode it tifffile needs "
                "'imagecodecs', which is not installed: pip install 'histoexpr[slides]'."
            ) from error
        raise InputError(f"{path!r} cannot be decoded; is it damaged? ({error})") from error
    return tile[0]


def _read_mpp(tiff):
    """Micrometres per pixel of OME metadata, or of plausible resolution tags; else None."""
    if (mpp := _ome_mpp(tiff)) is None:
        mpp = _tag_mpp(tiff.pages[0])
        low, high = _PLAUSIBLE_MPP
        mpp = mpp if mpp is None or all(low <= side <= high for side in mpp) else None
    return None if mpp is None else square_mpp(*mpp)


def _ome_mpp(tiff):
    import tifffile

    if not tiff.is_ome:
        return None
    image = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]
    pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
    x, y = (
        pixels.get(f"PhysicalSize{axis}", 0)
        * _MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"), 0)
        for axis in "XY"
    )
    return (x, y or x) if x > 0 else None


def _tag_mpp(page):
    """Micrometres per pixel by the tags XResolution and YResolution, None without a unit."""
    if "ResolutionUnit" not in page.tags or page.tags["ResolutionUnit"].value == 1:
        return None
    per_micrometre = page.get_resolution("micrometer")
    return [1 / n for n in per_micrometre] if all(n > 0 for n in per_micrometre) else None


class _TileCache:
    """Decoded tiles, the least recently used forgotten first."""

    def __init__(self, limit):
        self._limit = limit
        self._lock = threading.Lock()
        self._tiles = OrderedDict()
        self._n_bytes = 0

    def get(self, key):
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
            return self._tiles.get(key)

    def put(self, key, tile):
        with self._lock:
            if key not in self._tiles:
                self._tiles[key] = tile
                self._n_bytes += tile.nbytes
            while self._n_bytes > self._limit and len(self._tiles) > 1:
                self._n_bytes -= self._tiles.popitem(last=False)[1].nbytes
