import pickle
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from histoexpr.data import SpotPatches
from histoexpr.featurizers import TextureFeaturizer
from histoexpr.featurizers._texture import GROUPS

pytest.importorskip("skimage")

BLUE = np.array([90, 70, 150])
PINK = np.array([235, 180, 205])


def drawn(mask):
    """Blue where the mask is 1, pink elsewhere: (height, width) -> a patch."""
    mask = np.asarray(mask, dtype=float)[..., None]
    return np.rint(mask * BLUE + (1 - mask) * PINK).astype(np.uint8)


def discs(radius, count=9, px=64):
    """Nuclei on a 3 by 3 grid."""
    y, x = np.mgrid[:px, :px]
    mask = np.zeros((px, px), dtype=bool)
    for i in range(count):
        centre = np.array([i // 3, i % 3]) * (px // 3) + px // 6
        mask |= (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2
    return mask


def feature(model, patches, name):
    return model.transform(np.asarray(patches))[:, list(model.get_feature_names_out()).index(name)]


@pytest.fixture(scope="module")
def patches():
    rng = np.random.default_rng(0)
    smooth = rng.integers(60, 250, (10, 16, 16, 3), dtype=np.uint8)
    return smooth.repeat(3, axis=1).repeat(3, axis=2)


@pytest.fixture(scope="module")
def fitted(patches):
    return TextureFeaturizer().fit(patches)


def test_shape_dtype_and_names(fitted, patches):
    features = fitted.transform(patches)
    names = fitted.get_feature_names_out()
    assert features.shape == (10, len(names)) == (10, fitted.n_features_out_)
    assert features.dtype == np.float32 and np.isfinite(features).all()
    assert len(set(names)) == len(names)
    assert fitted.patch_shape_ == (48, 48)


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_alone_gives_the_columns_it_gives_among_all(fitted, patches, group):
    alone = TextureFeaturizer(features=[group]).fit(patches)
    names = fitted.get_feature_names_out()
    mine = [name.startswith(f"{group}_") for name in names]
    np.testing.assert_array_equal(alone.get_feature_names_out(), names[mine])
    np.testing.assert_array_equal(alone.transform(patches), fitted.transform(patches)[:, mine])


def test_a_patch_alone_has_the_features_it_has_among_others(fitted, patches):
    together = fitted.transform(patches)
    for row in (0, 7):
        np.testing.assert_allclose(
            fitted.transform(patches[row : row + 1])[0], together[row], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("change", [{"batch_size": 3}, {"n_jobs": 2, "batch_size": 4}])
def test_batches_and_threads_do_not_change_the_result(fitted, patches, change):
    changed = TextureFeaturizer(**change).fit(patches)
    np.testing.assert_allclose(
        changed.transform(patches), fitted.transform(patches), rtol=1e-4, atol=1e-5
    )


def test_spot_patches_are_read_batch_by_batch(fitted, patches, monkeypatch):
    read = []
    original = SpotPatches.__array__

    def spy(self, *args, **kwargs):
        read.append(len(self))
        return original(self, *args, **kwargs)

    monkeypatch.setattr(SpotPatches, "__array__", spy)
    images = SpotPatches.from_arrays(patches)
    model = TextureFeaturizer(batch_size=4).fit(images)
    read.clear()  # fit measures colours
    features = model.transform(images)
    assert read == [4, 4, 2]
    np.testing.assert_allclose(features, fitted.transform(patches), rtol=1e-4, atol=1e-5)


def test_size_and_number_of_nuclei_are_seen():
    small, large, few = drawn(discs(3)), drawn(discs(7)), drawn(discs(3, count=4))
    model = TextureFeaturizer().fit(small[None])
    area = feature(model, [small, large], "nuclei_mean_area")
    assert area[1] - area[0] == pytest.approx(np.log(discs(7).sum() / discs(3).sum()), abs=0.01)
    number = feature(model, [small, few], "nuclei_number")
    np.testing.assert_allclose(number**2, [9, 4], rtol=1e-5)
    covered = feature(model, [small], "nuclei_covered")
    assert covered[0] == pytest.approx(discs(3).mean(), abs=1e-4)


def test_elongated_nuclei_are_seen():
    rods = np.zeros((64, 64), dtype=bool)
    for row in (10, 30, 50):
        rods[row : row + 4, 10:50] = True
    model = TextureFeaturizer().fit(drawn(rods)[None])
    elongation = feature(model, [drawn(discs(5)), drawn(rods)], "nuclei_mean_elongation")
    assert elongation[0] == pytest.approx(0, abs=0.02)
    assert elongation[1] == pytest.approx(np.log(10), abs=0.02)  # 40 by 4 px


def test_aligned_fibres_differ_from_the_same_pixels_in_disorder():
    stripes = np.tile((np.arange(64) % 8 < 4), (64, 1))
    mixed = np.random.default_rng(0).permuted(stripes.ravel()).reshape(64, 64)
    model = TextureFeaturizer().fit(drawn(stripes)[None])
    spread = feature(model, [drawn(stripes), drawn(mixed)], "cooccurrence_eosin_std_contrast_1px")
    assert spread[0] > 5 * spread[1]


def test_stain_follows_the_density_and_texture_hardly_does(cohort):
    """Half the stain: optical density halves, what is measured on the patch's own range stays."""
    images = np.asarray(cohort[0][::5])
    pale = np.rint(255 * np.sqrt(images / 255)).astype(np.uint8)
    model = TextureFeaturizer().fit(images)
    before, after = (
        feature(model, x, "stain_haematoxylin_p95") for x in (images, pale)
    )
    ratio = np.median(after / before)
    assert ratio == pytest.approx(0.5, abs=0.05)
    for name in ("nuclei_covered", "cooccurrence_haematoxylin_mean_correlation_3px"):
        before, after = (feature(model, x, name) for x in (images, pale))
        assert np.corrcoef(before, after)[0, 1] > 0.9
        assert abs(np.median(after) - np.median(before)) < 0.5 * before.std()


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_even_patch_has_finite_features_and_no_nuclei(value):
    even = np.full((2, 32, 32, 3), value, dtype=np.uint8)
    model = TextureFeaturizer().fit(even)
    assert np.isfinite(model.transform(even)).all()
    assert (feature(model, even, "nuclei_number") == 0).all()


def test_grey_and_rgba_are_converted(fitted, patches):
    grey = patches[..., 0]
    repeated = np.repeat(grey[..., None], 3, axis=3)
    np.testing.assert_array_equal(fitted.transform(grey), fitted.transform(repeated))
    opaque = np.concatenate([patches, np.full_like(patches[..., :1], 255)], axis=3)
    np.testing.assert_array_equal(fitted.transform(opaque), fitted.transform(patches))


def test_clone_pickle_and_pipeline(fitted, patches):
    model = TextureFeaturizer(("lbp",), distances=(2,), levels=8, n_jobs=2)
    assert clone(model).get_params() == model.get_params()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(patches), fitted.transform(patches))
    assert len(pickle.dumps(fitted)) < 2000
    pipeline = make_pipeline(TextureFeaturizer(), StandardScaler())
    assert pipeline.fit_transform(patches).shape == (10, fitted.n_features_out_)
    assert len(pipeline[:1].get_feature_names_out()) == fitted.n_features_out_


def test_progress_is_shown_only_when_asked_for(patches, capsys):
    TextureFeaturizer(("stain",)).fit_transform(patches)
    assert capsys.readouterr() == ("", "")
    TextureFeaturizer(("stain",), verbose=1).fit_transform(patches)
    assert "Textures" in capsys.readouterr().err


def test_transform_before_fit_is_refused(patches):
    with pytest.raises(NotFittedError):
        TextureFeaturizer().transform(patches)
    with pytest.raises(NotFittedError):
        TextureFeaturizer().get_feature_names_out()


def test_patches_of_another_size_are_refused(fitted):
    with pytest.raises(ValueError, match="32 x 32 px, but fit saw 48 x 48"):
        fitted.transform(np.zeros((2, 32, 32, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((2, 48, 48, 3), dtype=np.float32),
        np.zeros((2, 48, 48, 5), dtype=np.uint8),
        np.zeros((0, 48, 48, 3), dtype=np.uint8),
        np.zeros((4, 12), dtype=np.uint8),
    ],
)
def test_what_is_no_image_is_refused(bad):
    with pytest.raises(ValueError):
        TextureFeaturizer().fit(bad)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"features": ()}, "features must be one or more"),
        ({"features": ("stain", "colour")}, "colour"),
        ({"features": ("stain", "stain")}, "each once"),
        ({"features": "stain"}, "'features' parameter"),
        ({"distances": (0, 1)}, "distances must be"),
        ({"distances": (48,)}, "less than the patch's side of 48"),
        ({"distances": (1.5,)}, "distances must be"),
        ({"distances": (1, 1)}, "distances must be different"),
        ({"distances": [[1, 2], [3]]}, "distances must be an array"),
        ({"n_jobs": 0}, "n_jobs=0 leaves nobody"),
        ({"levels": 1}, "'levels' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"verbose": "yes"}, "'verbose' parameter"),
    ],
)
def test_parameters_out_of_range_are_refused(patches, parameters, message):
    with pytest.raises(ValueError, match=message):
        TextureFeaturizer(**parameters).fit(patches)


def test_a_missing_scikit_image_is_named_with_its_extra(fitted, patches, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ImportError, match=r"histoexpr\[texture\]"):
        fitted.transform(patches)
