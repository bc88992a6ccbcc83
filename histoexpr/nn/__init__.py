"""Torch modules and losses; they know tensors, never scikit-learn or AnnData."""

from ._attention import Attention, Transformer, TransformerBlock
from ._dual_encoder import DualEncoder
from ._dynamic_graph import DynamicGraph
from ._end_to_end import EndToEnd
from ._feature_space import FeatureSpace, RegressionHead
from ._graph import GraphAttention, functional_edges, spatial_edges, strongest
from ._heads import PositionEmbedding, ProjectionHead, symmetric_info_nce
from ._reg2st import Reg2STModule
from ._spot_encoders import CellTypeEmbedding, GraphSpotEncoder, SpotEncoder
from ._zinb import ZINB, ZINBHead, zinb_loss

__all__ = [
    "Attention",
    "CellTypeEmbedding",
    "DualEncoder",
    "DynamicGraph",
    "EndToEnd",
    "FeatureSpace",
    "GraphAttention",
    "GraphSpotEncoder",
    "PositionEmbedding",
    "ProjectionHead",
    "Reg2STModule",
    "RegressionHead",
    "SpotEncoder",
    "Transformer",
    "TransformerBlock",
    "ZINB",
    "ZINBHead",
    "functional_edges",
    "spatial_edges",
    "strongest",
    "symmetric_info_nce",
    "zinb_loss",
]
