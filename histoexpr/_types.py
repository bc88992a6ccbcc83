"""The few types that carry named arrays from one layer to the next."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from .exceptions import InputError

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse
    import torch


@dataclass(frozen=True)
class SpotTarget:
    """What a fit reads from its ``y``, whether that was an AnnData or an array.

    Attributes
    ----------
    matrix : ndarray or CSR matrix of shape (n_spots, n_genes)
        Raw counts when ``y`` was an AnnData, the expression as given when it was an array.
    genes : ndarray of shape (n_genes,), dtype str
        ``var_names``, or ``"x0", "x1", ...`` for an array.
    from_adata : bool
        Whether ``y`` was an AnnData.
    one_dimensional : bool
        Whether ``y`` was an array of shape (n_spots,): predictions then have that shape too.
    positions : ndarray of shape (n_spots, 2), dtype int64, or None
        (array_col, array_row) of each spot; None when ``obs`` lacks them.
    section, patient, cell_type : ndarray of shape (n_spots,), dtype str, or None
        None when ``obs`` lacks the column.
    """

    matrix: np.ndarray | scipy.sparse.csr_matrix
    genes: np.ndarray
    from_adata: bool = False
    one_dimensional: bool = False
    positions: np.ndarray | None = None
    section: np.ndarray | None = None
    patient: np.ndarray | None = None
    cell_type: np.ndarray | None = None

    def __len__(self) -> int:
        return self.matrix.shape[0]

    def __getitem__(self, rows: np.ndarray) -> SpotTarget:
        """Some of the spots."""
        whole = ("genes", "from_adata", "one_dimensional")
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in whole}
        return replace(self, **{k: None if v is None else v[rows] for k, v in values.items()})


@dataclass(frozen=True)
class SpotBatch:
    """Spots on their way through a module; all fields but `edges` share the first dimension.

    Attributes
    ----------
    features : Tensor of shape (n_spots, n_features), dtype float32
        Backbone output; zeros where a backbone in training is yet to compute it of `images`.
    expression : Tensor of shape (n_spots, n_genes), dtype float32, or None
        Normalised expression; None at predict time.
    positions : Tensor of shape (n_spots, 2), dtype int64, or None
        (array_col, array_row).
    cell_type : Tensor of shape (n_spots,), dtype int64, or None
        0 to n_types - 1; -1 is a type that training has not seen.
    counts : Tensor of shape (n_spots, n_genes), dtype float32, or None
        Raw counts of the same genes.
    size_factors : Tensor of shape (n_spots,), dtype float32, or None
        A spot's total count of these genes over the median of its section.
    edges : Tensor of shape (2, n_edges), dtype int64, or None
        The spatial graph of these spots, as `nn.spatial_edges` gives it: messages flow from
        row 0 to row 1, both of which number the spots of this batch. A batch that has edges
        cannot be indexed.
    images : SpotPatches or None
        For a backbone that is trained along. They are read when a batch is computed, or just
        ahead of it (`nn.EndToEnd.read_ahead`), and stay where they are whatever the device.
    """

    features: torch.Tensor
    expression: torch.Tensor | None = None
    positions: torch.Tensor | None = None
    cell_type: torch.Tensor | None = None
    counts: torch.Tensor | None = None
    size_factors: torch.Tensor | None = None
    edges: torch.Tensor | None = None
    images: Any = None

    def __len__(self) -> int:
        return self.features.shape[0]

    def _map(self, function) -> SpotBatch:
        names = [f.name for f in fields(self) if f.name != "images"]
        values = {name: getattr(self, name) for name in names}
        return replace(self, **{k: None if v is None else function(v) for k, v in values.items()})

    def __getitem__(self, index) -> SpotBatch:
        if self.edges is not None:
            # A part of a graph is another graph: the nearest spots of a part are others.
            raise InputError(
                "a SpotBatch with edges cannot be indexed, because edges number the spots of the "
                "whole batch; index it first, then add the edges of the part: "
                "dataclasses.replace(batch[index], edges=spatial_edges(positions[index], k))."
            )
        part = self._map(lambda tensor: tensor[index])
        if self.images is None:
            return part
        return replace(part, images=self.images[index.cpu() if hasattr(index, "cpu") else index])

    def double(self) -> SpotBatch:
        """The same in float64."""
        return self._map(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)

    def to(self, device) -> SpotBatch:
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))


@dataclass(frozen=True)
class LossOutput:
    """The loss of one batch and the terms it is made of, unweighted (for ``history_``)."""

    loss: torch.Tensor
    terms: dict[str, torch.Tensor] = field(default_factory=dict)
