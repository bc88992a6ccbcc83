"""The bar: its penalty is chosen on groups of the training spots, and it learns."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from histoexpr import LinearProbe, SpotFeatures, TextureFeaturizer
from histoexpr._folds import training_folds
from histoexpr.data import unpack_target
from histoexpr.datasets import make_spatial_expression
from histoexpr.metrics import mean_pearson


@pytest.fixture(scope="module")
def cohort():
    images, adata = make_spatial_expression(grid=(8, 8), mpp=2.0, out_px=32, random_state=0)
    return SpotFeatures.of(images, TextureFeaturizer().fit_transform(images)), adata


def test_learns_from_other_patients(cohort):
    features, adata = cohort
    test = (adata.obs["patient"] == adata.obs["patient"].iloc[0]).to_numpy()
    probe = LinearProbe(None, random_state=0).fit(features[~test], adata[~test])
    truth = probe.expression_.transform(adata[test])
    assert mean_pearson(truth, probe.predict(features[test])) > 0.3
    shuffled = np.random.default_rng(0).permutation(np.flatnonzero(~test))
    wrong = clone(probe).fit(np.asarray(features[~test]), adata[shuffled])
    assert abs(mean_pearson(truth, wrong.predict(features[test]))) < 0.15


def test_the_penalty_is_the_best_on_patients_left_out(cohort):
    features, adata = cohort
    patient = adata.obs["patient"].to_numpy()
    probe = LinearProbe(None, alphas=[1e-3, 1e2, 1e7], random_state=0).fit(features, adata)
    scaled = probe.regressor_[:-1].transform(np.asarray(features))
    truth = probe.expression_.transform(adata)
    scores = {}
    for alpha in probe.alphas:
        held_out = []
        for test in (patient == name for name in np.unique(patient)):
            ridge = Ridge(alpha).fit(scaled[~test], truth[~test])
            held_out.append(mean_pearson(truth[test], ridge.predict(scaled[test])))
        scores[alpha] = np.mean(held_out)
    assert probe.alpha_ == max(scores, key=scores.get)
    assert len(set(np.round(list(scores.values()), 2))) == 3  # the choice matters here


def test_its_ridge_is_scikit_learns(cohort):
    features, adata = cohort
    probe = LinearProbe(None, n_components=10_000, alphas=[50.0], random_state=0)
    probe.fit(features, adata)
    plain = make_pipeline(StandardScaler(), Ridge(50.0))
    plain.fit(np.asarray(features), probe.expression_.transform(adata))
    expected = plain.predict(np.asarray(features))
    np.testing.assert_allclose(probe.predict(features), expected, atol=2e-3)


def test_same_seed_same_probe(cohort):
    features, adata = cohort
    one, two = (LinearProbe(None, random_state=3).fit(features, adata) for _ in range(2))
    np.testing.assert_array_equal(one.predict(features), two.predict(features))


def groups_left_out(folds, groups):
    return sorted(sorted(set(groups[test])) for _, test in folds)


def test_folds_leave_out_patients_then_sections_then_blocks(cohort):
    features, adata = cohort
    target = unpack_target(adata)
    patient, section = adata.obs["patient"].to_numpy(), adata.obs["section"].to_numpy()
    folds = training_folds(target, 10, seed=0)
    assert groups_left_out(folds, patient) == [[name] for name in np.unique(patient)]
    one = unpack_target(adata[patient == patient[0]])
    blocks = training_folds(one, 4, seed=0)
    assert len(set(section[patient == patient[0]])) == 1 and len(blocks) == 4
    for train, test in blocks:
        # a block lies together: most neighbours of its spots are its own
        apart = np.abs(one.positions[test][:, None] - one.positions[train]).max(-1).min(1)
        assert (apart > 1).mean() > 0.2


@pytest.mark.parametrize("n_spots", [2, 3, 7])
def test_folds_of_few_spots_use_every_spot_once(n_spots):
    folds = training_folds(unpack_target(np.ones((n_spots, 2))), 5, seed=0)
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(n_spots))
    with pytest.raises(ValueError, match="at least 2 spots"):
        training_folds(unpack_target(np.ones((1, 2))), 5, seed=0)


def test_a_fit_that_fails_leaves_the_probe_as_it_was(cohort):
    features, adata = cohort
    probe = LinearProbe(None, random_state=0).fit(features, adata)
    before = probe.predict(features[:3])
    with pytest.raises(ValueError, match="X has 5 spots and y has"):
        probe.fit(features[:5], adata)
    for alphas in (np.array(2.0), [], [-1.0], [np.nan], ["x"]):
        with pytest.raises(ValueError, match="alphas.* must be"):
            probe.set_params(alphas=alphas).fit(features, adata)
    np.testing.assert_array_equal(probe.predict(features[:3]), before)


def test_blocks_are_of_places_where_there_are_no_grid_positions():
    places = np.stack(np.meshgrid(range(10), range(10)), -1).reshape(-1, 2) * 137.5
    folds = training_folds(unpack_target(np.ones((100, 2))), 4, seed=0, spatial=places)
    assert len(folds) == 4
    for train, test in folds:
        apart = np.linalg.norm(places[test][:, None] - places[train], axis=-1).min(axis=1)
        assert (apart > 200).mean() > 0.2  # random spots would nearly all have one next to them
