"""Torch modules and losses; they know tensors, never scikit-learn or AnnData."""

from ._dual_encoder import DualEncoder
from ._heads import PositionEmbedding, ProjectionHead, SpotEncoder, symmetric_info_nce

__all__ = [
    "DualEncoder",
    "PositionEmbedding",
    "ProjectionHead",
    "SpotEncoder",
    "symmetric_info_nce",
]
