"""What goes into a fit: the patches of spots (X) and their expression (y)."""

from ._check import check_images
from ._features import SpotFeatures
from ._images import clear_image_cache
from ._patches import SpotPatches
from ._sections import split_sections
from ._target import check_positions, unpack_target

__all__ = [
    "SpotFeatures",
    "SpotPatches",
    "check_images",
    "check_positions",
    "clear_image_cache",
    "split_sections",
    "unpack_target",
]
