"""What a section has in common is taken from its features."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from histoexpr import SectionCenterer, SpotFeatures


@parametrize_with_checks([SectionCenterer()])
def test_estimator_checks(estimator, check):
    check(estimator)


def test_a_shift_of_a_whole_section_disappears():
    rng = np.random.default_rng(0)
    values, section = rng.normal(size=(400, 3)), np.repeat(["a", "b"], 200)
    shifted = values + 5 * (section == "b")[:, None]
    centerer = SectionCenterer(prior_spots=0).fit(SpotFeatures(shifted, section=section))
    both = np.asarray(centerer.transform(SpotFeatures(shifted, section=section)))
    plain = np.asarray(centerer.transform(SpotFeatures(values, section=section)))
    np.testing.assert_allclose(both, plain, atol=1e-12)
    for name in "ab":
        np.testing.assert_allclose(both[section == name].mean(axis=0), 0, atol=1e-12)


def test_a_few_spots_are_hardly_centred():
    X = SpotFeatures(np.zeros((100, 1)), section=np.repeat("a", 100))
    centerer = SectionCenterer(prior_spots=30).fit(X)
    for n_spots, kept in ((1, 30 / 31), (30, 0.5), (970, 0.03)):
        new = SpotFeatures(np.ones((n_spots, 1)), section=["b"] * n_spots)
        np.testing.assert_allclose(np.asarray(centerer.transform(new)), kept)


def test_an_array_names_no_sections():
    centerer = SectionCenterer().fit([[1.0], [3.0]])
    np.testing.assert_array_equal(centerer.transform([[2.0], [5.0]]), [[0.0], [3.0]])


def test_places_stay_with_the_features():
    X = SpotFeatures(np.eye(2), section=["a", "b"], spatial=[[0, 1], [2, 3]])
    centred = SectionCenterer().fit_transform(X)
    assert isinstance(centred, SpotFeatures) and centred.section.tolist() == ["a", "b"]
    np.testing.assert_array_equal(centred.spatial, X.spatial)
    with pytest.raises(ValueError, match="3 features"):
        SectionCenterer().fit(X).transform(np.ones((1, 3)))
