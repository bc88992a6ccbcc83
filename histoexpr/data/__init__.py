"""What goes into a fit: the patches of spots (X) and their expression (y)."""

from ._images import clear_image_cache
from ._patches import SpotPatches, check_images
from ._target import check_positions, unpack_target

__all__ = [
    "SpotPatches",
    "check_images",
    "check_positions",
    "clear_image_cache",
    "unpack_target",
]
