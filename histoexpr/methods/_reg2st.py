"""Reg2ST: expression decoded from a section's images and places, taught by a gene branch."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from ..base import BaseExpressionRegressor, DecoderMixin, RetrievalMixin
from ..nn import Reg2STModule
from ..preprocessing import ExpressionTransformer
from ..retrieval import SpotRetriever
from ..training import Trainer
from ..utils import shared_docs


@shared_docs
class Reg2ST(DecoderMixin, RetrievalMixin, BaseExpressionRegressor):
    """Reg2ST: cross-attention and a dynamic graph decode expression over a whole section.

    Image features attend, with their places, over the section; a dynamic graph joins each spot
    to the six it goes best with; heads give expression, and the distribution of the counts. In
    training a gene branch teaches the image branch by contrast and by example.

    Parameters
    ----------
    {phikon_featurizer}
    predict_by : {"decoder", "retrieval"}, default="decoder"
        "decoder" is the paper's. "retrieval" searches the training spots that the gene branch
        embedded, needs no positions at predict, and predicts each spot alone. It may be set
        after fit.
    hidden_dim : int, default=1024
        Width of the branches and the decoder, a multiple of `n_heads`.
    n_layers : int, default=6
        Of the decoder.
    n_heads : int, default=8
    graph_neighbors : int, default=6
        Of each spot in the dynamic graph.
    dropout : float, default=0.2
    {max_section_spots}
    expression : ExpressionTransformer or None, default=None
        Counts to target. None: all genes, each spot scaled to 10,000 counts, log10(x + 1).
    trainer : Trainer or None, default=None
        None, and what it leaves unset, is the paper's: AdamW, weight decay 0.01, learning rate
        rising to 1e-4 in 10 epochs, then a cosine to 1e-6, 400 epochs. A batch is a section;
        `batch_size` has no effect.
    retriever : SpotRetriever or None, default=None
        For ``predict_by="retrieval"`` and `kneighbors`; what is unset is cosine search, 200
        neighbours (clipped to the training spots), weights 1 / L2².
    {random_state}

    Attributes
    ----------
    module_ : histoexpr.nn.Reg2STModule
    {fitted}

    Raises
    ------
    ValueError
        As in STco; also if a section is larger than `max_section_spots` and has no positions,
        or `hidden_dim` is not a multiple of `n_heads`.

    Notes
    -----
    Departures from the authors' code:

    - The release merges attention heads without transposing back, which mixes spots; here each
      spot keeps its own heads.
    - The release computes a masked decoder pass in training and overwrites it; it is left out.
    - The prediction function of the release asks for the test genes; here it has none.
    - Position tables are as long as the training data needs (the release: 64 rows); a position
      beyond them at predict counts as the last one.
    - The warm-up rises linearly from a tenth of the learning rate.
    - A target that is an array has no counts: the loss then has no ZINB term. A spot without any
      counts has the size factor of one count.
    """

    _whole_sections = True
    _decodes = True  # by default, and whenever predict_by is set so after fit

    _parameter_constraints = {
        **BaseExpressionRegressor._parameter_constraints,
        **RetrievalMixin._parameter_constraints,
        "predict_by": [StrOptions({"decoder", "retrieval"})],
        "hidden_dim": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "graph_neighbors": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "max_section_spots": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        featurizer=None,
        *,
        predict_by="decoder",
        hidden_dim=1024,
        n_layers=6,
        n_heads=8,
        graph_neighbors=6,
        dropout=0.2,
        max_section_spots=4096,
        expression=None,
        trainer=None,
        retriever=None,
        random_state=None,
    ):
        self.featurizer = featurizer
        self.predict_by = predict_by
        self.hidden_dim = hidden_dim
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.graph_neighbors = graph_neighbors
        self.dropout = dropout
        self.max_section_spots = max_section_spots
        self.expression = expression
        self.trainer = trainer
        self.retriever = retriever
        self.random_state = random_state

    def predict(self, X):
        """Predict expression, as `predict_by` says: see DecoderMixin and RetrievalMixin."""
        self._validate_params()  # predict_by may have been set after fit
        by = DecoderMixin if self.predict_by == "decoder" else RetrievalMixin
        return by.predict(self, X)

    def _default_expression(self):
        return ExpressionTransformer(log="log10")

    def _describe(self, target):
        if not target.from_adata:
            return {}
        counts = ExpressionTransformer(self.genes_, normalize=None, log=None).fit_transform(target)
        totals = np.maximum(counts.sum(axis=1), 1)  # a mean times 0 has no logarithm
        return {"counts": counts, "size_factors": totals / _section_medians(target, totals)}

    def _make_module(self, n_features, n_genes, grid_shape):
        return Reg2STModule(
            n_features,
            n_genes,
            grid_shape,
            self.hidden_dim,
            n_layers=self.n_layers,
            n_heads=self.n_heads,
            n_partners=self.graph_neighbors,
            dropout=self.dropout,
        )

    def _default_trainer(self):
        return Trainer(
            max_epochs=400,
            lr=1e-4,
            weight_decay=0.01,
            optimizer="adamw",
            schedule="cosine",
            warmup_epochs=10,
            min_lr=1e-6,
        )

    def _default_retriever(self):
        return SpotRetriever(200, weights="inverse_l2", metric="cosine")


def _section_medians(target, totals):
    """The median total of each spot's section."""
    section = np.zeros(len(totals)) if target.section is None else target.section
    medians = np.empty_like(totals)
    for name in np.unique(section):
        medians[section == name] = np.median(totals[section == name])
    return medians
