"""Who is tested, and from whom is learnt."""

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import GridSearchCV, cross_val_score

from histoexpr import ExpressionTargetRegressor, SpotFeatures
from histoexpr.metrics import pearson_scorer
from histoexpr.model_selection import (
    PROTOCOLS,
    PatientKFold,
    PatientOut,
    SectionOut,
    TrainTest,
    check_protocol,
)


def sections(fold, adata):
    names = adata.obs["section"].to_numpy()
    return sorted(set(names[fold.train])), sorted(set(names[fold.test]))


@pytest.mark.parametrize(
    "protocol", [PatientOut(), SectionOut(), PatientKFold(2), TrainTest(["A1"], ["B2"])]
)
def test_sides_are_apart_and_sections_whole(sampled, protocol):
    features, adata = sampled
    for fold in protocol.folds(features, adata):
        assert fold.protocol == protocol.name
        assert not set(fold.train) & set(fold.test)
        assert fold.train.dtype == fold.test.dtype == np.int64
        train, test = sections(fold, adata)
        assert not set(train) & set(test)


def test_each_spot_is_tested_once(sampled):
    features, adata = sampled
    for protocol in (PatientOut(), SectionOut(), PatientKFold(2)):
        tested = np.concatenate([fold.test for fold in protocol.folds(features, adata)])
        assert sorted(tested) == list(range(adata.n_obs))
        for fold in protocol.folds(features, adata):
            assert len(fold.train) + len(fold.test) == adata.n_obs


def test_patient_out_shares_no_patient(sampled):
    features, adata = sampled
    folds = check_protocol("patient-out").folds(features, adata)
    assert [fold.name for fold in folds] == ["patient A", "patient B", "patient C"]
    assert all(fold.shared_patients == () for fold in folds)
    assert sections(folds[0], adata) == (["B1", "B2", "C1", "C2"], ["A1", "A2"])


def test_section_out_says_who_is_on_both_sides(sampled):
    features, adata = sampled
    keep = (adata.obs["section"] != "B2").to_numpy()  # B has one section left
    shared = {
        fold.name: fold.shared_patients
        for fold in SectionOut().folds(features[keep], adata[keep])
    }
    assert shared["section A1"] == ("A",)
    assert shared["section B1"] == ()


def test_k_fold_keeps_patients_whole(sampled):
    features, adata = sampled
    folds = PatientKFold(2).folds(features, adata)
    patient = adata.obs["patient"].to_numpy()
    assert len(folds) == 2
    assert all(not set(patient[f.train]) & set(patient[f.test]) for f in folds)


def test_train_test_leaves_the_others_out_and_labels_a_shared_patient(sampled):
    features, adata = sampled
    (fold,) = TrainTest(["A1", "B1"], ["A2", "C1"]).folds(features, adata)
    assert sections(fold, adata) == (["A1", "B1"], ["A2", "C1"])
    assert fold.shared_patients == ("A",)


def test_groups_may_come_with_the_images_alone(sampled):
    features, adata = sampled
    bare = adata.copy()
    del bare.obs["patient"], bare.obs["section"]
    found = PatientOut().folds(features, bare)
    for fold, expected in zip(found, PatientOut().folds(features, adata)):
        np.testing.assert_array_equal(fold.test, expected.test)


def test_unknown_patients_are_not_called_apart(sampled):
    features, adata = sampled
    bare = adata.copy()
    del bare.obs["patient"]
    folds = SectionOut().folds(np.asarray(features), bare)
    assert all(fold.shared_patients is None for fold in folds)


def test_serves_scikit_learn(sampled):
    features, adata = sampled
    model = ExpressionTargetRegressor(DummyRegressor())
    for protocol, n_folds in ((PatientOut(), 3), (SectionOut(), 6), (PatientKFold(2), 2)):
        scores = cross_val_score(model, features, adata, cv=protocol, scoring=pearson_scorer)
        assert scores.shape == (n_folds,)
        np.testing.assert_array_equal(scores, 0)
    search = GridSearchCV(
        model,
        {"regressor__strategy": ["mean", "median"]},
        cv=PatientOut(),
        scoring=pearson_scorer,
        error_score="raise",
    )
    assert search.fit(features, adata).n_splits_ == 3


def without(adata, *columns):
    bare = adata.copy()
    for column in columns:
        del bare.obs[column]
    return bare


def test_says_what_is_wrong_with_the_groups(sampled):
    features, adata = sampled
    plain = np.asarray(features)
    with pytest.raises(ValueError, match=r"obs\['patient'\].*'section-out'"):
        PatientOut().folds(plain, without(adata, "patient"))
    with pytest.raises(ValueError, match=r"obs\['section'\]"):
        SectionOut().folds(plain, without(adata, "section"))
    one = (adata.obs["patient"] == "A").to_numpy()
    with pytest.raises(ValueError, match="patient 'A'.*Use protocol 'section-out'"):
        PatientOut().folds(plain[one], adata[one])
    alone = (adata.obs["section"] == "A1").to_numpy()
    with pytest.raises(ValueError, match="one alone, 'A1'"):
        SectionOut().folds(plain[alone], adata[alone])
    holes = adata.copy()
    holes.obs["patient"] = holes.obs["patient"].astype(object).where(~one, None)
    with pytest.raises(ValueError, match=f"missing for {one.sum()} of {len(one)} spots"):
        PatientOut().folds(plain, holes)
    with pytest.raises(ValueError, match="n_splits=4 must be between 2 and .* 3"):
        PatientKFold(4).folds(features, adata)


@pytest.mark.parametrize(
    "train, test, message",
    [
        (["A1", "B3"], ["C1"], "unknown sections of train: 'B3'. Did you mean .*'B1'"),
        (["A1"], ["c2"], "unknown sections of test: 'c2'. Did you mean 'C2'"),
        (["A1", "B1"], ["B1", "C1"], "'B1' stand in train and in test"),
        ("A1", ["B1"], "train must list names of sections; got 'A1'"),
        (["A1"], [], r"test must list names of sections; got \[\]"),
    ],
)
def test_says_what_is_wrong_with_the_lists(sampled, train, test, message):
    with pytest.raises(ValueError, match=message):
        TrainTest(train, test).folds(*sampled)


def test_says_which_protocols_there_are():
    with pytest.raises(ValueError, match="'pateint-out'.*Did you mean 'patient-out'"):
        check_protocol("pateint-out")
    with pytest.raises(ValueError, match=r"TrainTest\(train="):
        check_protocol("train-test")
    for wrong in (SectionOut, 5, None):
        with pytest.raises(TypeError, match="protocol must be one of patient-out"):
            check_protocol(wrong)
    for name in set(PROTOCOLS) - {"train-test"}:
        assert check_protocol(name).name == name


def test_a_feature_array_without_groups_is_one_section(sampled):
    features, adata = sampled
    with pytest.raises(ValueError, match="needs the patient"):
        PatientOut().folds(SpotFeatures(np.asarray(features)), np.ones((len(features), 2)))
