"""One `random_state` decides everything: see docs/reliability.md for what holds how exactly."""

import functools
import random

import anndata
import joblib
import numpy as np
import pytest
import small_models
import torch
from sklearn.base import clone

from histoexpr import ContrastiveEnsemble, LinearProbe, SpotFeatures, SpotPatches, SpotRetriever
from histoexpr.model_selection import Method, PatientOut, benchmark

# What learns nothing of sections does not know them.
FOREIGN = {"Ridge", "KNN", "SpotRetriever"}


def models():
    """One of each kind, whose predictions are made of few spots, so that each of them counts."""
    found = small_models.of_features() | small_models.of_images()
    for name, model in found.items():
        final = model[-1] if name == "Pipeline" else model
        if "retriever" in final.get_params(deep=False):
            given = final.retriever or SpotRetriever()
            final.set_params(retriever=clone(given).set_params(n_neighbors=3))
    return found


MODELS = models()


def backwards(names):
    """Rows with the sections (or patients) in reverse order, the spots of each as they were."""
    return np.concatenate([np.flatnonzero(names == name) for name in np.unique(names)[::-1]])


@pytest.fixture(scope="module")
def data():
    return small_models.data()


@pytest.fixture(scope="module")
def of(data):
    """The X and y of a kind of model."""
    images, features, adata = data
    return lambda name: (images if name in small_models.of_images() else features, adata)


@pytest.fixture(scope="module")
def fitted(of):
    """Each kind of model, fitted once."""
    return functools.cache(lambda name: clone(MODELS[name]).fit(*of(name)))


@pytest.mark.parametrize("name", MODELS)
def test_the_same_seed_gives_the_same_bits(name, of, fitted):
    X, adata = of(name)
    expected = fitted(name).predict(X)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    np.testing.assert_array_equal(clone(MODELS[name]).fit(X, adata).predict(X), expected)


@pytest.mark.parametrize("name", sorted(set(MODELS) - FOREIGN))
def test_the_order_of_sections_does_not_matter(name, of, fitted):
    X, adata = of(name)
    rows = backwards(adata.obs["section"].to_numpy())
    model = clone(MODELS[name]).fit(X[rows], adata[rows])
    np.testing.assert_allclose(model.predict(X), fitted(name).predict(X), rtol=0, atol=1e-5)
    if hasattr(model, "kneighbors"):
        one, two = (m.kneighbors(X, 1, return_distance=False) for m in (model, fitted(name)))
        np.testing.assert_array_equal(rows[one], two)


def test_threads_that_train_at_once_do_not_draw_each_others_numbers(of):
    """torch has one generator for all of them."""
    name = "StInfer regression"  # with dropout
    X, adata = of(name)
    models = joblib.Parallel(4, backend="threading")(
        joblib.delayed(clone(MODELS[name]).set_params(trainer__max_epochs=3).fit)(X, adata)
        for _ in range(8)
    )
    for model in models[1:]:
        np.testing.assert_array_equal(model.predict(X), models[0].predict(X))


@pytest.mark.parametrize("model", [LinearProbe, ContrastiveEnsemble])
def test_patients_stand_for_sections_that_are_not_named(model, data):
    _, features, adata = data
    bare = adata.copy()
    del bare.obs["section"]
    X = SpotFeatures(np.asarray(features))
    settings = {"featurizer": None, "n_components": 4, "cv": 2, "random_state": 0}
    if model is ContrastiveEnsemble:
        settings |= {"n_heads": 1, "trainer": small_models.QUICK}
    expected = model(**settings).fit(X, bare).predict(X)
    rows = backwards(bare.obs["patient"].to_numpy())
    found = model(**settings).fit(X[rows], bare[rows]).predict(X)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_benchmark_does_not_depend_on_the_order_of_sections(data):
    _, features, adata = data
    methods = {"STco": MODELS["STco"], "probe": Method(MODELS["LinearProbe"], shuffled="all")}

    def scores(rows):
        table = benchmark(methods, features[rows], adata[rows], PatientOut(), controls=False)
        return table.set_index(["method", "section", "gene"])["pearson"].sort_index()

    one, two = scores(slice(None)), scores(backwards(adata.obs["section"].to_numpy()))
    np.testing.assert_allclose(one, two.loc[one.index], rtol=0, atol=1e-5)


def test_after_a_round_trip_through_disk(data, tmp_path):
    images, _, adata = data
    model = MODELS["trained"]
    expected = clone(model).fit(images, adata).predict(images)
    adata.write_h5ad(tmp_path / "counts.h5ad")
    np.save(tmp_path / "patches.npy", np.asarray(images))
    read = anndata.read_h5ad(tmp_path / "counts.h5ad")
    known = {name: getattr(images, name) for name in ("section", "patient", "positions")}
    patches = SpotPatches.from_arrays(np.load(tmp_path / "patches.npy", mmap_mode="r"), **known)
    np.testing.assert_array_equal(clone(model).fit(patches, read).predict(patches), expected)
