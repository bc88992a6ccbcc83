"""Checks of what is asked of a slide, and of what a slide says of itself."""

import math
from numbers import Integral

from ..exceptions import InputError
from ..utils._validation import check_number

_MOST_SIDE = 2**16  # pixels of what is returned
_NOT_SQUARE = 0.05
MOST_WHOLE = 2**32  # bytes of a level that may be decoded as a whole


def check_mpp(mpp):
    """Micrometres per pixel as a float."""
    return check_number(mpp, "mpp", unit=", in micrometres per pixel")


def check_side(size, what):
    """Pixels of what is returned, on one side."""
    if not isinstance(size, Integral) or isinstance(size, bool) or not 0 < size <= _MOST_SIDE:
        raise InputError(
            f"{what} must be a whole number of pixels from 1 to {_MOST_SIDE}; got {size!r}."
        )
    return size


def check_whole(size, name):
    """Refuse to decode as a whole what would fill the memory."""
    n_bytes = 3 * size[0] * size[1]
    if n_bytes > MOST_WHOLE:
        raise InputError(
            f"{name!r} takes {n_bytes / 1e9:.1f} GB as a whole ({size[0]} x {size[1]} px) and "
            "cannot be read otherwise. Save it as a tiled pyramidal TIFF (e.g. with libvips: "
            "vips tiffsave IN OUT.tif --tile --pyramid --compression jpeg), or read regions."
        )


def unknown_mpp(name):
    """The message about a slide whose scale is not known."""
    return (
        f"{name!r} does not say how many micrometres a pixel is. Pass mpp= (0.25 is usual for a "
        "slide scanned at 40x, 0.5 at 20x); a wrong one shows the model another scale of tissue "
        "than it was trained on."
    )


def square_mpp(x, y):
    """The side of a pixel in micrometres; None, as if it were not known, if it is no square."""
    return math.sqrt(x * y) if abs(x / y - 1) <= _NOT_SQUARE else None
