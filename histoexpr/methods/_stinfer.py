"""stInfer: retrieval in the space of image features, or a regression head on them."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions

from ..base import BaseExpressionRegressor, DecoderMixin, RetrievalMixin
from ..nn import FeatureSpace, RegressionHead
from ..retrieval import SpotRetriever
from ..training import Trainer
from ..utils import shared_docs
from ..utils._sklearn import check_is_fitted


@shared_docs
class StInfer(RetrievalMixin, DecoderMixin, BaseExpressionRegressor):
    """stInfer: the training spots whose images look alike, or a head on frozen features.

    ``predict_by="retrieval"`` learns nothing: a new image's features are compared with those of
    the training images, and the expression of the 1,000 nearest is averaged.

    Parameters
    ----------
    featurizer : str, transformer or None, default="resnet50"
        Images to features; the release knows vgg16, densenet121, resnet18 and
        resnet50. None: X holds features.
    predict_by : {"retrieval", "regression"}, default="retrieval"
        "regression" trains a projection head and a linear layer on the features.
    projection_dim : int, default=256
        Width of the regression head.
    dropout : float, default=0.5
        In the regression head.
    {expression}
    trainer : Trainer or None, default=None
        For the regression head. None, and what it leaves unset: Adam, learning rate 1e-3, no
        weight decay, cosine schedule, 100 epochs, batches of 128 spots.
    retriever : SpotRetriever or None, default=None
        None, and what it leaves unset: cosine search, 1,000 neighbours (clipped to the training
        spots), weights 1 - d / Σd.
    {random_state}

    Attributes
    ----------
    module_ : histoexpr.nn.FeatureSpace or histoexpr.nn.RegressionHead
    {fitted}

    Notes
    -----
    Departures from the authors' code:

    - The release's weights are (1 - d / Σd) / k with the sum over *all* queries and neighbours,
      not renormalised, so that a prediction depends on which queries come along. Here the sum is
      over a query's own neighbours, and weights sum to 1.
    - The release takes the log before it normalises, and by default raw counts and raw 0..255
      pixels; here as everywhere in this library.
    - The release computes its training features in training mode, so that BatchNorm drifts; here
      features are computed in evaluation mode.
    - The release switches its regression head off, and never steps its schedule; here the head
      is trained with the schedule, on frozen features. With the release's learning rates of
      1e-5 and 1e-3: ``TimmFeaturizer("resnet50", trainable=True, lr_scale=0.01)``.
    """

    _parameter_constraints = {
        **BaseExpressionRegressor._parameter_constraints,
        **RetrievalMixin._parameter_constraints,
        "predict_by": [StrOptions({"retrieval", "regression"})],
        "projection_dim": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        featurizer="resnet50",
        *,
        predict_by="retrieval",
        projection_dim=256,
        dropout=0.5,
        expression=None,
        trainer=None,
        retriever=None,
        random_state=None,
    ):
        self.featurizer = featurizer
        self.predict_by = predict_by
        self.projection_dim = projection_dim
        self.dropout = dropout
        self.expression = expression
        self.trainer = trainer
        self.retriever = retriever
        self.random_state = random_state

    def predict(self, X):
        """Predict expression as `predict_by` said at fit: see RetrievalMixin, DecoderMixin."""
        check_is_fitted(self)
        by = RetrievalMixin if isinstance(self.module_, FeatureSpace) else DecoderMixin
        return by.predict(self, X)

    @property
    def _learns(self):
        return self.predict_by == "regression"

    @property
    def _decodes(self):
        return self.predict_by == "regression"

    def _make_module(self, n_features, n_genes, grid_shape):
        if self.predict_by == "retrieval":
            return FeatureSpace()
        return RegressionHead(n_features, n_genes, self.projection_dim, self.dropout)

    def _default_trainer(self):
        return Trainer(
            max_epochs=100, batch_size=128, lr=1e-3, weight_decay=0.0, schedule="cosine"
        )

    def _default_retriever(self):
        return SpotRetriever(1000, weights="linear", metric="cosine")
