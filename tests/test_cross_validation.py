"""scikit-learn's tools with an AnnData target: no patient on both sides, any number of jobs."""

import joblib
import numpy as np
import pytest
import torch
from processes import forked_jobs, in_a_fresh_process
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from histoexpr import (
    ExpressionTargetRegressor,
    SpotRetriever,
    STco,
    TextureFeaturizer,
    TimmFeaturizer,
    Trainer,
)
from histoexpr.metrics import pearson_scorer

QUICK = Trainer(max_epochs=3)


@pytest.fixture(autouse=True)
def jobs():
    """Other tests (metrics/test_scorer.py, data/test_patches.py) run on joblib's default."""
    with forked_jobs():
        yield


def stco(**settings):
    return STco(featurizer=None, trainer=QUICK, random_state=0, **settings)


def on_images():
    return make_pipeline(TextureFeaturizer(), StandardScaler(), stco(retriever=SpotRetriever()))


@pytest.fixture(scope="module")
def features(cohort):
    return StandardScaler().fit_transform(TextureFeaturizer().fit_transform(cohort[0]))


class Witness(RegressorMixin, BaseEstimator):
    """Notes whom it was trained on, and refuses to predict anyone of them."""

    def fit(self, X, y):
        assert len(X) == len(y)
        self.patients_ = set(X.patient)
        assert self.patients_ == set(y.obs["patient"])
        return self

    def predict(self, X):
        met = self.patients_ & set(X.patient)
        if met:
            raise AssertionError(f"patients {met} stand on both sides")
        return np.zeros((len(X), 1))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_no_patient_stands_on_both_sides(cohort, n_jobs):
    images, adata = cohort
    predicted = cross_val_predict(
        Witness(), images, adata, groups=adata.obs["patient"], cv=GroupKFold(3), n_jobs=n_jobs
    )
    assert len(predicted) == len(images)
    with pytest.raises(AssertionError, match="both sides"):
        cross_val_predict(Witness(), images, adata, cv=3)  # the witness does see leakage


def test_cross_val_score_on_images(cohort):
    images, adata = cohort
    settings = dict(groups=adata.obs["patient"], cv=GroupKFold(3), scoring=pearson_scorer)
    one, two = (
        cross_val_score(on_images(), images, adata, n_jobs=n_jobs, **settings) for n_jobs in (1, 2)
    )
    assert one.shape == (3,) and np.isfinite(one).all()
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_cross_val_predict_and_default_score(cohort, features):
    _, adata = cohort
    settings = dict(groups=adata.obs["patient"], cv=GroupKFold(3))
    one, two = (
        cross_val_predict(stco(), features, adata, n_jobs=n_jobs, **settings) for n_jobs in (1, 2)
    )
    assert one.shape == adata.shape
    np.testing.assert_allclose(one, two, atol=1e-5)
    r2 = cross_validate(stco(), features, adata, error_score="raise", **settings)["test_score"]
    assert np.isfinite(r2).all()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_over_a_collaborator(cohort, n_jobs):
    images, adata = cohort
    search = GridSearchCV(
        on_images(),
        {"stco__retriever__n_neighbors": [1, 10]},
        cv=GroupKFold(3),
        scoring=pearson_scorer,
        n_jobs=n_jobs,
        error_score="raise",
    )
    search.fit(images, adata, groups=adata.obs["patient"])
    k = search.best_params_["stco__retriever__n_neighbors"]
    assert search.best_estimator_[-1].retriever_.n_neighbors == k
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all() and scores[0] != scores[1]
    assert search.predict(images[:4]).shape == (4, adata.n_vars)
    assert np.isfinite(pearson_scorer(search, images[:20], adata[:20]))


def test_baselines_run_through_the_same_folds(cohort, features):
    _, adata = cohort
    scores = cross_val_score(
        ExpressionTargetRegressor(Ridge(100.0)),
        features,
        adata,
        groups=adata.obs["patient"],
        cv=GroupKFold(3),
        scoring=pearson_scorer,
    )
    assert scores.mean() > 0.2


def test_train_test_split_keeps_rows_together(cohort):
    images, adata = cohort
    train_images, test_images, train, test = train_test_split(images, adata, random_state=0)
    for X, y in ((train_images, train), (test_images, test)):
        np.testing.assert_array_equal(X.section, y.obs["section"])
        np.testing.assert_allclose(X.spatial, y.obsm["spatial"])


def test_same_seed_same_predictions_to_the_bit(cohort, features):
    _, adata = cohort
    first, second = (stco().fit(features, adata).predict(features) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def load_and_predict(path, n_threads):
    torch.set_num_threads(n_threads)
    model, images = joblib.load(path)
    return model.predict(images)


def test_a_fresh_process_predicts_the_same_to_the_bit(cohort, tmp_path):
    images, adata = cohort
    model = STco(
        TimmFeaturizer("test_resnet", pretrained=False), trainer=QUICK, random_state=0
    ).fit(images, adata)
    path = tmp_path / "model.joblib"
    joblib.dump((model, images[:10]), path)
    predicted = in_a_fresh_process(load_and_predict, path, torch.get_num_threads())
    np.testing.assert_array_equal(predicted, model.predict(images[:10]))


def test_the_file_holds_neither_images_nor_backbone(cohort, tmp_path):
    images, adata = cohort

    def size(**settings):
        backbone = TimmFeaturizer("test_resnet", pretrained=False, **settings)
        model = STco(backbone, projection_dim=16, trainer=Trainer(max_epochs=1), random_state=0)
        model.fit(images, adata)
        joblib.dump(model, tmp_path / "model.joblib")
        return model, (tmp_path / "model.joblib").stat().st_size

    model, bytes_without = size()
    heads = sum(p.numel() for p in model.module_.parameters()) * 4
    spots = model.retriever_.embeddings_.nbytes + model.retriever_.targets_.nbytes
    assert bytes_without < heads + spots + 50_000 < np.asarray(images).nbytes
    backbone, bytes_with = size(store_weights_in_pickle=True)
    assert bytes_with > bytes_without + 500_000
