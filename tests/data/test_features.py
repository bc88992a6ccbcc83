"""SpotFeatures: rows stay together; what is not a row for each spot is refused."""

import pickle

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.utils import check_array

from histoexpr import SpotFeatures

rng = np.random.default_rng(0)


def features(n=12):
    return SpotFeatures(
        rng.normal(size=(n, 4)).astype(np.float32),
        spatial=rng.random((n, 2)),
        positions=np.column_stack([np.arange(n), np.arange(n)[::-1]]),
        section=np.repeat(["A1", "B1", "B2"], n // 3),
        patient=np.repeat(["A", "B", "B"], n // 3),
    )


@pytest.mark.parametrize(
    "rows", [slice(2, 5), np.array([7, 1, 3]), np.arange(12) % 3 == 0, ([4, 2], Ellipsis)]
)
def test_slices_keep_rows_together(rows):
    X = features()
    part = X[rows]
    plain = rows[0] if isinstance(rows, tuple) else rows
    for name in ("features", "spatial", "positions", "section", "patient"):
        np.testing.assert_array_equal(getattr(part, name), getattr(X, name)[plain])
    assert part.shape == (len(part), 4)


def test_it_is_an_array_to_scikit_learn():
    X = features(60)
    np.testing.assert_array_equal(check_array(X), X.features)
    y = X.features.sum(axis=1)
    predicted = cross_val_predict(Ridge(1e-6), X, y, groups=X.patient, cv=GroupKFold(2))
    np.testing.assert_allclose(predicted, y, atol=1e-3)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(X)).section, X.section)


def test_what_the_images_know_is_taken_over(cohort):
    images, _ = cohort
    X = SpotFeatures.of(images, np.zeros((len(images), 3)))
    np.testing.assert_array_equal(X.positions, images.positions)
    np.testing.assert_array_equal(X[5:9].section, images.section[5:9])


@pytest.mark.parametrize(
    "given, message",
    [
        ({"features": np.zeros(3)}, "shape \\(n_spots, n_features\\); got \\(3,\\)"),
        ({"section": ["A"]}, "section has 1 rows, but there are features of 3 spots"),
        ({"positions": [[0, 0], [1, -1], [2, 0]]}, "whole numbers of at least 0"),
    ],
)
def test_refusals(given, message):
    with pytest.raises(ValueError, match=message):
        SpotFeatures(**{"features": np.zeros((3, 2)), **given})


def test_a_section_is_of_one_patient():
    with pytest.raises(ValueError, match="more than one patient"):
        SpotFeatures(np.zeros((2, 1)), section=["1", "1"], patient=["A", "B"])
