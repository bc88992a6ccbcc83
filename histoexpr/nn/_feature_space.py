"""Spots stand where their images' features are (stInfer)."""

from torch import nn
from torch.nn import functional as F

from .._types import LossOutput, SpotBatch
from ._heads import ProjectionHead


class FeatureSpace(nn.Module):
    """The features as they are: nothing to learn, images and spots alike."""

    spots_have_features = True

    def embed_image(self, batch: SpotBatch):
        """The features: float32 (n_spots, n_features)."""
        return batch.features

    def embed_spot(self, batch: SpotBatch):
        """The features of a measured spot's own image."""
        return batch.features


class RegressionHead(nn.Module):
    """A projection head on the features, and a linear layer from it to expression.

    Parameters
    ----------
    n_features : int
    n_genes : int
    projection_dim : int, default=256
    dropout : float, default=0.5
    """

    position = None
    spots_have_features = True

    def __init__(self, n_features, n_genes, projection_dim=256, dropout=0.5):
        super().__init__()
        self.head = ProjectionHead(n_features, projection_dim, dropout)
        self.linear = nn.Linear(projection_dim, n_genes)

    def embed_image(self, batch: SpotBatch):
        """The projected features: float32 (n_spots, projection_dim)."""
        return self.head(batch.features)

    def embed_spot(self, batch: SpotBatch):
        """The projected features of a measured spot's own image."""
        return self.head(batch.features)

    def decode(self, batch: SpotBatch):
        """Predict expression: float32 (n_spots, n_genes)."""
        return self.linear(self.head(batch.features))

    def forward(self, batch: SpotBatch) -> LossOutput:
        """The mean squared error of a batch; its one term is named ``mse``."""
        loss = F.mse_loss(self.decode(batch), batch.expression)
        return LossOutput(loss, {"mse": loss.detach()})
