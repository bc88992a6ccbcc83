"""Checks of what a ``SpotPatches`` is built from; they return it in its final form."""

import operator
import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from .. import _keys
from ..exceptions import InputError, InputTypeError
from ..utils import name_some
from ..utils._validation import as_array
from ._decode import to_rgb
from ._images import SectionImage, open_section_image

ONE_SECTION = "0"
MOST_PX = 2**14  # side of a patch: 800 MB of pixels
_FARTHEST = 1e100


def check_patch_array(patches):
    """Patches as a uint8 array of shape (n_spots, height, width, 3)."""
    try:
        patches = np.asarray(patches)
    except (TypeError, ValueError) as error:  # numpy's "inhomogeneous shape"
        raise InputError(
            f"The patches differ in size or channel count ({error}); all must have one shape."
        ) from error
    if patches.dtype == object:
        raise InputError(
            "images must be a SpotPatches or a uint8 array of shape (n_spots, height, width, 3); "
            "got objects. Patches of different size? Bring them to one size first."
        )
    if patches.ndim == 3 and patches.shape[-1] not in (1, 3, 4):
        patches = patches[..., None]  # grey
    if patches.ndim != 4:
        raise InputError(
            "images must be a SpotPatches or a uint8 array of shape (n_spots, height, width, 3); "
            f"got an array of shape {patches.shape}. A single patch is passed as patch[None]; "
            "features, (n_spots, n_features), go to a method with featurizer=None."
        )
    if len(patches) == 0:
        raise InputError(f"X holds no patches: its shape is {patches.shape}.")
    return to_rgb(patches, "the array of patches")


def match_sections(images, section, n_spots):
    """Section images by name, and each spot's section; both must name the same sections."""
    if not isinstance(images, dict):
        names = check_names(section, n_spots, _keys.SECTION, default=ONE_SECTION)
        if len(np.unique(names)) > 1:
            raise InputError(
                f"The spots are of sections {name_some(np.unique(names))}, but one image was "
                "given; pass a dict of section to image."
            )
        return {str(names[0]): open_section_image(images)}, names
    keys = [str(key) for key in images]
    if not keys or len(set(keys)) < len(keys):
        raise InputError(
            f"images must name each section once; got {name_some(keys) or 'an empty dict'}."
        )
    if section is None and len(keys) > 1:
        raise InputError(
            f"images holds {len(keys)} sections; say with section= which spot is of which."
        )
    names = check_names(section, n_spots, _keys.SECTION, default=keys[0])
    without_image = sorted(set(names.tolist()) - set(keys))
    if without_image:
        raise InputError(
            f"There are spots of section {name_some(without_image)}, but images holds only "
            f"{name_some(keys)}."
        )
    without_spots = [key for key in keys if key not in set(names.tolist())]
    if without_spots:
        raise InputError(
            f"Section {name_some(without_spots)} is empty: it has an image but no spots. Leave "
            "it out of images, or check the section names of the spots."
        )
    return dict(zip(keys, map(open_section_image, images.values()))), names


def check_spatial(spatial, n_spots=None):
    """Spot centres as a float64 copy of shape (n_spots, 2), finite, at least one."""
    spatial = as_array(spatial, _keys.SPATIAL, dtype=np.float64, copy=True)
    if spatial.size == 0:
        raise InputError("spatial holds no spots: the section is empty, nothing can be cut.")
    if spatial.ndim != 2 or spatial.shape[1] != 2 or n_spots not in (None, len(spatial)):
        raise InputError(
            f"spatial must have shape ({'n_spots' if n_spots is None else n_spots}, 2), (x, y) "
            f"in pixels a spot; got {spatial.shape}."
        )
    bad = ~np.isfinite(spatial).all(axis=1)
    if bad.any():
        raise InputError(
            f"{int(bad.sum())} spots have a NaN or infinite centre, the first at row "
            f"{int(np.flatnonzero(bad)[0])}. Drop them from spatial and from adata."
        )
    check_reach(spatial)
    return spatial


def check_reach(spatial):
    """Refuse coordinates so large that distances between them overflow."""
    most = np.abs(spatial).max(initial=0)
    if most > _FARTHEST:
        raise InputError(f"spatial reaches {most:.3g}, which is beyond any image: is it in pixels?")


def check_centres(spatial, mine, name, image):
    """Refuse spots (where ``mine``) whose centre is not on their section image."""
    width, height = image.size
    outside = mine & ((spatial < 0) | (spatial >= (width, height))).any(axis=1)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise InputError(
            f"{int(outside.sum())} of {int(mine.sum())} spots of section {name!r} have their "
            f"centre outside the image ({width} px wide, {height} px high), the first at row "
            f"{row}: (x, y) = {tuple(spatial[row].tolist())}. Are they in pixels of another "
            "resolution (a hires.png?), or is it (row, col)?"
        )


def crop_sizes(patch_size, mpp, section):
    """Side of each spot's square in pixels of its section image."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(px|um|µm|μm)\s*", str(patch_size))
    if match is None:
        raise InputError(
            f"patch_size={patch_size!r} must be a number with its unit: '224px' or '155um'."
        )
    number, unit = float(match[1]), match[2]
    if unit == "px":
        if number != int(number) or not 1 <= number <= MOST_PX:
            raise InputError(
                f"patch_size={patch_size!r} must be whole pixels, at least 1 and at most {MOST_PX}."
            )
        return np.full(len(section), int(number))
    unknown = np.isnan(mpp)
    if unknown.any():
        raise InputError(
            f"patch_size={patch_size!r} needs the pixel size of section "
            f"{name_some(np.unique(section[unknown]))}: pass mpp= (micrometres per pixel), or "
            "give patch_size in px."
        )
    sizes = np.floor(number / mpp + 0.5)
    if not (1 <= sizes.min() and sizes.max() <= MOST_PX):
        raise InputError(
            f"patch_size={patch_size!r} is less than a pixel, or more than {MOST_PX}, at "
            f"{mpp.min():.3g} to {mpp.max():.3g} um/px; is mpp in micrometres per pixel?"
        )
    return sizes.astype(np.int64)


def spread_mpp(mpp, section):
    """Micrometres per pixel of each spot, float64, NaN where unknown."""
    if isinstance(mpp, dict):
        numbers = [np.nan if v is None else v for v in mpp.values()]
        numbers = as_array(numbers, "mpp", dtype=np.float64).reshape(len(mpp), -1)[:, 0]
        by_name = dict(zip(map(str, mpp), numbers))
        values = np.array([by_name.get(name, np.nan) for name in section.tolist()])
    else:
        values = as_array(np.nan if mpp is None else mpp, "mpp", dtype=np.float64)
        if values.shape not in ((), section.shape):
            raise InputError(
                f"mpp must be a number, a dict of section to number, or of shape "
                f"{section.shape}; got {values.shape}."
            )
        values = np.broadcast_to(values, section.shape).copy()
    bad = (values <= 0) | np.isinf(values)
    if bad.any():
        raise InputError(f"mpp must be above 0 and finite; got {values[bad][0]}.")
    return values


def check_names(values, n_spots, what, default=None):
    """Names as a str array of shape (n_spots,); one name stands for all."""
    if values is None:
        values = default
    if values is None:
        return None
    if isinstance(values, (str, int, np.integer)):
        return np.full(n_spots, str(values))
    if isinstance(values, np.ndarray) and values.dtype.kind == "U" and values.shape == (n_spots,):
        return values
    values = as_array(values, what, dtype=object)
    if values.shape != (n_spots,):
        raise InputError(
            f"{what} must have a name for each of the {n_spots} spots; got shape {values.shape}."
        )
    missing = pd.isna(values)
    if missing.any():
        raise InputError(
            f"{what} is missing for {int(missing.sum())} spots, the first at row "
            f"{int(np.flatnonzero(missing)[0])}; name it for all spots."
        )
    return as_array(values, what, dtype=str)


def check_out_px(out_px):
    """Side of the patch as an int of at least 1."""
    try:
        size = operator.index(out_px)
    except TypeError as error:
        raise InputError(f"out_px must be a whole number of pixels; got {out_px!r}.") from error
    if not 1 <= size <= MOST_PX:
        raise InputError(f"out_px must be at least 1 and at most {MOST_PX}; got {out_px!r}.")
    return size


def check_fill(fill):
    """A colour as uint8 (3,)."""
    values = as_array(fill, "fill")
    whole = values.shape in ((), (3,)) and values.dtype.kind in "iu"
    if not whole or values.min() < 0 or values.max() > 255:
        raise InputError(f"fill must be 0 to 255, or three such numbers (RGB); got {fill!r}.")
    return np.broadcast_to(values, 3).astype(np.uint8)


def rows_of(index, n_spots):
    """What ``X[index]`` selects: an int in [0, n_spots), or an array of such rows.

    Raises
    ------
    IndexError
        As numpy does for one axis: out of bounds, a mask of another length, not integers.
    """
    if isinstance(index, tuple):  # scikit-learn indexes with (rows, Ellipsis)
        if len(index) > 2 or (len(index) == 2 and index[1] is not Ellipsis):
            raise IndexError(
                "SpotPatches are indexed by spot alone: X[rows] or X[rows, ...]; take "
                "np.asarray(X) to index pixels."
            )
        index = index[0] if index else Ellipsis
    if not (isinstance(index, slice) or index is Ellipsis):
        index = np.asarray(index)
        if index.size == 0 and index.dtype != bool:
            index = index.astype(np.intp)  # an empty list is float to numpy
    rows = np.arange(n_spots)[index]
    if rows.ndim > 1:
        raise IndexError("SpotPatches are indexed by an integer, a slice, or a 1-D array.")
    return int(rows) if rows.ndim == 0 else rows


def check_parts(parts, kind):
    """A list of SpotPatches, which are of the class ``kind``; at least one."""
    if not isinstance(parts, Iterable):
        raise InputTypeError(f"parts must be a list of SpotPatches; got {parts!r}.")
    parts = list(parts)
    if not parts:
        raise InputError("There is nothing to concatenate: parts is empty.")
    others = {type(part).__name__ for part in parts if not isinstance(part, kind)}
    if others:
        raise InputTypeError(f"parts must be SpotPatches; got {name_some(sorted(others))}.")
    return parts


def check_one_image_a_section(patches):
    """Refuse a section name under which two different sources of patches are found."""
    sources = {}
    for name, index in dict.fromkeys(zip(patches.section.tolist(), patches._source.tolist())):
        source = patches._sources[index]
        first = sources.setdefault(name, source)
        if first is source:
            continue
        images = isinstance(first, SectionImage) and isinstance(source, SectionImage)
        if not (images and first.same_as(source)):
            raise InputError(
                f"Section {name!r} stands for two different images, {_name_of(first)} and "
                f"{_name_of(source)}. Give each section its own name (section=)."
            )


def _name_of(source):
    return repr(source.name) if isinstance(source, SectionImage) else "an array of patches"
