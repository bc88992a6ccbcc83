"""From a measured spot, and the spots around it, to its embedding."""

import torch
from torch import nn
from torch.nn import functional as F

from .._types import SpotBatch
from ..exceptions import InputError
from ..utils._torch import autocast
from ._graph import GraphAttention, functional_edges, wide
from ._heads import PositionEmbedding, ProjectionHead


class SpotEncoder(nn.Module):
    """Expression plus its place on the array, projected (STco, mclSTExp).

    Parameters
    ----------
    n_genes : int
    grid_shape : tuple (n_cols, n_rows) or None
        None leaves positions out (arrays without an AnnData have none).
    projection_dim : int, default=256
    dropout : float, default=0.0
        In the projection head.
    context : Module or None, default=None
        Maps float32 (n_spots, n_genes), the spots of one section, to the same shape before the
        projection; a `Transformer` in mclSTExp.
    """

    def __init__(self, n_genes, grid_shape, projection_dim=256, dropout=0.0, context=None):
        super().__init__()
        self.position = _position_table(grid_shape, n_genes)
        self.context = context
        self.head = ProjectionHead(n_genes, projection_dim, dropout)

    def forward(self, batch: SpotBatch):
        """Embed the expression of a batch: float32 (n_spots, projection_dim).

        Raises
        ------
        ValueError
            If there are position tables, and the batch has no positions.
        """
        x = _placed(batch.expression, self.position, batch.positions)
        return self.head(x if self.context is None else self.context(x))


class CellTypeEmbedding(nn.Module):
    """A learnt vector for each cell type (GR2ST).

    A table of half the width, a linear layer, ReLU, LayerNorm, dropout.

    Parameters
    ----------
    n_types : int
    n_outputs : int
    dropout : float, default=0.1
    """

    def __init__(self, n_types, n_outputs, dropout=0.1):
        super().__init__()
        self.table = nn.Embedding(n_types, max(1, n_outputs // 2))
        self.linear = nn.Linear(self.table.embedding_dim, n_outputs)
        self.norm = nn.LayerNorm(n_outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, cell_type):
        """Map int64 (n_spots,) to float32 (n_spots, n_outputs); -1, unknown, to a zero vector."""
        known = (cell_type >= 0)[:, None]
        vectors = self.linear(self.table(cell_type.clamp(min=0)))
        return self.dropout(self.norm(F.relu(vectors))) * known


_FUSIONS = {
    "sum": torch.add,
    "concat": lambda functional, spatial: torch.cat([functional, spatial], dim=1),
    "mean": lambda functional, spatial: (functional + spatial) / 2,
    "max": torch.maximum,
}


class GraphSpotEncoder(nn.Module):
    """Expression, place and cell type, passed along two graphs over a section (GR2ST).

    The functional graph joins a spot to those it goes best with, chosen anew in each pass from
    two projections of the spots; the spatial graph comes with the batch. The second of the two
    projections only takes part in that choice and, as in the release, has no gradient.

    Parameters
    ----------
    n_genes : int
    grid_shape : tuple (n_cols, n_rows) or None
        None leaves positions out.
    n_types : int, default=1
        Cell types in the training data. A type of -1 (unknown) adds nothing, and so do batches
        without cell types.
    projection_dim : int, default=256
        Also the width of each head of the graph attention.
    n_heads : int, default=8
    n_partners : int, default=20
        Edges from each spot in the functional graph.
    fusion : {"sum", "concat", "mean", "max"}, default="sum"
        How the outputs of the two graphs are joined.
    temperature : float, default=1.0
        Divides the products that the functional graph is chosen by.
    type_bonus : float, default=0.3
        Added to them for two spots of the same type.
    dropout : float, default=0.1

    Raises
    ------
    ValueError
        If ``fusion`` is another word.
    """

    def __init__(
        self,
        n_genes,
        grid_shape,
        n_types=1,
        projection_dim=256,
        *,
        n_heads=8,
        n_partners=20,
        fusion="sum",
        temperature=1.0,
        type_bonus=0.3,
        dropout=0.1,
    ):
        super().__init__()
        if fusion not in _FUSIONS:
            raise InputError(f"fusion must be one of {sorted(_FUSIONS)}; got {fusion!r}.")
        self.n_partners = n_partners
        self.fusion = fusion
        self.temperature = temperature
        self.type_bonus = type_bonus
        self.position = _position_table(grid_shape, n_genes)
        self.cell_type = CellTypeEmbedding(n_types, n_genes, dropout)
        self.functional_head = nn.Linear(n_genes, projection_dim)
        self.functional_tail = nn.Linear(n_genes, projection_dim)
        self.spatial_input = nn.Linear(n_genes, projection_dim)
        graph = {"head_dim": projection_dim, "n_heads": n_heads, "dropout": dropout}
        self.functional_graph = GraphAttention(projection_dim, **graph)
        self.spatial_graph = GraphAttention(projection_dim, **graph)
        self.fused = nn.Sequential(
            nn.Linear(n_heads * projection_dim * (1 + (fusion == "concat")), projection_dim),
            nn.ReLU(),
            nn.LayerNorm(projection_dim),
            nn.Dropout(dropout),
        )
        self.head = ProjectionHead(projection_dim, projection_dim, dropout)

    def forward(self, batch: SpotBatch):
        """Embed the spots of one section: float32 (n_spots, projection_dim).

        Raises
        ------
        ValueError
            If the batch has positions but no edges, or there are position tables, and the batch
            has no positions.
        """
        x = self._spots(batch)
        functional = self.functional_graph(
            self.functional_head(x), self._functional_edges(x, batch)
        )
        spatial = self.spatial_graph(self.spatial_input(x), _spatial_edges(batch))
        return self.head(self.fused(_FUSIONS[self.fusion](functional, spatial)))

    def functional_edges(self, batch: SpotBatch):
        """The functional graph of a section: int64 (2, n_spots * n_partners)."""
        return self._functional_edges(self._spots(batch), batch)

    def _spots(self, batch):
        x = _placed(batch.expression, self.position, batch.positions)
        return x if batch.cell_type is None else x + self.cell_type(batch.cell_type)

    @torch.no_grad()
    def _functional_edges(self, x, batch):
        with autocast(x.device, "float32"):
            return functional_edges(
                self.functional_head(wide(x)),
                self.functional_tail(wide(x)),
                self.n_partners,
                self.temperature,
                batch.cell_type,
                self.type_bonus,
            )


def _position_table(grid_shape, n_outputs):
    return None if grid_shape is None else PositionEmbedding(grid_shape, n_outputs)


def _placed(x, table, positions):
    """Spots with their place added; without a table as they are."""
    return x if table is None else x + table(positions)


def _spatial_edges(batch):
    """The batch's edges; without positions there are none, and each spot has only itself."""
    if batch.edges is not None:
        return batch.edges
    if batch.positions is not None:
        raise InputError(
            "a batch with positions needs edges: "
            "dataclasses.replace(batch, edges=spatial_edges(batch.positions, k))."
        )
    return torch.empty((2, 0), dtype=torch.int64, device=batch.features.device)
