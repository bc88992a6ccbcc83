"""ExpressionTargetRegressor: scikit-learn's regressors on an AnnData target."""

import pickle

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from sklearn.base import clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVR
from sklearn.utils.estimator_checks import parametrize_with_checks

from histoexpr.exceptions import InputError
from histoexpr.methods import ExpressionTargetRegressor
from histoexpr.preprocessing import ExpressionTransformer

REGRESSORS = [
    Ridge(),
    PLSRegression(2),
    KNeighborsRegressor(3),
    DummyRegressor(),
    make_pipeline(StandardScaler(), Ridge()),
    MultiOutputRegressor(SVR()),
]


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 5))
    adata = AnnData(
        rng.poisson(5.0, size=(40, 7)).astype(np.float32),
        obs=pd.DataFrame({"patient": list("AABB") * 10}, index=map(str, range(40))),
        var=pd.DataFrame(index=list("abcdefg")),
    )
    return features, adata


@parametrize_with_checks([ExpressionTargetRegressor(Ridge())])
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("regressor", REGRESSORS, ids=lambda regressor: str(regressor)[:24])
def test_predicts_what_the_regressor_predicts(data, regressor):
    features, adata = data
    model = ExpressionTargetRegressor(regressor, ExpressionTransformer(list("gab")))
    predicted = model.fit(features, adata).predict(features)
    truth = ExpressionTransformer(list("gab")).fit_transform(adata)
    np.testing.assert_allclose(predicted, clone(regressor).fit(features, truth).predict(features))
    assert predicted.shape == (40, 3)
    assert model.genes_.tolist() == list("gab")
    assert not hasattr(regressor, "n_features_in_")


@pytest.mark.parametrize("regressor", [*REGRESSORS, SVR()], ids=lambda r: str(r)[:24])
def test_a_single_gene_is_still_a_column(data, regressor):
    features, adata = data
    model = ExpressionTargetRegressor(regressor, ExpressionTransformer(["b"], normalize=None))
    assert model.fit(features, adata).predict(features).shape == (40, 1)
    model = ExpressionTargetRegressor(regressor).fit(features, np.arange(40.0))
    assert model.predict(features).shape == (40,)


def test_images_reach_a_pipeline(data):
    _, adata = data
    images = np.random.default_rng(1).integers(0, 256, size=(40, 8, 8, 3), dtype=np.uint8)
    mean_colour = FunctionTransformer(lambda patches: patches.mean(axis=(1, 2)))
    model = ExpressionTargetRegressor(make_pipeline(mean_colour, Ridge())).fit(images, adata)
    assert model.predict(images).shape == (40, 7)


def test_cross_val_predict_takes_an_adata(data):
    features, adata = data
    predicted = cross_val_predict(
        ExpressionTargetRegressor(Ridge()),
        features,
        adata,
        groups=adata.obs["patient"],
        cv=GroupKFold(2),
    )
    assert predicted.shape == (40, 7)
    rows = (adata.obs["patient"] == "A").to_numpy()
    by_hand = ExpressionTargetRegressor(Ridge()).fit(features[~rows], adata[~rows])
    np.testing.assert_allclose(predicted[rows], by_hand.predict(features[rows]))


def test_features_are_those_of_the_regressor(data):
    features, adata = data
    model = ExpressionTargetRegressor(Ridge())
    assert not hasattr(model, "n_features_in_")
    frame = pd.DataFrame(features, columns=list("vwxyz"))
    assert model.fit(frame, adata).feature_names_in_.tolist() == list("vwxyz")
    assert model.n_features_in_ == 5
    assert not hasattr(model.fit(features, adata), "feature_names_in_")
    with pytest.raises(ValueError, match="4 features"):
        model.predict(features[:, 1:])


def test_parameters_of_the_parts_can_be_set():
    model = ExpressionTargetRegressor(Ridge(), ExpressionTransformer())
    model.set_params(regressor__alpha=3.0, expression__log="log10")
    assert model.regressor.alpha == 3.0
    assert clone(model).expression.log == "log10"


def test_pickle_predicts_the_same(data):
    features, adata = data
    model = ExpressionTargetRegressor(KNeighborsRegressor()).fit(features, adata)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(features), model.predict(features))
    assert again.units_ == model.units_


def test_bad_input(data):
    features, adata = data
    with pytest.raises(ValueError, match="X has 39 spots and y has 40"):
        ExpressionTargetRegressor(Ridge()).fit(features[1:], adata)
    with pytest.raises(ValueError, match="predicts one output.*7 genes.*MultiOutputRegressor"):
        ExpressionTargetRegressor(SVR()).fit(features, adata)
    with pytest.raises(ValueError, match="'regressor' parameter"):
        ExpressionTargetRegressor("ridge").fit(features, adata)
    with pytest.raises(ValueError, match="'expression' parameter"):
        ExpressionTargetRegressor(Ridge(), ["a"]).fit(features, adata)
    logged = adata.copy()
    logged.X = np.log1p(adata.X)
    with pytest.raises(ValueError, match="already normalised or logged"):
        ExpressionTargetRegressor(Ridge()).fit(features, logged)


def test_a_refused_fit_leaves_the_earlier_one(data):
    features, adata = data
    model = ExpressionTargetRegressor(Ridge()).fit(features, adata)
    expected = model.predict(features)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(features * np.nan, adata[:, :3])
    np.testing.assert_array_equal(model.predict(features), expected)
    assert len(model.genes_) == 7


def test_what_the_regressor_refuses_is_of_the_family(data):
    features, adata = data
    model = ExpressionTargetRegressor(Ridge()).fit(features, adata)
    for X in (features[:0], features[:, :2], features.astype(str), features * np.nan):
        with pytest.raises(InputError):
            model.predict(X)
    with pytest.raises(InputError, match="NaN"):
        model.fit(features * np.nan, adata)
