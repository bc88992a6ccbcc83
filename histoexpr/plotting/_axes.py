"""What the pictures share: a figure that pyplot does not know of, colours, quiet axes."""

from collections.abc import Iterable

import numpy as np

from ..exceptions import InputError, InputTypeError
from ..utils import import_optional

# Okabe and Ito's palette, told apart with every common colour vision; black is the frame's own.
BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE = SERIES = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#56B4E9",
    "#CC79A7",
)
GREY = "#808080"
SMALL = 8  # points


def take_axes(axes, shape, size, purpose):
    """The axes a caller gave, or those of a new figure.

    Parameters
    ----------
    axes : Axes, array-like of Axes or None
    shape : tuple of (n_rows, n_columns)
    size : tuple of (width, height)
        Of a new figure, in inches.
    purpose : str
        The public function, for messages.

    Returns
    -------
    ndarray of Axes of that shape

    Raises
    ------
    ValueError
        If ``axes`` has another shape.
    ImportError
        Without matplotlib.
    """
    if axes is None:
        module = import_optional("matplotlib.figure", extra="plot", purpose=purpose)
        figure = module.Figure(figsize=size, layout="constrained")
        return figure.subplots(*shape, squeeze=False)
    given = np.asarray(axes, dtype=object)
    if given.shape != shape and not (given.size == 1 and shape == (1, 1)):
        raise InputError(f"{purpose} draws on axes of shape {shape}; got {given.shape}.")
    return given.reshape(shape)


def check_collection(values, what):
    """Several things as a list; a word is one thing, not its letters."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputTypeError(f"{what} must be a list; got {values!r}.")
    return list(values)


def quiet(ax, grid="y"):
    """A frame of two lines, and a faint grid behind the data along one axis."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=SMALL)
    ax.grid(axis=grid, color="black", alpha=0.12, linewidth=0.6)
    ax.set_axisbelow(True)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set_fontsize(SMALL + 1)


def picture(ax, title=""):
    """An axes that holds an image: no ticks."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=SMALL, parse_math=False)
