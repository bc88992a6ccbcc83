"""The recommended estimator: learns, chooses inside the training spots, knows its errors."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone

from histoexpr import (
    ContrastiveEnsemble,
    ExpressionTransformer,
    SpotFeatures,
    TextureFeaturizer,
    Trainer,
)
from histoexpr._folds import known_patient_folds
from histoexpr.data import unpack_target
from histoexpr.datasets import make_spatial_expression
from histoexpr.methods._combination import KNOWN, NEW
from histoexpr.methods._members import LinearHead
from histoexpr.metrics import mean_pearson

QUICK = {"n_heads": 1, "trainer": Trainer(max_epochs=10, lr=1e-3), "random_state": 0}


@pytest.fixture(scope="module")
def cohort():
    """Three patients with two sections each; features instead of images."""
    images, adata = make_spatial_expression(
        n_patients=3, n_sections=2, grid=(10, 10), mpp=2.0, out_px=32, n_genes=60, random_state=0
    )
    return SpotFeatures.of(images, TextureFeaturizer().fit_transform(images)), adata


@pytest.fixture(scope="module")
def fitted(cohort):
    """Fitted on patients A and B, all but B's second section."""
    features, adata = cohort
    train = (adata.obs["patient"] != "C").to_numpy() & (adata.obs["section"] != "B2").to_numpy()
    return ContrastiveEnsemble(None, **QUICK).fit(features[train], adata[train])


def rows(adata, section):
    return (adata.obs["section"] == section).to_numpy()


def test_learns_from_other_patients(cohort, fitted):
    features, adata = cohort
    test = rows(adata, "C1")
    truth = fitted.expression_.transform(adata[test])
    assert mean_pearson(truth, fitted.predict(features[test])) > 0.35
    rng = np.random.default_rng(0)
    train = np.flatnonzero(adata.obs["patient"] == "A")
    wrong = clone(fitted).fit(features[train], adata[rng.permutation(train)].X.toarray())
    assert abs(mean_pearson(truth, wrong.predict(features[test]))) < 0.15


def test_a_known_patient_has_members_of_its_own(cohort, fitted):
    features, adata = cohort
    assert fitted.known_patients_.tolist() == ["A"] and set(fitted.own_members_) == {"A"}
    assert fitted.new_ is not fitted.known_
    test = rows(adata, "A1")
    known = fitted.predict(features[test])
    stranger = SpotFeatures(
        np.asarray(features[test]),
        spatial=features.spatial[test],
        section=features.section[test],
    )
    assert not np.allclose(known, fitted.predict(stranger))
    # B has one training section: nothing was left out that would say what a second one brings
    test = rows(adata, "B2")
    unnamed = SpotFeatures(
        np.asarray(features[test]),
        spatial=features.spatial[test],
        section=features.section[test],
    )
    np.testing.assert_array_equal(fitted.predict(features[test]), fitted.predict(unnamed))


def test_sections_together_or_alone_are_predicted_alike(cohort, fitted):
    features, adata = cohort
    together = rows(adata, "A1") | rows(adata, "C2") | rows(adata, "C1")
    predicted, std = fitted.predict(features[together], return_std=True)
    section = features.section[together]
    for name in ("A1", "C1", "C2"):
        alone, alone_std = fitted.predict(features[rows(adata, name)], return_std=True)
        np.testing.assert_allclose(predicted[section == name], alone, atol=1e-5)
        np.testing.assert_allclose(std[section == name], alone_std, atol=1e-5)


def test_std_and_intervals_tell_the_errors(cohort, fitted):
    features, adata = cohort
    test = rows(adata, "C1") | rows(adata, "C2")
    truth = fitted.expression_.transform(adata[test])
    predicted, std = fitted.predict(features[test], return_std=True)
    assert std.shape == predicted.shape and (std > 0).all()
    order = np.argsort(std, axis=None)
    errors = np.abs(truth - predicted).ravel()[order]
    fifths = [part.mean() for part in np.array_split(errors, 5)]
    assert fifths[-1] > 1.3 * fifths[0]
    lower, upper = fitted.predict_interval(features[test], coverage=0.9)
    assert (lower <= upper).all()
    assert 0.8 < ((truth >= lower) & (truth <= upper)).mean() < 0.97
    narrow = fitted.predict_interval(features[test], coverage=0.5)
    assert ((narrow[1] - narrow[0]) < (upper - lower)).all()
    with pytest.raises(ValueError, match="coverage must lie between"):
        fitted.predict_interval(features[test], coverage=90)


def test_reliability_ranks_genes_as_a_new_patient_does(cohort, fitted):
    from scipy.stats import spearmanr

    from histoexpr.metrics import pearson_per_gene

    features, adata = cohort
    test = rows(adata, "C1")
    truth = fitted.expression_.transform(adata[test])
    pcc = pearson_per_gene(truth, fitted.predict(features[test]))
    reliability = fitted.gene_reliability_
    assert reliability.index.tolist() == fitted.genes_.tolist()
    assert reliability.between(-1, 1).all()
    assert spearmanr(reliability, pcc).statistic > 0.4


def test_same_seed_same_bits_and_pickles(cohort, fitted):
    features, adata = cohort
    train = (adata.obs["patient"] != "C").to_numpy() & ~rows(adata, "B2")
    test = rows(adata, "C1")
    again = clone(fitted).fit(features[train], adata[train])
    np.testing.assert_array_equal(again.predict(features[test]), fitted.predict(features[test]))
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.predict(features[test]), fitted.predict(features[test]))


def test_one_section_is_enough_but_said(cohort):
    features, adata = cohort
    one = rows(adata, "A1")
    with pytest.warns(UserWarning, match="one training group only"):
        model = ContrastiveEnsemble(None, **QUICK).fit(features[one], adata[one])
    assert len(model.known_patients_) == 0 and model.known_ is model.new_
    # no patient was left out: how far members carry is not known, and caution stays
    assert model.new_.settings_["ranks"] == NEW["ranks"]
    assert model.new_.settings_["mixing"] == NEW["mixing"]
    both = one | rows(adata, "A2")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.fit(features[both], adata[both])
    assert model.known_patients_.tolist() == ["A"] and not model.own_members_
    assert model.new_.settings_["ranks"] == NEW["ranks"]


def test_settings_depart_from_their_defaults_for_a_gain_only(fitted):
    for combination, defaults in ((fitted.new_, NEW), (fitted.known_, KNOWN)):
        scores = combination.cv_scores_
        for name, value in combination.settings_.items():
            tried = scores[scores["setting"] == name].set_index("value")["mean_pcc"]
            gain = tried[str(value)] - tried[str(defaults[name])]
            assert value == defaults[name] or gain > 0.02 * tried[str(value)]
            assert tried[str(value)] >= tried.max() * 0.98 - 1e-12


def test_images_in_images_out():
    images, adata = make_spatial_expression(
        n_patients=2, grid=(6, 6), mpp=2.0, out_px=32, n_genes=20, random_state=0
    )
    model = ContrastiveEnsemble(TextureFeaturizer(), **QUICK).fit(images, adata)
    predicted = model.predict_adata(images[:5])
    assert predicted.shape == (5, 20) and predicted.uns["histoexpr"]["units"] == model.units_


def test_a_name_stands_for_every_stage_in_two_fields_of_view():
    featurizer = ContrastiveEnsemble("resnet50")._check_featurizer()
    assert featurizer.featurizer.pooling == "stages" and len(featurizer.fields_of_view) == 2


def test_a_fit_that_fails_leaves_the_model_as_it_was(cohort, fitted):
    features, adata = cohort
    before = fitted.predict(features[:20])
    with pytest.raises(ValueError, match="X has 5 spots and y has"):
        fitted.fit(features[:5], adata)
    np.testing.assert_array_equal(fitted.predict(features[:20]), before)


def test_a_known_patient_keeps_a_section_in_every_fold(cohort):
    _, adata = cohort
    target = unpack_target(adata)
    for n_splits in (2, 3, 5):
        patients, folds = known_patient_folds(target, n_splits)
        assert patients.tolist() == ["A", "B", "C"]
        tested = np.concatenate([test for _, test in folds])
        assert sorted(tested) == list(range(len(target)))
        for train, test in folds:
            assert set(target.patient[test]) <= set(target.patient[train])
            assert not set(target.section[test]) & set(target.section[train])
    none, folds = known_patient_folds(unpack_target(adata[rows(adata, "A1")]), 5)
    assert len(none) == 0 and folds == []


def test_ranks_of_the_linear_head_are_those_of_pls():
    from sklearn.cross_decomposition import PLSRegression

    rng = np.random.default_rng(0)
    X, noise = rng.normal(size=(80, 12)), rng.normal(size=(80, 5))
    Y = X[:, :5] @ rng.normal(size=(5, 5)) + noise
    head = LinearHead().fit(X, Y)
    alone = [PLSRegression(rank, scale=False).fit(X, Y).predict(X) for rank in (2, 4)]
    np.testing.assert_allclose(head.predict(X, (2,)), alone[0], atol=1e-8)
    np.testing.assert_allclose(head.predict(X, (2, 4)), np.mean(alone, axis=0), atol=1e-8)
    constant = LinearHead().fit(X, np.full((80, 2), 3.0))
    np.testing.assert_allclose(constant.predict(X, (2, 16)), 3.0)


def test_features_that_did_not_vary_in_training_say_nothing():
    rng = np.random.default_rng(0)
    X = np.zeros((60, 20))
    X[:, :5] = rng.normal(size=(60, 5))
    Y = X[:, :4] + rng.normal(size=(60, 4))
    head = LinearHead().fit(X, Y)
    least_squares = np.linalg.lstsq(X[:, :5] - X[:, :5].mean(0), Y - Y.mean(0), rcond=None)[0]
    new = rng.normal(size=(30, 20))
    expected = (new[:, :5] - X[:, :5].mean(0)) @ least_squares + Y.mean(0)
    np.testing.assert_allclose(head.predict(new, (16,)), expected, atol=1e-6)
    constant = LinearHead().fit(X[:, 5:], Y)
    np.testing.assert_allclose(constant.predict(new[:, 5:], (2,)), [Y.mean(0)] * 30)
    model = ContrastiveEnsemble(None, **QUICK).fit(X, Y)
    assert model.predict(new, return_std=True)[1].max() < 10


def test_corrected_counts_have_a_reliability_without_a_ceiling(cohort):
    features, adata = cohort
    some = rows(adata, "A1") | rows(adata, "B1")
    corrected = adata[some].copy()
    corrected.X = corrected.X * 0.37
    expression = ExpressionTransformer(check_counts=False)
    model = ContrastiveEnsemble(None, expression=expression, **QUICK)
    assert model.fit(features[some], corrected).gene_reliability_.between(-1, 1).all()


def test_places_without_sections_are_refused(cohort):
    features, adata = cohort
    some = rows(adata, "A1") | rows(adata, "B1")
    unnamed = SpotFeatures(np.asarray(features[some]), spatial=features.spatial[some])
    with pytest.raises(ValueError, match="names no sections, and y has 2"):
        ContrastiveEnsemble(None, **QUICK).fit(unnamed, adata[some])


def test_patients_without_sections_are_scored_one_by_one():
    rng = np.random.default_rng(0)
    X, patient = rng.normal(size=(90, 4)), np.repeat(["A", "B", "C"], 30)
    X[:, 0] = 10 * np.repeat([0, 1, 2], 30)  # tells patients, nothing within one
    Y = X[:, :1] + rng.normal(size=(90, 2))
    model = ContrastiveEnsemble(None, **QUICK).fit(SpotFeatures(X, patient=patient), Y)
    assert model.gene_reliability_.abs().max() < 0.5


def test_one_section_without_a_patient_is_one_patient(cohort):
    features, adata = cohort
    one = rows(adata, "A1")
    section = adata[one].copy()
    del section.obs["patient"]
    unnamed = SpotFeatures(
        np.asarray(features[one]), spatial=features.spatial[one], section=features.section[one]
    )
    with pytest.warns(UserWarning, match="one training group only"):
        model = ContrastiveEnsemble(None, **QUICK).fit(unnamed, section)
    assert not model.new_.members_tell


def test_spots_without_a_patient_are_no_patient(cohort):
    _, adata = cohort
    some = adata.copy()
    some.obs["patient"] = some.obs["patient"].astype(object).where(some.obs["patient"] != "C")
    patients, folds = known_patient_folds(unpack_target(some), 5)
    assert patients.tolist() == ["A", "B"]
    tested = np.concatenate([test for _, test in folds])
    assert some.obs["patient"].iloc[tested].notna().all()
