"""A graph that the spots choose themselves."""

import torch
from torch import nn
from torch.nn import functional as F

from ..utils._torch import autocast
from ._graph import strongest, wide


class DynamicGraph(nn.Module):
    """Each spot takes in those it goes best with, weighted by a gate (WiKG, in Reg2ST).

    With e and t two linear maps of the spots, a spot chooses the largest of e·t / √h over the
    section; p is their softmax, r = p·t + (1 − p)·e what lies between the two spots. A partner
    counts by the softmax of (Σ t)·(Σ tanh(e + r)), a product of two sums over the features.

    Parameters
    ----------
    n_inputs : int
        h.
    n_partners : int, default=6
        With fewer spots in the section, all are taken.
    dropout : float, default=0.3

    References
    ----------
    .. [1] Li et al., Dynamic Graph Representation with Knowledge-aware Attention for
       Histopathology Whole Slide Image Analysis, CVPR 2024.
    """

    def __init__(self, n_inputs, n_partners=6, dropout=0.3):
        super().__init__()
        self.n_partners = n_partners
        self.input = nn.Linear(n_inputs, n_inputs)
        self.head = nn.Linear(n_inputs, n_inputs)
        self.tail = nn.Linear(n_inputs, n_inputs)
        self.sum = nn.Linear(n_inputs, n_inputs)
        self.product = nn.Linear(n_inputs, n_inputs)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(n_inputs)
        self.output = nn.Linear(n_inputs, n_inputs)

    def forward(self, x, heads, tails):
        """Map the spots of one section to what they are among the others.

        Parameters
        ----------
        x, heads, tails : Tensor of shape (n_spots, n_inputs), dtype float32
            The spots, and what they are compared by: Reg2ST compares images at their places
            with images.

        Returns
        -------
        Tensor of shape (n_spots, n_inputs)
        """
        x = F.leaky_relu(self.input(x))
        x = (x + x.mean(dim=0)) / 2
        # The scores are products of sums over the features: large, and not for bfloat16.
        with autocast(x.device, "float32"):
            taken = self._take_in(self.head(wide(heads)), self.tail(wide(tails)))
        x = F.leaky_relu(self.sum(x + taken)) + F.leaky_relu(self.product(x * taken))
        return self.output(self.norm(self.dropout(x)))

    def _take_in(self, heads, tails):
        """The weighted sum of each spot's partners, (n_spots, n_inputs)."""
        heads = heads[:, None]
        partners = tails[strongest(heads[:, 0], tails, self.n_partners)]
        products = (heads * partners).sum(dim=2, keepdim=True) / heads.shape[2] ** 0.5
        share = products.softmax(dim=1)
        between = share * partners + (1 - share) * heads
        gates = torch.tanh(heads + between).sum(dim=2, keepdim=True)
        scores = partners.sum(dim=2, keepdim=True) * gates
        return (scores.softmax(dim=1) * partners).sum(dim=1)
