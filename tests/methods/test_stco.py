"""STco as a user meets it: images and an AnnData in, expression out, and clear refusals."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.dummy import DummyRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from histoexpr import (
    ExpressionTransformer,
    SpotRetriever,
    STco,
    TextureFeaturizer,
    TimmFeaturizer,
    Trainer,
)
from histoexpr.metrics import pearson_per_gene, pearson_scorer

QUICK = Trainer(max_epochs=3)


def tiny_backbone(**settings):
    return TimmFeaturizer("test_resnet", pretrained=False, input_size=32, **settings)


@pytest.fixture(scope="module")
def split(cohort):
    images, adata = cohort
    test = (adata.obs["patient"] == adata.obs["patient"].iloc[-1]).to_numpy()
    return images[~test], adata[~test].copy(), images[test], adata[test].copy()


@pytest.fixture(scope="module")
def fitted(split):
    images, adata, _, _ = split
    return STco(tiny_backbone(), trainer=QUICK, random_state=0).fit(images, adata)


@pytest.fixture(scope="module")
def features(split):
    images, _, new_images, _ = split
    scaler = StandardScaler()
    texture = TextureFeaturizer()
    return scaler.fit_transform(texture.fit_transform(images)), scaler.transform(
        texture.transform(new_images)
    )


def test_fit_predict(fitted, split):
    images, adata, new_images, _ = split
    predicted = fitted.predict(new_images)
    assert predicted.shape == (len(new_images), adata.n_vars)
    assert predicted.dtype == np.float32 and np.isfinite(predicted).all()
    assert list(fitted.genes_) == list(adata.var_names)
    assert fitted.units_ == "log1p of counts per 10,000 over the panel, by spot"
    assert len(fitted.history_) == 3
    # A weighted mean of training spots stays within what they measured.
    assert predicted.max() <= fitted.retriever_.targets_.max()


def test_plain_uint8_images_are_images(fitted, split):
    _, _, new_images, _ = split
    plain = fitted.predict(np.asarray(new_images))
    np.testing.assert_array_equal(plain, fitted.predict(new_images))


def test_prediction_does_not_depend_on_what_comes_along(fitted, split):
    _, _, new_images, _ = split
    whole = fitted.predict(new_images)
    order = np.random.default_rng(0).permutation(len(new_images))
    np.testing.assert_allclose(fitted.predict(new_images[order]), whole[order], atol=1e-5)
    np.testing.assert_allclose(fitted.predict(new_images[:1]), whole[:1], atol=1e-5)


def test_predict_adata_says_what_and_where(fitted, split, tmp_path):
    from anndata import read_h5ad

    _, _, new_images, new_adata = split
    fitted.predict_adata(new_images).write_h5ad(tmp_path / "predicted.h5ad")
    predicted = read_h5ad(tmp_path / "predicted.h5ad")
    np.testing.assert_array_equal(predicted.X, fitted.predict(new_images))
    np.testing.assert_allclose(predicted.obsm["spatial"], new_adata.obsm["spatial"])
    assert list(predicted.obs["section"]) == list(new_adata.obs["section"])
    assert predicted.uns["histoexpr"]["model"] == "STco"
    assert predicted.uns["histoexpr"]["units"] == fitted.units_


def test_kneighbors_are_what_predictions_are_made_of(fitted, split):
    images, _, new_images, _ = split
    distances, neighbors = fitted.kneighbors(new_images)
    assert neighbors.shape == (len(new_images), min(200, len(images)))
    assert (np.diff(distances, axis=1) >= 0).all()
    weights = fitted.retriever_.neighbor_weights(fitted.embed_images(new_images))
    made = np.einsum("qk,qkg->qg", weights, fitted.retriever_.targets_[neighbors])
    np.testing.assert_allclose(fitted.predict(new_images), made, rtol=1e-4, atol=1e-5)
    assert fitted.kneighbors(new_images, 3, return_distance=False).shape == (len(new_images), 3)


def test_k_can_be_changed_after_fit(fitted, split):
    _, _, new_images, _ = split
    other = clone(fitted).set_params(retriever=SpotRetriever(5)).fit(split[0], split[1])
    before = fitted.retriever_.n_neighbors
    try:
        fitted.retriever_.n_neighbors = 5
        np.testing.assert_allclose(
            fitted.predict(new_images), other.predict(new_images), atol=1e-5
        )
    finally:
        fitted.retriever_.n_neighbors = before


def test_score_is_r2_on_the_expression(fitted, split):
    from sklearn.metrics import r2_score

    _, _, new_images, new_adata = split
    truth = fitted.expression_.transform(new_adata)
    assert fitted.score(new_images, new_adata) == pytest.approx(
        r2_score(truth, fitted.predict(new_images))
    )


def test_it_learns_what_carries_over_to_a_new_patient(features, split):
    _, adata, _, new_adata = split
    train, test = features
    model = STco(None, random_state=0, retriever=SpotRetriever(20))
    model.fit(train, adata)
    truth = model.expression_.transform(new_adata)
    assert np.nanmedian(pearson_per_gene(truth, model.predict(test))) > 0.25
    shuffled = adata[np.random.default_rng(0).permutation(len(adata))].copy()
    shuffled.obs_names = adata.obs_names
    model.fit(train, shuffled)
    assert np.nanmedian(pearson_per_gene(truth, model.predict(test))) < 0.1


def test_retrieved_expression_may_be_normalised_otherwise(features, split):
    _, adata, _, _ = split
    train, test = features
    returned = ExpressionTransformer(normalize="gene")
    model = STco(None, trainer=QUICK, retriever=SpotRetriever(expression=returned), random_state=0)
    model.fit(train, adata)
    plain = STco(None, trainer=QUICK, random_state=0).fit(train, adata)
    np.testing.assert_array_equal(model.embed_images(test), plain.embed_images(test))
    np.testing.assert_array_equal(
        model.retriever_.targets_, ExpressionTransformer(normalize="gene").fit_transform(adata)
    )
    assert model.expression_.normalize == "gene" and model.embedded_expression_.normalize == "spot"
    assert "by gene" in model.units_
    assert np.isfinite(pearson_scorer(model, test, split[3]))


def test_a_panel_holds_for_what_is_returned_too(features, split):
    _, adata, _, _ = split
    train, test = features
    panel = list(adata.var_names[[5, 2, 9]])
    model = STco(
        None,
        expression=ExpressionTransformer(panel),
        retriever=SpotRetriever(expression=ExpressionTransformer(normalize="gene")),
        trainer=QUICK,
        random_state=0,
    ).fit(train, adata)
    assert list(model.genes_) == panel and model.predict(test).shape == (len(test), 3)


def test_a_seed_decides_what_is_nested_too(split):
    from sklearn.decomposition import PCA

    images, adata, new_images, _ = split
    nested = make_pipeline(tiny_backbone(), PCA(4, svd_solver="randomized"))
    first, second = (
        STco(nested, trainer=QUICK, random_state=0).fit(images, adata).embed_images(new_images)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_numpys_global_generator_is_left_alone(features, split):
    before = np.random.get_state()[1].tolist()
    STco(None, trainer=QUICK).fit(features[0], split[1])
    assert np.random.get_state()[1].tolist() == before


def test_positions_take_part_in_the_embedding(features, split):
    _, adata, _, _ = split
    train, _ = features
    model = STco(None, trainer=QUICK, random_state=0).fit(train, adata)
    tables = model.module_.spot_encoder.position
    assert tables.col.num_embeddings == adata.obs["array_col"].max() + 1
    assert tables.row.num_embeddings == adata.obs["array_row"].max() + 1
    bare = adata.copy()
    del bare.obs["array_col"], bare.obs["array_row"]
    assert STco(None, trainer=QUICK).fit(train, bare).module_.spot_encoder.position is None


def test_users_objects_and_data_stay_as_they_are(split):
    images, adata, _, _ = split
    featurizer, trainer, retriever = tiny_backbone(), Trainer(max_epochs=1), SpotRetriever(4)
    expression = ExpressionTransformer()
    counts, obs = adata.X.copy(), adata.obs.copy()
    model = STco(
        featurizer,
        expression=expression,
        trainer=trainer,
        retriever=retriever,
        random_state=np.random.RandomState(0),
    )
    model.fit(images, adata)
    for own, users in (
        (model.featurizer_, featurizer),
        (model.trainer_, trainer),
        (model.retriever_, retriever),
        (model.expression_, expression),
    ):
        assert own is not users and not [name for name in vars(users) if name.endswith("_")]
    assert (adata.X != counts).nnz == 0 and adata.obs.equals(obs)


def test_pipeline_of_featurizer_and_method(split):
    images, adata, new_images, _ = split
    pipeline = make_pipeline(
        TextureFeaturizer(), StandardScaler(), STco(featurizer=None, trainer=QUICK, random_state=0)
    )
    whole = STco(
        make_pipeline(TextureFeaturizer(), StandardScaler()), trainer=QUICK, random_state=0
    )
    np.testing.assert_allclose(
        pipeline.fit(images, adata).predict(new_images),
        whole.fit(images, adata).predict(new_images),
        atol=1e-6,
    )


def refused(model, X, y, error, message):
    with pytest.raises(error, match=message):
        model.fit(X, y)
    assert not [name for name in vars(model) if name.endswith("_")], "a refused fit left traces"


def test_refusals(features, split):
    images, adata, _, _ = split
    train, _ = features
    model = STco(None, trainer=QUICK)
    n = len(adata)
    refused(model, train[:-1], adata, ValueError, f"X has {n - 1} spots and y has {n}")
    refused(model, images, adata, ValueError, "X holds images.*pass featurizer='densenet121'")
    refused(STco(tiny_backbone()), train, adata, ValueError, "featurizer=None")
    refused(
        STco(None, retriever=SpotRetriever(n + 1)), train, adata, ValueError,
        f"n_neighbors={n + 1} is larger than the number of training spots, {n}",
    )
    refused(
        STco(None, expression=ExpressionTransformer(["gene_000", "NOT_A_GENE"])),
        train, adata, ValueError, "NOT_A_GENE",
    )
    logged = adata.copy()
    logged.X = np.log1p(adata.X.toarray())
    refused(model, train, logged, ValueError, "not whole numbers")
    negative = adata.copy()
    negative.X = -adata.X
    refused(model, train, negative, ValueError, "negative")
    with_nan = train.copy()
    with_nan[3, 2] = np.nan
    refused(model, with_nan, adata, ValueError, "NaN")
    beyond = adata.copy()
    beyond.obs["array_col"] = -1
    refused(model, train, beyond, ValueError, "whole numbers of at least 0")
    renamed = adata.copy()
    renamed.obs["section"] = "Z" + renamed.obs["section"].astype(str)
    refused(STco(tiny_backbone()), images, renamed, ValueError, "not the same spots.*section")
    swapped = adata[::-1].copy()
    refused(STco(tiny_backbone()), images, swapped, ValueError, "not the same spots")
    refused(STco(None, trainer="fast"), train, adata, ValueError, "'trainer' parameter of STco")
    refused(STco(None, retriever=DummyRegressor()), train, adata, ValueError, "'retriever'")


class Careless(TransformerMixin, BaseEstimator):
    """A featurizer that loses a row, or makes NaN."""

    def __init__(self, rows=None, value=0.0):
        self.rows = rows
        self.value = value

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.full((len(X), 3), self.value)[: self.rows]


def test_a_featurizer_is_not_taken_on_trust(split):
    images, adata, _, _ = split
    n = len(images)
    refused(STco(Careless(rows=-1)), images, adata, ValueError, f"gave {n - 1} rows .* {n} images")
    refused(STco(Careless(value=np.nan)), images, adata, ValueError, "features contains NaN")


class Untouchable(Careless):
    def fit(self, X, y=None):
        raise AssertionError("features were computed before the refusal")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"trainer": Trainer(lr=0.0)}, "'lr' parameter of Trainer"),
        ({"trainer": Trainer(device="cuda:63")}, "no such device"),
        ({"retriever": SpotRetriever(weights="foo")}, "'weights' parameter of SpotRetriever"),
        ({"retriever": SpotRetriever(expression=ExpressionTransformer(["nope"]))}, "nope"),
    ],
)
def test_what_can_be_refused_is_refused_before_the_long_work(split, settings, message):
    refused(STco(Untouchable(), **settings), split[0], split[1], ValueError, message)


def test_patches_of_another_size_are_refused(fitted):
    with pytest.raises(ValueError, match="patches are 20 x 30 px, but fit saw 32 x 32 px"):
        fitted.predict(np.zeros((3, 20, 30, 3), np.uint8))


def test_a_refused_refit_keeps_the_earlier_fit(features, split):
    _, adata, _, _ = split
    train, test = features
    model = STco(None, trainer=QUICK, random_state=0).fit(train, adata)
    before = model.predict(test)
    with pytest.raises(ValueError, match="spots"):
        model.fit(train[:5], adata)
    np.testing.assert_array_equal(model.predict(test), before)


def test_features_of_another_width_are_refused(features, split):
    _, adata, _, _ = split
    train, test = features
    model = STco(None, trainer=QUICK, random_state=0).fit(train, adata)
    width = test.shape[1]
    with pytest.raises(ValueError, match=f"X has 3 features, but STco is expecting {width}"):
        model.predict(test[:, :3])


def test_predict_before_fit(split):
    from sklearn.exceptions import NotFittedError

    images = split[0]
    for call in ("predict", "predict_adata", "embed_images", "kneighbors"):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            getattr(STco(tiny_backbone()), call)(images)


def test_spots_without_counts_survive(features, split):
    _, adata, _, _ = split
    train, test = features
    empty = adata.copy()
    counts = empty.X.toarray()
    counts[3] = 0
    empty.X = counts
    model = STco(None, trainer=QUICK, random_state=0).fit(train, empty)
    assert np.isfinite(model.predict(test)).all()


def test_one_spot_and_one_gene(features, split):
    _, adata, _, _ = split
    train, test = features
    model = STco(None, trainer=QUICK, random_state=0).fit(train[:1], adata[:1, :1].copy())
    expected = np.broadcast_to(model.retriever_.targets_, (len(test), 1))
    np.testing.assert_allclose(model.predict(test), expected, rtol=1e-6)
