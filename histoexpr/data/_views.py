"""The same spots, seen with a wider or narrower field of view."""

from dataclasses import replace

import numpy as np

from ..exceptions import InputError
from ..utils._validation import check_number
from ._patch_checks import MOST_PX
from ._patches import SpotPatches


def field_of_view(images, factor):
    """Patches of the same spots and size in pixels that show more, or less, around them.

    Parameters
    ----------
    images : SpotPatches or ndarray of shape (n_spots, height, width, 3), dtype uint8
        To see more, a SpotPatches that is cut from section images.
    factor : float
        Side of the square that is seen, in sides of the given one: 2.0 shows four times the
        area at half the resolution.

    Returns
    -------
    SpotPatches
        Or, of an array and for ``factor=1``, that array.

    Raises
    ------
    ValueError
        If `factor` is not positive, or the patches are given as arrays: there is nothing around
        them to see.
    """
    factor = check_number(factor, "the field of view", unit=", a positive multiple of the patch")
    if factor == 1:
        return images
    if not isinstance(images, SpotPatches) or len(images.section_images) < len(
        np.unique(images.section)
    ):
        raise InputError(
            f"a field of view of {factor:g} times the patch needs the section images around the "
            "patches, but X holds patches that are cut already. Build X with "
            "SpotPatches.from_images (as the readers do), or ask for fields_of_view=(1,)."
        )
    wider = np.maximum(np.rint(images.crop_px * factor), 1)
    if wider.max(initial=0) > MOST_PX:
        raise InputError(
            f"a field of view of {factor:g} times the patch is {wider.max():.3g} px wide; at most "
            f"{MOST_PX} px can be cut."
        )
    return replace(images, _crop_px=wider.astype(np.int64))
