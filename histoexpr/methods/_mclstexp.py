"""mclSTExp: contrastive learning with attention across the spots of a section."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval

from ..base import BaseExpressionRegressor, RetrievalMixin
from ..nn import DualEncoder, ProjectionHead, SpotEncoder, Transformer
from ..retrieval import SpotRetriever
from ..training import Trainer
from ..utils import shared_docs


@shared_docs
class MclSTExp(RetrievalMixin, BaseExpressionRegressor):
    """mclSTExp: STco whose spots read each other, as the words of a sentence do.

    A spot's expression, with its place on the array added, passes two transformer blocks over
    all spots of its section before it is projected. Images, loss and retrieval are those of
    STco, with weights 1 / L1².

    Parameters
    ----------
    {featurizer}
    projection_dim : int, default=256
        Width of the embeddings.
    n_layers : int, default=2
        Transformer blocks.
    n_heads : int, default=8
        Attention heads of each block.
    head_dim : int, default=64
        Width of each head.
    temperature : float, default=1.0
        Divides the logits of the loss.
    dropout : float, default=0.0
        In the projection heads.
    {max_section_spots}
    {expression}
    trainer : Trainer or None, default=None
        None, and what it leaves unset, is the paper's: Adam, learning rate 1e-4, weight decay
        1e-3, 90 epochs. A batch is a section; `batch_size` has no effect.
    retriever : SpotRetriever or None, default=None
        None, and what it leaves unset, is the paper's: cosine search, 200 neighbours (clipped
        to the training spots), weights 1 / L1².
    {random_state}

    Attributes
    ----------
    module_ : histoexpr.nn.DualEncoder
    {fitted}

    Raises
    ------
    ValueError
        As in STco; also if a section is larger than `max_section_spots` and has no positions.

    Notes
    -----
    Departures from the authors' code:

    - The release attends over whatever 128 spots share a batch, and embeds in batches of 32 that
      cross sections, so that its result depends on the batch. Here spots attend over their
      section, in training and when they are embedded, and batches are sections.
    - The image encoder is frozen; the release trains all of DenseNet-121, with augmentation. As
      the release: ``featurizer=`` ``TimmFeaturizer("densenet121", mean=0.0, std=1.0,
      trainable=True, lr_scale=1.0, freeze_batch_norm=False, augment=PatchAugment())``;
      a batch is a section, which may need ``grad_checkpointing=True``.
    - Position tables are as long as the training data needs; the release has 65,536 rows.
    - The release ignores its dropout argument; here it is that of the projection heads.
    - Expression is returned as it is embedded, scaled by spot; see STco for the release's way.

    References
    ----------
    .. [1] Min et al. (2024), Multimodal contrastive learning for spatial gene expression
       prediction using histology images, Briefings in Bioinformatics.
    """

    _whole_sections = True

    _parameter_constraints = {
        **BaseExpressionRegressor._parameter_constraints,
        **RetrievalMixin._parameter_constraints,
        "projection_dim": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 0, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "head_dim": [Interval(Integral, 1, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "max_section_spots": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        featurizer="densenet121",
        *,
        projection_dim=256,
        n_layers=2,
        n_heads=8,
        head_dim=64,
        temperature=1.0,
        dropout=0.0,
        max_section_spots=4096,
        expression=None,
        trainer=None,
        retriever=None,
        random_state=None,
    ):
        self.featurizer = featurizer
        self.projection_dim = projection_dim
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.head_dim = head_dim
        self.temperature = temperature
        self.dropout = dropout
        self.max_section_spots = max_section_spots
        self.expression = expression
        self.trainer = trainer
        self.retriever = retriever
        self.random_state = random_state

    def _make_module(self, n_features, n_genes, grid_shape):
        context = Transformer(
            self.n_layers, n_genes, self.n_heads, self.head_dim, n_genes, bias=False
        )
        return DualEncoder(
            ProjectionHead(n_features, self.projection_dim, self.dropout),
            SpotEncoder(n_genes, grid_shape, self.projection_dim, self.dropout, context),
            self.temperature,
        )

    def _default_trainer(self):
        return Trainer(max_epochs=90, lr=1e-4, weight_decay=1e-3)

    def _default_retriever(self):
        return SpotRetriever(200, weights="inverse_l1", metric="cosine")
