"""Several fields of view, turns, and neighbouring spots."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from histoexpr import (
    ContextFeaturizer,
    NeighborFeatures,
    SpotFeatures,
    SpotPatches,
    STco,
    TextureFeaturizer,
    TimmFeaturizer,
    Trainer,
)
from histoexpr.data import field_of_view, neighborhood, spot_pitch
from histoexpr.datasets import make_spatial_expression


@pytest.fixture(scope="module")
def cohort():
    return make_spatial_expression(
        n_patients=2, grid=(5, 5), mpp=2.0, out_px=32, n_genes=20, random_state=0
    )


class Corner:
    """A featurizer that sees which way is up: the mean of each quarter of a patch."""

    def get_params(self, deep=True):
        return {}

    def set_params(self, **params):
        return self

    def __sklearn_clone__(self):
        return self

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        half = np.asarray(X).shape[1] // 2
        X = np.asarray(X, dtype=float)
        quarters = [
            columns
            for rows in (X[:, :half], X[:, half:])
            for columns in (rows[:, :, :half], rows[:, :, half:])
        ]
        return np.stack([quarter.mean((1, 2, 3)) for quarter in quarters], axis=1)


def test_a_field_of_view_shows_more_of_the_same_image(cohort):
    images, _ = cohort
    wide = field_of_view(images, 2.0)
    assert (wide.crop_px == 2 * images.crop_px).all() and wide.shape == images.shape
    np.testing.assert_array_equal(wide.spatial, images.spatial)
    # The middle of what is seen at twice the width is what is seen at once the width.
    inner = np.asarray(wide[:4])[:, 8:24, 8:24].astype(float)
    once = np.asarray(images[:4]).astype(float).reshape(4, 16, 2, 16, 2, 3).mean((2, 4))
    assert np.abs(inner - once).mean() < 6
    assert field_of_view(images, 1) is images


def test_cut_patches_have_nothing_around_them(cohort):
    images, _ = cohort
    cut = SpotPatches.from_arrays(np.asarray(images))
    for X in (cut, np.asarray(images)):
        assert field_of_view(X, 1) is X
        with pytest.raises(ValueError, match="needs the section images"):
            field_of_view(X, 2.0)
        assert ContextFeaturizer(TextureFeaturizer(), fields_of_view=(1,)).fit_transform(X).shape
    with pytest.raises(ValueError, match="positive"):
        field_of_view(images, 0)


@pytest.mark.parametrize(("turns", "same"), [(1, ()), (4, ("turn",)), (8, ("turn", "mirror"))])
def test_features_do_not_change_when_the_patch_is_turned(cohort, turns, same):
    patches = np.asarray(cohort[0])
    context = ContextFeaturizer(Corner(), fields_of_view=(1,), turns=turns)
    features = context.fit_transform(patches)
    turned = context.transform(np.rot90(patches, axes=(1, 2)))
    mirrored = context.transform(patches[:, :, ::-1])
    assert np.allclose(features, turned) == ("turn" in same)
    # four quarter turns of four quarters are their mean, so a mirror shows in one turn only
    assert np.allclose(features, mirrored) == (turns > 1)
    np.testing.assert_allclose(features.mean(1), Corner().transform(patches).mean(1), rtol=1e-5)


def test_views_stand_one_after_the_other_in_the_order_of_the_spots(cohort):
    images, _ = cohort
    texture = TextureFeaturizer().fit(images)
    context = ContextFeaturizer(TextureFeaturizer(), fields_of_view=(1, 1.5), turns=1)
    order = np.random.default_rng(0).permutation(len(images))
    features = context.fit_transform(images[order])
    width = features.shape[1] // 2
    np.testing.assert_allclose(features[:, :width], texture.transform(images)[order], rtol=1e-5)
    wide = texture.transform(np.asarray(field_of_view(images, 1.5)))[order]
    np.testing.assert_allclose(features[:, width:], wide, rtol=1e-5)


def test_stages_are_means_and_deviations_of_their_maps():
    patches = np.random.default_rng(0).integers(0, 255, (3, 96, 96, 3), dtype=np.uint8)
    settings = {"pretrained": False, "random_state": 0, "precision": "float32"}
    stages = TimmFeaturizer("test_resnet", pooling="stages", **settings)
    features = stages.fit_transform(patches)
    last = clone(stages).set_params(pooling="avg").fit_transform(patches)
    width = last.shape[1]
    assert features.shape[1] > 2 * width and np.isfinite(features).all()
    np.testing.assert_allclose(features[:, -2 * width : -width], last, rtol=1e-4, atol=1e-5)
    assert (features[:, -width:] >= 0).all() and features[:, -width:].any()


def test_neighbors_are_those_of_the_section():
    spatial = np.array([[0, 0], [10, 0], [20, 0], [0, 0], [10, 0]])
    section = list("aaabb")
    X = SpotFeatures(np.arange(5.0)[:, None], spatial=spatial, section=section)
    around = NeighborFeatures(sigma=0.4).fit_transform(X)  # the next spot, none beyond
    np.testing.assert_allclose(around, [[0, 1], [1, 1], [2, 1], [3, 4], [4, 3]], atol=1e-6)


def test_a_spot_alone_is_its_own_neighbor():
    X = SpotFeatures([[1.0], [5.0]], spatial=[[0, 0], [0, 0]], section=["a", "b"])
    np.testing.assert_allclose(NeighborFeatures().fit_transform(X), [[1, 1], [5, 5]])


def test_neighborhood_is_a_gaussian_in_units_of_the_pitch():
    grid = np.stack(np.meshgrid(range(9), range(9)), -1).reshape(-1, 2)
    for pitch in (1.0, 137.5):
        weights = neighborhood(grid * pitch, sigma=0.7)
        np.testing.assert_allclose(weights.sum(axis=1), 1)
        row = weights[40].toarray().reshape(9, 9)
        np.testing.assert_allclose(row[4, 5] / row[4, 4], np.exp(-0.5 / 0.49), rtol=1e-6)
        np.testing.assert_allclose(row[5, 5] / row[4, 4], np.exp(-1 / 0.49), rtol=1e-6)
        assert spot_pitch(grid * pitch) == pitch
    assert (neighborhood(grid, sigma=0).toarray() == np.eye(81)).all()


def test_places_are_needed_and_finite(cohort):
    images, _ = cohort
    for X in (np.zeros((3, 2)), SpotFeatures(np.zeros((3, 2)))):
        with pytest.raises(ValueError, match="where its spots are"):
            NeighborFeatures().fit_transform(X)
    with pytest.raises(ValueError, match="NaN or infinite"):
        neighborhood([[0, np.nan]])


def test_every_method_takes_them(cohort):
    images, adata = cohort
    context = ContextFeaturizer(TextureFeaturizer(), turns=1)
    for featurizer in (context, NeighborFeatures(context)):
        model = STco(featurizer, trainer=Trainer(max_epochs=1), random_state=0)
        assert model.fit(images, adata).predict(images).shape == adata.shape
    pipeline = make_pipeline(context, STco(None, trainer=Trainer(max_epochs=1), random_state=0))
    assert pipeline.fit(images, adata).predict(images).shape == adata.shape
