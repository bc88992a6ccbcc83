"""All methods on the real her2st sections: everything but the scores, which examples print."""

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from histoexpr import (
    GR2ST,
    ExpressionTransformer,
    MclSTExp,
    Reg2ST,
    SpotFeatures,
    STco,
    StInfer,
    TextureFeaturizer,
    Trainer,
)
from histoexpr.datasets import load_her2st
from histoexpr.metrics import pearson_scorer


@pytest.fixture(scope="module")
def sections(shared):
    """Sections of both patients with texture features of small patches; the papers' panel."""
    images, adata = load_her2st(
        shared / "data" / "her2st", ["B4", "C2", "C3"], patch_size="155um", out_px=48
    )
    features = TextureFeaturizer(("stain", "nuclei")).fit_transform(images)
    features = StandardScaler().fit_transform(features).astype(np.float32)
    genes = (shared / "data" / "panels" / "her2st_785.txt").read_text().split()
    return images, SpotFeatures.of(images, features), adata, genes


def methods(genes):
    usual = {
        "featurizer": None,
        "expression": ExpressionTransformer(genes),
        "trainer": Trainer(max_epochs=1),
        "random_state": 0,
    }
    return {
        "STco": STco(**usual),
        "MclSTExp": MclSTExp(n_heads=2, head_dim=16, **usual),
        "GR2ST": GR2ST(n_heads=2, projection_dim=32, **usual),
        "StInfer": StInfer(**usual),
        "StInfer regression": StInfer(predict_by="regression", **usual),
        "Reg2ST": Reg2ST(hidden_dim=32, n_layers=1, **usual),
        "Reg2ST retrieval": Reg2ST(predict_by="retrieval", hidden_dim=32, n_layers=1, **usual),
    }


@pytest.mark.parametrize("name", methods([]))
def test_real_sections(name, sections, tmp_path):
    images, X, adata, genes = sections
    test = (adata.obs["section"] == "C2").to_numpy()
    model = clone(methods(genes)[name]).fit(X[~test], adata[~test])
    predicted = model.predict_adata(X[test])
    assert predicted.shape == (187, 785) and np.isfinite(predicted.X).all()
    np.testing.assert_allclose(predicted.obsm["spatial"], adata.obsm["spatial"][test])
    assert model.kneighbors(X[test], 7)[1].shape == (187, 7)
    joblib.dump(model, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(loaded.predict(X[test]), predicted.X)
    scores = cross_val_score(
        methods(genes)[name],
        X,
        adata,
        groups=adata.obs["patient"],
        cv=GroupKFold(2),
        scoring=pearson_scorer,
        error_score="raise",
    )
    assert np.isfinite(scores).all()
    if name.startswith("Reg2ST"):  # a PCA would lose the positions: it goes into featurizer=
        inner = make_pipeline(TextureFeaturizer(("stain",)), PCA(5))
        pipeline = methods(genes)[name].set_params(featurizer=inner)
        assert np.isfinite(pipeline.fit(images[~test], adata[~test]).predict(images[test])).all()
    else:
        pipeline = make_pipeline(PCA(5), methods(genes)[name])
        assert np.isfinite(pipeline.fit(X[~test], adata[~test]).predict(X[test])).all()
