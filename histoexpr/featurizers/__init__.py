"""From images to features: (n_spots, height, width, 3) -> (n_spots, n_features)."""

from ._check import check_featurizer
from ._texture import TextureFeaturizer
from ._timm import TimmFeaturizer

__all__ = ["TextureFeaturizer", "TimmFeaturizer", "check_featurizer"]
