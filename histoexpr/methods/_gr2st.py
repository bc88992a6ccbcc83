"""GR2ST: contrastive learning with two graphs over the spots of a section."""

import dataclasses
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from .. import _keys
from ..base import BaseExpressionRegressor, RetrievalMixin
from ..data import unpack_target
from ..nn import DualEncoder, GraphSpotEncoder, ProjectionHead, spatial_edges
from ..retrieval import SpotRetriever
from ..training import Trainer
from ..utils import shared_docs


@shared_docs
class GR2ST(RetrievalMixin, BaseExpressionRegressor):
    """GR2ST: spots exchange messages along a functional and a spatial graph of their section.

    A spot's expression, with its place and its cell type added, passes a graph attention layer
    over the spots it goes best with, and one over the spots nearest to it; both are fused and
    projected. Images, loss and retrieval are those of mclSTExp.

    Parameters
    ----------
    {phikon_featurizer}
    projection_dim : int, default=256
        Width of the embeddings, and of each head of the graph attention.
    n_heads : int, default=8
        Heads of the graph attention.
    graph_neighbors : int, default=20
        Edges of each spot in either graph; all spots, in a section that has fewer.
    fusion : {"sum", "concat", "mean", "max"}, default="sum"
        How the outputs of the graphs are joined.
    cell_type_key : str, default="cell_type"
        The column of ``adata.obs`` with the cell types; all spots are of one type without it.
    temperature : float, default=1.0
        Divides the logits of the loss, and the products that the functional graph is made of.
    dropout : float, default=0.1
    {max_section_spots}
    {expression}
    trainer : Trainer or None, default=None
        None, and what it leaves unset, is the paper's: Adam, learning rate 1e-4, weight decay
        1e-3, 100 epochs. A batch is a section; `batch_size` has no effect.
    retriever : SpotRetriever or None, default=None
        None, and what it leaves unset, is the paper's: cosine search, 200 neighbours (clipped
        to the training spots), weights 1 / L1².
    {random_state}

    Attributes
    ----------
    module_ : histoexpr.nn.DualEncoder
    cell_types_ : ndarray of shape (n_types,), dtype str
        Those of the training data; a missing type is none of them and adds nothing.
    {fitted}

    Raises
    ------
    ValueError
        As in STco; also if a section is larger than `max_section_spots` and has no positions.

    Notes
    -----
    Departures from the authors' code:

    - The release normalises patches to one reference (Reinhard) before Phikon-v2 sees them; here
      that is a step of its own, StainNormalizer.
    - The release makes a new optimiser at every epoch, which forgets Adam's moments; here one
      serves the whole run.
    - The release writes zeros for a missing feature file; here features are an argument, and NaN
      is refused.
    - Cell types are those of ``adata.obs``, and their table is as long as the training data
      needs; the release has six, of HoVer-Net.
    - Among spots equally near on the grid, the spatial graph takes those of the smaller row, then
      column, so that it does not depend on the order of the spots. Without positions a spot has
      an edge to itself alone.
    - Expression is returned as it is embedded, scaled by spot; see STco for the release's way.
    """

    _whole_sections = True

    _parameter_constraints = {
        **BaseExpressionRegressor._parameter_constraints,
        **RetrievalMixin._parameter_constraints,
        "projection_dim": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "graph_neighbors": [Interval(Integral, 1, None, closed="left")],
        "fusion": [StrOptions({"sum", "concat", "mean", "max"})],
        "cell_type_key": [str],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "max_section_spots": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        featurizer=None,
        *,
        projection_dim=256,
        n_heads=8,
        graph_neighbors=20,
        fusion="sum",
        cell_type_key=_keys.CELL_TYPE,
        temperature=1.0,
        dropout=0.1,
        max_section_spots=4096,
        expression=None,
        trainer=None,
        retriever=None,
        random_state=None,
    ):
        self.featurizer = featurizer
        self.projection_dim = projection_dim
        self.n_heads = n_heads
        self.graph_neighbors = graph_neighbors
        self.fusion = fusion
        self.cell_type_key = cell_type_key
        self.temperature = temperature
        self.dropout = dropout
        self.max_section_spots = max_section_spots
        self.expression = expression
        self.trainer = trainer
        self.retriever = retriever
        self.random_state = random_state

    def _unpack_target(self, y):
        return unpack_target(y, cell_type_key=self.cell_type_key)

    def _describe(self, target):
        types = np.full(len(target), "") if target.cell_type is None else target.cell_type
        known = types != _keys.MISSING
        cell_type = np.full(len(target), -1)
        self.cell_types_, cell_type[known] = np.unique(types[known], return_inverse=True)
        return dict(cell_type=cell_type)

    def _complete(self, batch):
        if batch.positions is None:
            return batch
        return dataclasses.replace(
            batch, edges=spatial_edges(batch.positions, self.graph_neighbors)
        )

    def _make_module(self, n_features, n_genes, grid_shape):
        return DualEncoder(
            ProjectionHead(n_features, self.projection_dim, self.dropout),
            GraphSpotEncoder(
                n_genes,
                grid_shape,
                max(1, len(self.cell_types_)),
                self.projection_dim,
                n_heads=self.n_heads,
                n_partners=self.graph_neighbors,
                fusion=self.fusion,
                temperature=self.temperature,
                dropout=self.dropout,
            ),
            self.temperature,
        )

    def _default_trainer(self):
        return Trainer(max_epochs=100, lr=1e-4, weight_decay=1e-3)

    def _default_retriever(self):
        return SpotRetriever(200, weights="inverse_l1", metric="cosine")
