"""Slides in the formats of scanners (SVS, NDPI, MRXS, ...), read by OpenSlide."""

import functools
import os
import threading

import numpy as np

from ..exceptions import InputError
from ..utils import import_optional
from ..utils._reading import check_decoded
from ._decode import to_rgb
from ._slide_checks import square_mpp
from ._slides import Slide

_CACHE_BYTES = 2**27


class VendorSlide(Slide):
    """A slide that OpenSlide opens, once in each process."""

    def __init__(self, path):
        self._lock = threading.Lock()
        self._handle = self._opened_by = None
        self.path = self.name = path
        handle = self._open()
        _check_tiles(handle, path)
        super().__init__(path, path, handle.level_dimensions, _read_mpp(handle))

    @functools.cached_property
    def fingerprint(self):
        """OpenSlide's own: a slide may be many files."""
        quick = self._open().properties.get("openslide.quickhash-1")
        return quick or super().fingerprint

    def _open(self):
        openslide = import_optional("openslide", extra="slides", purpose=f"reading {self.path!r}")
        with self._lock:
            if self._opened_by != os.getpid():  # a handle does not survive a fork
                try:
                    self._handle = openslide.OpenSlide(self.path)
                except openslide.OpenSlideError as error:
                    raise InputError(
                        f"{self.path!r} is no slide that can be read: OpenSlide says {error}. "
                        "TIFF is recognised by its suffix (.tif, .tiff)."
                    ) from error
                self._handle.set_cache(openslide.OpenSlideCache(_CACHE_BYTES))
                self._opened_by = os.getpid()
            return self._handle

    def _read_level(self, level, x0, y0, x1, y1):
        handle = self._open()
        corner = tuple(round(side * self.downsamples[level]) for side in (x0, y0))
        try:
            image = handle.read_region(corner, level, (x1 - x0, y1 - y0))
        except Exception as error:  # OpenSlideError, or ValueError of a region too large
            self._opened_by = None  # after an error OpenSlide reads nothing more from a handle
            raise InputError(f"{self.path!r} cannot be decoded: {error}. Is it damaged?") from error
        return to_rgb(np.asarray(image), repr(self.path))  # what was not scanned is transparent


def _check_tiles(handle, path):
    """Refuse tiles that fill the memory: OpenSlide ends the process where it has none left."""
    for level in range(handle.level_count):
        sides = (handle.properties.get(f"openslide.level[{level}].tile-{side}", "1")
                 for side in ("width", "height"))  # fmt: skip
        width, height = (int(side) if side.isdigit() else 1 for side in sides)
        check_decoded(4 * width * height, f"a tile of {path!r}, {width} x {height} px,")


def _read_mpp(handle):
    """Micrometres per pixel as the scanner says, or None."""
    try:
        x, y = (float(handle.properties.get(f"openslide.mpp-{axis}", 0)) for axis in "xy")
    except ValueError:  # no number
        return None
    return square_mpp(x, y or x) if x > 0 else None
