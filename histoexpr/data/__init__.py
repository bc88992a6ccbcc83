"""What goes into a fit: the patches of spots (X) and their expression (y)."""

from ._check import carried, check_images, check_same_spots, completed, reading_order
from ._features import SpotFeatures
from ._finer_grid import finer_grid
from ._images import clear_image_cache
from ._patches import SpotPatches
from ._sections import split_sections
from ._target import check_positions, unpack_target

__all__ = [
    "SpotFeatures",
    "SpotPatches",
    "carried",
    "check_images",
    "check_positions",
    "check_same_spots",
    "clear_image_cache",
    "completed",
    "finer_grid",
    "reading_order",
    "split_sections",
    "unpack_target",
]
