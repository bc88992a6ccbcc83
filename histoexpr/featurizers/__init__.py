"""From images to features: (n_spots, height, width, 3) -> (n_spots, n_features)."""

from ._cache import FeatureCache, clear_feature_cache
from ._check import check_featurizer
from ._context import ContextFeaturizer, NeighborFeatures
from ._texture import TextureFeaturizer
from ._timm import TimmFeaturizer
from ._training_patches import TrainingPatches

__all__ = [
    "ContextFeaturizer",
    "FeatureCache",
    "NeighborFeatures",
    "TextureFeaturizer",
    "TimmFeaturizer",
    "TrainingPatches",
    "check_featurizer",
    "clear_feature_cache",
]
