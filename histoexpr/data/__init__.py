"""What goes into a fit: the patches of spots (X) and their expression (y)."""

from ._check import carried, check_images, check_same_spots, completed, reading_order
from ._features import SpotFeatures
from ._finer_grid import finer_grid
from ._images import clear_image_cache
from ._neighborhood import neighborhood, spot_pitch
from ._patches import SpotPatches
from ._sections import in_section_order, split_sections
from ._slides import Slide, open_slide
from ._target import check_positions, unpack_target
from ._views import field_of_view

__all__ = [
    "Slide",
    "SpotFeatures",
    "SpotPatches",
    "carried",
    "check_images",
    "check_positions",
    "check_same_spots",
    "clear_image_cache",
    "completed",
    "field_of_view",
    "finer_grid",
    "in_section_order",
    "neighborhood",
    "open_slide",
    "reading_order",
    "split_sections",
    "spot_pitch",
    "unpack_target",
]
