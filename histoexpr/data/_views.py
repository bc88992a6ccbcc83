"""The same spots, seen with a wider or narrower field of view."""

from dataclasses import replace

import numpy as np

from ..exceptions import InputError
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
    if not factor > 0:
        raise InputError(f"the field of view must be a positive multiple; got {factor!r}.")
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
    wider = np.maximum(np.rint(images.crop_px * factor), 1).astype(np.int64)
    return replace(images, _crop_px=wider)
