"""Reg2ST: expression decoded from images and places."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from .._types import LossOutput, SpotBatch
from ..exceptions import InputError
from ._attention import Transformer
from ._dynamic_graph import DynamicGraph
from ._heads import PositionEmbedding
from ._zinb import ZINBHead, zinb_loss


class Reg2STModule(nn.Module):
    """An image branch that is taught by a gene branch, and decodes expression over a section.

    Image features become f and, projected, g; expression becomes s, of length 1. Each spot's f,
    with its place added, attends over the g of the section; a dynamic graph follows, and heads
    for expression and for counts. At predict time there is no expression, and the gene branch
    is not used.

    Parameters
    ----------
    n_features : int
    n_genes : int
    grid_shape : tuple (n_cols, n_rows) or None
        None leaves positions out.
    hidden_dim : int, default=1024
        Width of f, g, s and the decoder; a multiple of ``n_heads``.
    n_layers : int, default=6
        Of the decoder.
    n_heads : int, default=8
    feed_forward_dim : int, default=1024
        In the decoder.
    gene_dim : int, default=1024
        Hidden width of the gene branch.
    n_partners : int, default=6
        Of each spot in the dynamic graph.
    dropout : float, default=0.2
    graph_dropout : float, default=0.3

    Raises
    ------
    ValueError
        If ``hidden_dim`` is not a multiple of ``n_heads``.
    """

    spots_have_features = False

    #: What the terms of the loss are multiplied by.
    loss_weights = {"contrastive": 0.5, "mse": 1.0, "projection": 1.0, "zinb": 0.25}

    def __init__(
        self,
        n_features,
        n_genes,
        grid_shape,
        hidden_dim=1024,
        *,
        n_layers=6,
        n_heads=8,
        feed_forward_dim=1024,
        gene_dim=1024,
        n_partners=6,
        dropout=0.2,
        graph_dropout=0.3,
    ):
        super().__init__()
        if hidden_dim % n_heads:
            raise InputError(
                f"hidden_dim={hidden_dim} cannot be shared among n_heads={n_heads} attention "
                "heads; choose a multiple."
            )
        self.image_encoder = _mlp(n_features, n_features, hidden_dim, dropout)
        self.image_projection = _mlp(hidden_dim, hidden_dim, hidden_dim)
        self.gene_encoder = _mlp(n_genes, gene_dim, hidden_dim, dropout)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.position = None if grid_shape is None else PositionEmbedding(grid_shape, hidden_dim)
        self.decoder = Transformer(
            n_layers, hidden_dim, n_heads, hidden_dim // n_heads, feed_forward_dim, dropout=dropout
        )
        self.norm = nn.LayerNorm(hidden_dim)
        self.graph = DynamicGraph(hidden_dim, n_partners, graph_dropout)
        self.expression_head = _mlp(hidden_dim, n_features, n_genes, dropout)
        self.zinb_head = ZINBHead(hidden_dim, n_genes)

    def encode_image(self, batch: SpotBatch):
        """The f of the images: float32 (n_spots, hidden_dim)."""
        return self.image_encoder(batch.features)

    def embed_image(self, batch: SpotBatch):
        """The g of the images: float32 (n_spots, hidden_dim), where `embed_spot` puts spots.

        Unlike f it is taught to *be* the s of its spot, so that distances mean something; it
        depends on neither place nor section.
        """
        return self.image_projection(self.encode_image(batch))

    def embed_spot(self, batch: SpotBatch):
        """The s of the measured spots: float32 (n_spots, hidden_dim), rows of length 1."""
        return F.normalize(self.gene_encoder(batch.expression), dim=1)

    def decode(self, batch: SpotBatch):
        """Predict the expression of one section: float32 (n_spots, n_genes).

        Raises
        ------
        ValueError
            If there are position tables, and the batch has no positions.
        """
        return self.expression_head(self._decode_images(batch))

    def zinb(self, batch: SpotBatch):
        """The distribution of the counts of one section: a `ZINB`."""
        return self.zinb_head(self._decode_images(batch))

    def forward(self, batch: SpotBatch) -> LossOutput:
        """The loss of one section: 0.5 contrastive + mse + projection + 0.25 zinb.

        Without counts there is no zinb; size factors that are None are 1.
        """
        encoded = self.encode_image(batch)
        projected = self.image_projection(encoded)
        spots = self.embed_spot(batch)
        decoded = self._decode(encoded, projected, batch.positions)
        terms = {
            "contrastive": self._contrastive(encoded, spots),
            "mse": F.mse_loss(self.expression_head(decoded).float(), batch.expression),
            "projection": F.mse_loss(projected.float(), spots.float()),
        }
        if batch.counts is not None:
            terms["zinb"] = zinb_loss(batch.counts, self.zinb_head(decoded), batch.size_factors)
        loss = sum(self.loss_weights[name] * term for name, term in terms.items())
        return LossOutput(loss, {name: term.detach() for name, term in terms.items()})

    def contrastive_logits(self, batch: SpotBatch):
        """exp(τ) f sᵀ, with τ learnt: float32 (n_spots, n_spots), a row for each image."""
        return self._logits(self.encode_image(batch), self.embed_spot(batch))

    def _logits(self, encoded, spots):
        return self.log_scale.exp() * (encoded @ spots.T).float()

    def _contrastive(self, encoded, spots):
        """Binary cross-entropy against the identity: over all pairs, so both ways round at once."""
        logits = self._logits(encoded, spots)
        return F.binary_cross_entropy_with_logits(logits, torch.eye(len(logits)).to(logits))

    def _decode_images(self, batch):
        encoded = self.encode_image(batch)
        return self._decode(encoded, self.image_projection(encoded), batch.positions)

    def _decode(self, encoded, projected, positions):
        """What the heads read: (n_spots, hidden_dim)."""
        placed = encoded if self.position is None else encoded + self.position(positions)
        decoded = self.norm(self.decoder(placed, projected))
        return self.graph(decoded, placed, projected)


def _mlp(n_inputs, hidden_dim, n_outputs, dropout=0.0):
    return nn.Sequential(
        nn.Linear(n_inputs, hidden_dim),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden_dim, n_outputs),
    )
