"""Checks of what is asked of a slide, and of what a slide says of itself."""

import math
from numbers import Integral

from ..exceptions import InputError
from ..utils._reading import check_decoded
from ..utils._validation import check_number
from ._decode import BY_REGION

_MOST_SIDE = 2**16  # pixels of what is returned
_NOT_SQUARE = 0.05
FARTHEST = 2**32  # a corner may lie so many pixels away
_MOST_SLIDE = 2**38  # pixels: 500,000 on a side are 13 cm at 0.25 um/px


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
    check_decoded(
        3 * size[0] * size[1],
        f"{name!r}, {size[0]} x {size[1]} px and not to be read but as a whole,",
        BY_REGION,
    )


def check_slide_size(size, name):
    """Refuse what is no slide: to look at all of it would take days."""
    if size[0] * size[1] > _MOST_SLIDE:
        raise InputError(
            f"{name!r} says that it is {size[0]} x {size[1]} px, which no slide is. Is it damaged?"
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
