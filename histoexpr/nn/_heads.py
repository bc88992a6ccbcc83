"""From features and expression to embeddings."""

import torch
from torch import nn
from torch.nn import functional as F

from ..exceptions import InputError
from ..utils._torch import autocast


class ProjectionHead(nn.Module):
    """A residual two-layer projection: p = W1 x; LayerNorm(dropout(W2 gelu(p)) + p).

    Parameters
    ----------
    n_inputs : int
    projection_dim : int, default=256
    dropout : float, default=0.0
        0 in STco and mclSTExp, 0.1 in GR2ST.
    """

    def __init__(self, n_inputs, projection_dim=256, dropout=0.0):
        super().__init__()
        self.projection = nn.Linear(n_inputs, projection_dim)
        self.hidden = nn.Linear(projection_dim, projection_dim)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(projection_dim)

    def forward(self, x):
        """Map a Tensor of shape (n_spots, n_inputs) to (n_spots, projection_dim)."""
        projected = self.projection(x)
        return self.norm(self.dropout(self.hidden(F.gelu(projected))) + projected)


class PositionEmbedding(nn.Module):
    """Two learnt tables, added: one row for each array column, one for each array row.

    Parameters
    ----------
    grid_shape : tuple (n_cols, n_rows)
        One more than the largest position seen in training.
    n_outputs : int
    """

    def __init__(self, grid_shape, n_outputs):
        super().__init__()
        n_cols, n_rows = grid_shape
        self.col = nn.Embedding(n_cols, n_outputs)
        self.row = nn.Embedding(n_rows, n_outputs)

    def forward(self, positions):
        """Map (array_col, array_row), int64 (n_spots, 2), to float32 (n_spots, n_outputs).

        A position outside a table, in a section larger than those of training, gets the row of
        the table that is nearest to it: the last one, or the first if it is negative.

        Raises
        ------
        ValueError
            If positions are None: a module that was trained with them needs them.
        """
        if positions is None:
            raise InputError(
                "this module was trained with array positions and got spots without any; give "
                "positions (SpotPatches carry them), or train without them."
            )
        col, row = positions.clamp(min=0).unbind(1)
        return self.col(col.clamp(max=self.col.num_embeddings - 1)) + self.row(
            row.clamp(max=self.row.num_embeddings - 1)
        )


def symmetric_info_nce(spot_embeddings, image_embeddings, temperature=1.0):
    """Contrast each spot with its own image, both ways round.

    ``logits = S Iᵀ / T`` on embeddings that are not normalised; the mean of the spot-to-image
    and the image-to-spot cross-entropy against the identity (STco, mclSTExp, GR2ST).

    Parameters
    ----------
    spot_embeddings, image_embeddings : Tensor of shape (n_spots, projection_dim)
    temperature : float, default=1.0

    Returns
    -------
    Tensor of shape ()
    """
    # Products of LayerNormed vectors reach their width, where bfloat16 knows whole numbers only.
    with autocast(spot_embeddings.device, "float32"):
        logits = spot_embeddings.float() @ image_embeddings.float().T / temperature
        own = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
