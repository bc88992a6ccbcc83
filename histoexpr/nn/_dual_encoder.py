"""Two encoders into one space."""

from torch import nn

from .._types import LossOutput, SpotBatch
from ._heads import symmetric_info_nce


class DualEncoder(nn.Module):
    """An image encoder and a spot encoder, trained against each other.

    The loss and the search index use the same two methods, so that a spot is found in the
    space in which it was trained.

    Parameters
    ----------
    image_encoder : Module
        Maps features (n_spots, n_features) to (n_spots, projection_dim).
    spot_encoder : Module
        Maps a SpotBatch to (n_spots, projection_dim).
    temperature : float, default=1.0
        Divides the logits of the contrastive loss.
    """

    #: Whether `embed_spot` reads the features of a spot's own image.
    spots_have_features = False

    def __init__(self, image_encoder, spot_encoder, temperature=1.0):
        super().__init__()
        self.image_encoder = image_encoder
        self.spot_encoder = spot_encoder
        self.temperature = temperature

    def embed_image(self, batch: SpotBatch):
        """Embed the images of a batch: float32 (n_spots, projection_dim)."""
        return self.image_encoder(batch.features)

    def embed_spot(self, batch: SpotBatch):
        """Embed the measured spots of a batch: float32 (n_spots, projection_dim)."""
        return self.spot_encoder(batch)

    def forward(self, batch: SpotBatch) -> LossOutput:
        """The loss of a batch; its one term is named ``contrastive``."""
        loss = symmetric_info_nce(
            self.embed_spot(batch), self.embed_image(batch), self.temperature
        )
        return LossOutput(loss, {"contrastive": loss.detach()})
