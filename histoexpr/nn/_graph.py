"""Graphs over the spots of a section, and attention along their edges."""

from numbers import Integral

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import nn
from torch.nn import functional as F

from ..exceptions import InputError
from ..utils._torch import autocast
from ..utils._validation import as_array

_QUERIED = 2**20  # candidates that spatial_edges looks at together: some 50 MB
_BLOCK = 1024  # rows of products that strongest holds at a time


def spatial_edges(positions, k):
    """The edges from each spot to the ``k`` spots nearest to it, itself among them.

    On a grid many spots are equally near. Of these the one of the smaller array row is taken,
    then of the smaller array column, so that the edges do not depend on the order of the spots
    (spots at the same position keep their order). Memory grows as ``n_spots * k``.

    Parameters
    ----------
    positions : array-like or Tensor of shape (n_spots, 2)
        (array_col, array_row), or coordinates in any unit.
    k : int
        At least 1; with fewer spots than that, all are taken.

    Returns
    -------
    Tensor of shape (2, n_spots * min(k, n_spots)), dtype int64
        Row 0 is the spot, row 1 one of its nearest; by spot, itself first, then from near to
        far.

    Raises
    ------
    ValueError
        If positions have another shape or are not finite, or ``k`` is below 1.
    """
    positions = as_array(positions, "positions", np.float64)
    if positions.ndim != 2 or positions.shape[1] != 2 or not np.isfinite(positions).all():
        raise InputError(
            "positions must be finite numbers of shape (n_spots, 2), a column and a row for each "
            f"spot; got shape {positions.shape}."
        )
    if not isinstance(k, Integral) or k < 1:
        raise InputError(
            f"k={k!r} neighbours were asked for; it must be a whole number, and at least 1: a spot "
            "is its own first neighbour."
        )
    n_spots = len(positions)
    k = min(k, n_spots)
    # By row, then by column: from here on the number of a spot says which of two equals is taken.
    order = np.lexsort(positions.T)
    tree = cKDTree(positions[order])
    nearest = np.empty((n_spots, k), dtype=np.int64)
    # Wider and wider, until no spot that was left out can be as near as the last one taken.
    open_spots, width = np.arange(n_spots), k + 16
    while len(open_spots):
        width = min(width, n_spots)
        block = max(1, _QUERIED // width)
        parts = [open_spots[i : i + block] for i in range(0, len(open_spots), block)]
        open_spots = np.concatenate([_take_nearest(nearest, tree, p, width) for p in parts])
        width *= 2
    nearest[order] = order[nearest]
    spots = np.repeat(np.arange(n_spots), k)
    return torch.from_numpy(np.stack([spots, nearest.ravel()]))


def _take_nearest(nearest, tree, spots, width):
    """Fill in the rows ``spots`` of ``nearest``; returns those of them that need more width."""
    k = nearest.shape[1]
    found = tree.query(tree.data[spots], width)[1].reshape(len(spots), width)
    found.sort(axis=1)
    # Squares of whole numbers are exact: equally far is equal.
    squares = ((tree.data[found] - tree.data[spots, None]) ** 2).sum(axis=2)
    farthest = squares.max(axis=1)
    squares[found == spots[:, None]] = -1
    taken = squares.argsort(axis=1, kind="stable")[:, :k]
    nearest[spots] = np.take_along_axis(found, taken, axis=1)
    last = np.take_along_axis(squares, taken[:, -1:], axis=1)[:, 0]
    doubtful = (farthest <= last * (1 + 1e-9)) & (width < len(nearest))
    return spots[doubtful]


@torch.no_grad()
def strongest(queries, keys, k, bonus=None):
    """For each query the keys with the largest dot product.

    The products are computed some rows at a time; a square matrix of all of them never exists.

    Parameters
    ----------
    queries, keys : Tensor of shape (n_spots, n_features), dtype float32
    k : int
        With fewer keys than that, all are taken.
    bonus : callable or None, default=None
        ``bonus(rows)``, with ``rows`` a slice of the queries, is added to their products.

    Returns
    -------
    Tensor of shape (n_spots, min(k, n_spots)), dtype int64
        The strongest first. No gradient flows through a choice.
    """
    k = min(k, len(keys))
    chosen = []
    # bfloat16 has three digits: it would choose among many equals.
    with autocast(queries.device, "float32"):
        for start in range(0, len(queries), _BLOCK):
            rows = slice(start, start + _BLOCK)
            products = wide(queries[rows]) @ wide(keys).T
            if bonus is not None:
                products += bonus(rows)
            chosen.append(products.topk(k, dim=1).indices)
    return torch.cat(chosen)


def wide(x):
    """At least float32."""
    return x if x.dtype == torch.float64 else x.float()


def functional_edges(heads, tails, k, temperature=1.0, cell_type=None, bonus=0.3):
    """The edges from each spot to the ``k`` spots it goes best with (GR2ST).

    The largest of softmax(heads · tailsᵀ / T + bonus · [same type]), by row. The softmax leaves
    the order as it is and is not computed.

    Parameters
    ----------
    heads, tails : Tensor of shape (n_spots, n_features), dtype float32
        Two projections of the spots.
    k : int
        With fewer spots than that, all are taken.
    temperature : float, default=1.0
    cell_type : Tensor of shape (n_spots,), dtype int64, or None, default=None
        Below 0 is unknown, and like no other spot. None leaves the bonus out.
    bonus : float, default=0.3

    Returns
    -------
    Tensor of shape (2, n_spots * min(k, n_spots)), dtype int64
        Row 0 is the spot, row 1 one of its partners.
    """

    def same_type(rows):
        same = (cell_type[rows, None] == cell_type) & (cell_type[rows, None] >= 0)
        return bonus * same.float()

    chosen = strongest(heads / temperature, tails, k, None if cell_type is None else same_type)
    spots = torch.arange(len(chosen), device=chosen.device)
    return torch.stack([spots.repeat_interleave(chosen.shape[1]), chosen.flatten()])


class GraphAttention(nn.Module):
    """A layer of graph attention (GAT): each spot is a weighted mean of those that point to it.

    The weight of an edge i -> j is softmax over i of LeakyReLU(a·h_i + b·h_j), for each head,
    with h a linear map of the spots. Every spot has one edge to itself, given or not.

    Parameters
    ----------
    n_inputs : int
    head_dim : int, default=256
    n_heads : int, default=8
    dropout : float, default=0.1
        On the weights.

    References
    ----------
    .. [1] Velickovic et al., Graph Attention Networks, ICLR 2018.
    """

    def __init__(self, n_inputs, head_dim=256, n_heads=8, dropout=0.1):
        super().__init__()
        self.linear = nn.Linear(n_inputs, n_heads * head_dim, bias=False)
        self.source = nn.Parameter(torch.empty(n_heads, head_dim))
        self.target = nn.Parameter(torch.empty(n_heads, head_dim))
        self.bias = nn.Parameter(torch.zeros(n_heads * head_dim))
        self.dropout = nn.Dropout(dropout)
        for weight in (self.linear.weight, self.source, self.target):
            nn.init.xavier_uniform_(weight)

    def forward(self, x, edges):
        """Map float32 (n_spots, n_inputs), along int64 (2, n_edges), to (n_spots, n_heads * \
head_dim).

        Messages flow from the spots in row 0 of ``edges`` to those in row 1. Heads are
        concatenated.
        """
        n_spots, n_heads = len(x), len(self.source)
        edges = edges[:, edges[0] != edges[1]]
        loops = torch.arange(n_spots, device=x.device)
        sources, targets = torch.cat([edges, loops.expand(2, -1)], dim=1)
        order = targets.argsort(stable=True)
        sources, targets = sources[order], targets[order]
        with autocast(x.device, "float32"):
            messages = self.linear(wide(x)).unflatten(1, (n_heads, -1)).transpose(0, 1)
            logits = F.leaky_relu(
                (messages @ self.source[:, :, None])[:, sources, 0]
                + (messages @ self.target[:, :, None])[:, targets, 0],
                0.2,
            )
            weights = self.dropout(_softmax_by_target(logits, targets, n_spots))
            pooled = _pool(messages, weights, sources, targets)
            return pooled.transpose(0, 1).flatten(1) + self.bias


def _softmax_by_target(logits, targets, n_spots):
    """Softmax of (n_heads, n_edges) over the edges of each target."""
    index = targets.expand_as(logits)
    shape = (len(logits), n_spots)
    peak = logits.new_full(shape, -torch.inf).scatter_reduce(1, index, logits.detach(), "amax")
    powers = torch.exp(logits - peak.gather(1, index))
    return powers / powers.new_zeros(shape).scatter_add(1, index, powers).gather(1, index)


def _pool(messages, weights, sources, targets):
    """The weighted sum of (n_heads, n_spots, head_dim) over the edges, which targets sort.

    An embedding bag adds rows as it reads them: the message of each edge, 0.7 GB for a section
    of 4,096 spots with 20 neighbours, is never written down.
    """
    n_heads, n_spots, _ = messages.shape
    n_edges = len(sources)
    heads = torch.arange(n_heads, device=messages.device)[:, None]
    starts = torch.searchsorted(targets, torch.arange(n_spots, device=targets.device))
    pooled = F.embedding_bag(
        (heads * n_spots + sources).flatten(),
        messages.flatten(0, 1),
        (heads * n_edges + starts).flatten(),
        mode="sum",
        per_sample_weights=weights.flatten(),
    )
    return pooled.unflatten(0, (n_heads, n_spots))
