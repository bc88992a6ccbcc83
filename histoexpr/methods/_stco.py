"""STco: contrastive learning of patches and spots, prediction by retrieval."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval

from ..base import BaseExpressionRegressor, RetrievalMixin
from ..nn import DualEncoder, ProjectionHead, SpotEncoder
from ..retrieval import SpotRetriever
from ..training import Trainer
from ..utils import shared_docs


@shared_docs
class STco(RetrievalMixin, BaseExpressionRegressor):
    """STco: images and spots are embedded into one space, in which new images find spots.

    Image features and measured expression (with the spot's place on the array added) pass a
    projection head each, trained by a symmetric contrastive loss over the spots of a batch. A
    new image is embedded, its 200 nearest training spots are found, and their expression is
    averaged with weights 1 / L2².

    Parameters
    ----------
    {featurizer}
    projection_dim : int, default=256
        Width of the embeddings.
    temperature : float, default=1.0
        Divides the logits of the loss.
    dropout : float, default=0.0
        In the projection heads.
    {expression}
    trainer : Trainer or None, default=None
        None, and what it leaves unset, is the paper's: Adam, learning rate 1e-4, weight decay
        1e-3, 100 epochs, batches of 128 spots.
    retriever : SpotRetriever or None, default=None
        None, and what it leaves unset, is the paper's: cosine search, 200 neighbours (clipped
        to the training spots), weights 1 / L2².
    {random_state}

    Attributes
    ----------
    module_ : histoexpr.nn.DualEncoder
    {fitted}

    Notes
    -----
    Departures from the authors' code:

    - The image encoder is frozen, which a laptop can do; the release trains all layers of
      DenseNet-121, with augmentation, on pixels scaled to 0..1 and not standardised. As the
      release: ``featurizer=`` ``TimmFeaturizer("densenet121", mean=0.0, std=1.0,
      trainable=True, lr_scale=1.0, freeze_batch_norm=False, augment=PatchAugment())``.
    - The tables of array positions are as long as the training data needs; the release has 128
      rows. Rows that no spot uses have no part in the loss.
    - The release returns expression scaled by gene over a section, while it embeds expression
      scaled by spot. By default both are scaled by spot, because a spot's depth is not biology.
      ``SpotRetriever(expression=ExpressionTransformer(normalize="gene"))`` does as the release.

    References
    ----------
    .. [1] STco, released code: https://github.com/ZhicengShi/STco. What is taken from it, and
       how it is checked, stands in docs/methods.md.

    Examples
    --------
    >>> import histoexpr
    >>> images, adata = histoexpr.datasets.make_spatial_expression(random_state=0)
    >>> model = histoexpr.STco(featurizer=histoexpr.TextureFeaturizer(), random_state=0)
    >>> model.fit(images, adata).predict(images).shape == adata.shape
    True
    """

    _parameter_constraints = {
        **BaseExpressionRegressor._parameter_constraints,
        **RetrievalMixin._parameter_constraints,
        "projection_dim": [Interval(Integral, 1, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        featurizer="densenet121",
        *,
        projection_dim=256,
        temperature=1.0,
        dropout=0.0,
        expression=None,
        trainer=None,
        retriever=None,
        random_state=None,
    ):
        self.featurizer = featurizer
        self.projection_dim = projection_dim
        self.temperature = temperature
        self.dropout = dropout
        self.expression = expression
        self.trainer = trainer
        self.retriever = retriever
        self.random_state = random_state

    def _make_module(self, n_features, n_genes, grid_shape):
        return DualEncoder(
            ProjectionHead(n_features, self.projection_dim, self.dropout),
            SpotEncoder(n_genes, grid_shape, self.projection_dim, self.dropout),
            self.temperature,
        )

    def _default_trainer(self):
        return Trainer(max_epochs=100, batch_size=128, lr=1e-4, weight_decay=1e-3)

    def _default_retriever(self):
        return SpotRetriever(200, weights="inverse_l2", metric="cosine")
