"""Where there is tissue on a slide."""

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

from ..exceptions import InputError
from ..preprocessing._stain_math import find_white, to_light
from ..utils._validation import as_array

# Saturation below which nothing is tissue, and above which all is: on a slide of glass alone, or of
# tissue alone, Otsu's threshold cuts through the noise, or through the tissue.
_LEAST, _MOST = 0.05, 0.2
_DARK = 0.1  # share of the light of the glass: ink, folds and what was not scanned have no colour
_SMOOTHED = 1 / 400  # side of the square, of that of the slide, whose median a pixel is judged by
_CLOSED = 1 / 100  # and of gaps that are closed: fat cells, ducts and clefts are tissue, too


def find_tissue(thumbnail):
    """Tissue by Otsu's threshold on the saturation of the colours.

    Parameters
    ----------
    thumbnail : ndarray of shape (height, width, 3), dtype uint8

    Returns
    -------
    ndarray of shape (height, width), dtype bool

    Notes
    -----
    Colours are taken relative to the glass (the 95th percentile of each channel), so that lilac
    light is no tissue, and the saturation is smoothed by a median filter. The threshold [1]_ is
    kept between 0.05 and 0.2: Otsu's supposes that there are both tissue and glass. Gaps narrower
    than a hundredth of the slide are closed, such as fat cells and ducts.

    Marker ink in colour counts as tissue; pass a function of your own where that matters.

    References
    ----------
    .. [1] Otsu (1979), A threshold selection method from gray-level histograms.
    """
    thumbnail = as_array(thumbnail, "thumbnail")
    if thumbnail.ndim != 3 or thumbnail.shape[2] != 3 or thumbnail.dtype != np.uint8:
        raise InputError(
            "thumbnail must be of shape (height, width, 3) and dtype uint8; got "
            f"{thumbnail.shape} of {thumbnail.dtype}."
        )
    pixels = thumbnail.reshape(-1, 3)
    light = to_light(pixels, find_white(pixels)).reshape(thumbnail.shape)
    brightest = light.max(axis=2)
    saturation = np.where(brightest > _DARK, 1 - light.min(axis=2) / brightest, 0)
    image = Image.fromarray(np.rint(255 * saturation).astype(np.uint8))
    smooth = ImageFilter.MedianFilter(_odd(_SMOOTHED * max(thumbnail.shape)))
    saturation = np.asarray(image.filter(smooth)) / 255
    mask = saturation > np.clip(_otsu(saturation), _LEAST, _MOST)
    gap = _odd(_CLOSED * max(thumbnail.shape))
    return ndimage.minimum_filter(ndimage.maximum_filter(mask, gap), gap)


def _odd(size):
    return max(3, 2 * round(size / 2) + 1)


def _otsu(values):
    """The threshold that parts values in 0..1 into two classes of the least inner variance."""
    counts, edges = np.histogram(values, bins=256, range=(0, 1))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = total / below - (total[-1] - total) / above
        between = below * above * gap**2
    return edges[1:][np.nan_to_num(between).argmax()]
