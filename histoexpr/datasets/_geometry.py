"""Whether spots, their grid, the image and the scale belong together."""

import logging
import warnings

import numpy as np
from scipy.spatial import cKDTree

from ..data._decode import open_picture, pil_to_rgb
from ..exceptions import InputError

logger = logging.getLogger(__name__)

VISIUM_PITCH_UM = 100.0
# Micrometres per unit of (array_col, array_row): neighbours in a row are two columns apart.
VISIUM_STEP_UM = (VISIUM_PITCH_UM / 2, VISIUM_PITCH_UM * np.sqrt(3) / 2)

_ONE_GRID = 0.03  # relative spread of the scale above which pixels do not lie on the grid
_SAME_SCALE = 0.1  # relative difference of two pixel sizes above which one is wrong
_THUMBNAIL_PX = 1000
_FEW_SPOTS = 10  # fewer say nothing about where the tissue is
_ON_GLASS = 0.4


def grid_scale(positions, spatial, step_um):
    """Micrometres per pixel, from where the spots of a regular grid lie on the image.

    Parameters
    ----------
    positions : ndarray of shape (n_spots, 2)
        (array_col, array_row).
    spatial : ndarray of shape (n_spots, 2)
        (x, y) of the same spots, in pixels.
    step_um : tuple of 2 float
        Micrometres from one column to the next, and from one row to the next.

    Returns
    -------
    mpp : float
        NaN when fewer than two spots have a distance.
    spread : float
        Range of the middle half of the ratios over their median: near 0 on a true grid.

    Notes
    -----
    The median, over pairs of spots far apart, of the distance on the grid over the distance on
    the image: rounding of the pixels hardly matters, and neither do a few spots that are wrong.
    """
    half = max(1, len(spatial) // 2)
    micrometres, pixels = (
        np.linalg.norm(v - np.roll(v, half, axis=0), axis=1)
        for v in (positions * np.asarray(step_um), np.asarray(spatial, np.float64))
    )
    apart = (micrometres > 0) & (pixels > 0)
    if not apart.any():
        return np.nan, np.nan
    low, middle, high = np.percentile(micrometres[apart] / pixels[apart], [25, 50, 75])
    return middle, (high - low) / middle


def visium_scale(positions, spatial):
    """Micrometres per pixel if the spots are on the hexagonal grid of Visium, else NaN."""
    if len(positions) < 3 or (positions.sum(axis=1) % 2).any():
        return np.nan
    mpp, spread = grid_scale(positions, spatial, VISIUM_STEP_UM)
    return mpp if spread <= _ONE_GRID else np.nan


def check_scale(mpp, measured, section, what):
    """Refuse a pixel size that contradicts the one measured on the grid."""
    if abs(np.log(mpp / measured)) > _SAME_SCALE:
        raise InputError(
            f"section {section!r}: {what}, mpp would be {measured:.4g} um/px; but it is given as "
            f"{mpp:.4g}. Is mpp that of another resolution, or are the centres in pixels of "
            f"another image (hires for full resolution: factor {measured / mpp:.3g})?"
        )


def check_one_grid(spread, section):
    """Refuse spots whose pixels do not follow their grid positions."""
    if spread > _ONE_GRID:
        raise InputError(
            f"section {section!r}: the pixel positions of the spots do not lie on their array "
            f"positions (the scale varies by {spread:.0%}). Are rows shifted against barcodes, or "
            "columns exchanged? Take tissue_positions as Space Ranger wrote it."
        )


def grid_positions(spatial, section):
    """Grid coordinates for spots that come without: their centres, rounded.

    Parameters
    ----------
    spatial : ndarray of shape (n_spots, 2)
        (x, y) in pixels.
    section : str
        For the log line.

    Returns
    -------
    ndarray of shape (n_spots, 2), dtype int64
        (array_col, array_row) in steps of the median distance to the nearest spot, or of half
        of it where two spots would share a place.
    """
    if len(spatial) < 2:
        return np.zeros((len(spatial), 2), np.int64)
    distance = cKDTree(spatial).query(spatial, k=2)[0][:, 1]
    pitch = np.median(distance[distance > 0]) if (distance > 0).any() else 1.0
    from_corner = spatial - spatial.min(axis=0)
    positions = np.rint(from_corner / pitch).astype(np.int64)
    if len(np.unique(positions, axis=0)) < len(positions):
        positions = np.rint(2 * from_corner / pitch).astype(np.int64)
    logger.info(
        "section %s has no grid: array_col and array_row are its spots' centres, rounded "
        "(nearest spots are %.4g px apart)", section, pitch,
    )  # fmt: skip
    return positions


def is_mirrored(positions, spatial):
    """Whether columns to rows turn the other way round than x to y, which no slide does."""
    if len(positions) < 3:
        return False
    grid, pixels = (v - v.mean(axis=0) for v in (positions.astype(float), spatial))
    return bool(np.linalg.det(grid.T @ pixels) < 0)


def check_on_image(spatial, positions, image, section, elsewhere=None):
    """Refuse spots that do not belong where they are on their image; warn of doubtful ones.

    Parameters
    ----------
    spatial : ndarray of shape (n_spots, 2)
        (x, y) in pixels of the image.
    positions : ndarray of shape (n_spots, 2) or None
        (array_col, array_row), where they are known by themselves.
    image : Slide
    section : str
    elsewhere : dict of str to ndarray of shape (n_spots, 2), default=None
        Where the spots would be if the user had said something else: what to do, and (x, y).

    Raises
    ------
    ValueError
        If spots are outside, or clearly off the tissue while they would be on it elsewhere.

    Notes
    -----
    The measure is the mean share of the image's pixels that are paler than those at the spots'
    centres: 0.87 to 0.91 on the real sections we know, 0.5 for spots anywhere.
    """
    elsewhere = {_EXCHANGE: spatial[:, ::-1], **(elsewhere or {})}
    inside = {what: where for what, where in elsewhere.items() if _inside(where, image).all()}
    outside = ~_inside(spatial, image)
    if outside.any():
        raise InputError(
            f"{int(outside.sum())} of {len(spatial)} spots of section {section!r} have their "
            f"centre outside the image ({image.size[0]} px wide, {image.size[1]} px high), the "
            f"first at (x, y) = {tuple(spatial[outside.argmax()].tolist())}. "
            + (f"They would be inside if you {' or '.join(inside)}." if inside else _OTHER_IMAGE)
        )
    mirrored = positions is not None and is_mirrored(positions, spatial)
    if positions is not None and not mirrored:
        inside.pop(_EXCHANGE, None)  # the grid shows that x and y are right
    if len(spatial) >= _FEW_SPOTS:
        _check_tissue(spatial, mirrored, image, section, inside)


def _check_tissue(spatial, mirrored, image, section, elsewhere):
    shades = _shades(image)
    here = _darkness(shades, spatial, image.size)
    there = {what: _darkness(shades, where, image.size) for what, where in elsewhere.items()}
    best = max(there, key=there.get, default=None)
    gain = there[best] - here if best else 0.0
    if gain > (0.02 if mirrored and best == _EXCHANGE else 0.2):
        raise InputError(
            f"The spots of section {section!r} lie on the tissue if you {best}: then "
            f"{there[best]:.2f} of the image is paler than under them, as given {here:.2f}"
            + (", and their grid is mirrored" if mirrored else "")
            + ". Correct the coordinates."
        )
    doubts = []
    if mirrored:
        doubts.append(
            "their grid is mirrored on the image (was it flipped, or are array_row and array_col "
            "exchanged?)"
        )
    if gain > 0.04 and there[best] > 0.8:
        doubts.append(f"they fit the tissue better if you {best} ({here:.2f}, {there[best]:.2f})")
    if here < _ON_GLASS:
        doubts.append(f"most lie off the tissue ({here:.2f} of the image is paler than under them)")
    if doubts:
        warnings.warn(
            f"Look at the patches of section {section!r} before you use its spots: "
            f"{'; '.join(doubts)}.",
            stacklevel=2,
        )


_EXCHANGE = "exchange x and y"
_OTHER_IMAGE = (
    "Are they in pixels of another resolution (a hires image for the full one), or is it the "
    "image of another section?"
)


def _inside(spatial, image):
    return ((spatial >= 0) & (spatial < image.size)).all(axis=1)


def _shades(image):
    """How dark or coloured each pixel of a thumbnail is: uint8 of shape (height, width)."""
    pixels = _thumbnail(image)
    padding = pixels.max(axis=2) < 20  # black: no tissue either
    return np.where(padding, 0, 255 - pixels.min(axis=2)).astype(np.uint8)


def _thumbnail(image):
    """The whole image, small. A JPEG is decoded at an eighth, in a fortieth of the time."""
    if not str(image.path).lower().endswith((".jpg", ".jpeg")):
        return image.thumbnail(_THUMBNAIL_PX)
    with open(image.path, "rb") as file, open_picture(file, image.path) as picture:
        picture.draft("RGB", (_THUMBNAIL_PX, _THUMBNAIL_PX))
        return pil_to_rgb(picture, image.name)


def _darkness(shades, spatial, size):
    """Mean share of the image that is paler than the pixels at the centres, 0 to 1."""
    counts = np.bincount(shades.ravel(), minlength=256)
    paler = (np.cumsum(counts) - counts / 2) / shades.size
    column, row = (spatial * np.divide(shades.shape[::-1], size)).astype(np.intp).T
    return float(paler[shades[row, column]].mean())
