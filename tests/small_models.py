"""Small models of every kind."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from histoexpr import (
    GR2ST,
    ContrastiveEnsemble,
    ExpressionTargetRegressor,
    ExpressionTransformer,
    LinearProbe,
    MclSTExp,
    NeighborFeatures,
    PatchAugment,
    Reg2ST,
    SpotFeatures,
    SpotRetriever,
    StainNormalizer,
    STco,
    StInfer,
    TextureFeaturizer,
    TimmFeaturizer,
    Trainer,
)

QUICK = Trainer(max_epochs=1, lr=1e-3)


def data():
    """Images, features that know their spots, and counts of three small sections."""
    from histoexpr.datasets import make_spatial_expression

    images, adata = make_spatial_expression(
        3, grid=(6, 6), mpp=2.0, out_px=32, n_genes=12, random_state=0
    )
    features = TextureFeaturizer().fit_transform(images)[:, :24]
    return images, SpotFeatures.of(images, features), adata


def timm(**settings):
    settings = {"input_size": 32, "random_state": 0, **settings}
    return TimmFeaturizer("test_resnet", pretrained=False, **settings)


def of_features():
    """One of each kind, small, on features that know their spots."""
    usual = dict(featurizer=None, trainer=QUICK, random_state=0)
    returned = SpotRetriever(expression=ExpressionTransformer(normalize="gene"))
    return {
        "STco": STco(projection_dim=16, retriever=returned, **usual),
        "MclSTExp": MclSTExp(projection_dim=16, n_heads=2, head_dim=4, **usual),
        "GR2ST": GR2ST(projection_dim=8, n_heads=2, graph_neighbors=4, **usual),
        "StInfer": StInfer(**usual),
        "StInfer regression": StInfer(predict_by="regression", projection_dim=16, **usual),
        "Reg2ST": Reg2ST(hidden_dim=16, n_layers=1, n_heads=2, **usual),
        "ContrastiveEnsemble": ContrastiveEnsemble(
            n_heads=2, n_components=8, cv=2, **usual
        ),
        "LinearProbe": LinearProbe(featurizer=None, n_components=8, cv=2, random_state=0),
        "Ridge": ExpressionTargetRegressor(make_pipeline(StandardScaler(), Ridge())),
        "KNN": ExpressionTargetRegressor(
            KNeighborsRegressor(3, algorithm="kd_tree"), ExpressionTransformer(log="log10")
        ),
        "SpotRetriever": SpotRetriever(5, metric="l2"),
    }


def of_images():
    """Those that take images."""
    kept = timm(store_weights_in_pickle=True)
    trained = timm(trainable=True, augment=PatchAugment(rotate=0))
    usual = dict(trainer=QUICK, random_state=0)
    return {
        "Pipeline": make_pipeline(
            StainNormalizer(random_state=np.random.RandomState(3)),
            kept,
            PCA(4),
            STco(None, **usual),
        ),
        "texture": StInfer(TextureFeaturizer(features=("stain",)), **usual),
        "around": StInfer(NeighborFeatures(timm()), **usual),
        "trained": STco(trained, projection_dim=16, **usual),
    }
