"""What may stand for images."""

from . import _patch_checks as checks
from ._patches import SpotPatches


def check_images(X):
    """Validate what may stand for images: a ``SpotPatches``, or an array of patches.

    Parameters
    ----------
    X : SpotPatches or array-like of shape (n_spots, height, width, channels), dtype uint8
        Grey, (n_spots, height, width) or with one channel, is repeated to three channels; RGBA
        is laid on white.

    Returns
    -------
    SpotPatches or ndarray of shape (n_spots, height, width, 3), dtype uint8
        ``X`` itself where nothing had to be converted.

    Raises
    ------
    ValueError
        If there are no patches, they differ in size, or their dtype or channel count is another.
    """
    if isinstance(X, SpotPatches):
        if len(X) == 0:
            raise ValueError("X holds no spots (a SpotPatches of length 0).")
        return X
    return checks.check_patch_array(X)
