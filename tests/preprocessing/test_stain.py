"""StainNormalizer: the right colours, from training images alone, when patches are read."""

import pickle

import numpy as np
import pytest
from PIL import Image
from processes import forked_jobs
from scipy.ndimage import gaussian_filter
from scipy.optimize import nnls
from sklearn.base import clone
from sklearn.decomposition import DictionaryLearning
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from histoexpr import SpotPatches, StainNormalizer, TextureFeaturizer
from histoexpr.data import clear_image_cache
from histoexpr.data import _images as images_module
from histoexpr.preprocessing import _stain, _stain_math

METHODS = ["reinhard", "macenko", "vahadane"]
STAINS = np.array([[0.65, 0.70, 0.29], [0.15, 0.95, 0.20]])
STAINS /= np.linalg.norm(STAINS, axis=1, keepdims=True)
OTHER = np.array([[0.70, 0.62, 0.35], [0.25, 0.90, 0.30]])
OTHER /= np.linalg.norm(OTHER, axis=1, keepdims=True)
GLASS = 40  # columns of glass at the left


def draw_amounts(seed=0, size=160):
    """Haematoxylin in blobs, eosin in streaks; glass at the left."""
    noise = np.random.default_rng(seed).normal(size=(2, size, size))
    nuclei = gaussian_filter(noise[0], 2)
    fibres = gaussian_filter(noise[1], (1, 4))
    amounts = np.stack(
        [1.2 * (nuclei > nuclei.std()), np.clip(0.5 + fibres / fibres.std() / 4, 0, None)], axis=-1
    )
    amounts[..., 1] *= amounts[..., 0] == 0
    amounts[:, :GLASS] = 0
    return amounts


def stain(amounts, stains=STAINS, scale=(1, 1), white=(255, 255, 255)):
    """Beer and Lambert."""
    return np.rint(np.exp(-(amounts * scale) @ stains) * white).astype(np.uint8)


def cut(images, out_px=32):
    """Nine patches of each section image."""
    steps = np.arange(3) * 48 + 32
    spatial = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    return SpotPatches.from_images(
        images,
        np.tile(spatial, (len(images), 1)),
        section=np.repeat(list(images), 9),
        patient=np.repeat(list(images), 9),
        positions=np.tile(spatial, (len(images), 1)),
        patch_size="32px",
        out_px=out_px,
    )


@pytest.fixture
def two():
    """The same tissue twice, the second of other stain, strength and glass."""
    amounts = draw_amounts()
    other = stain(amounts, OTHER, scale=(1.4, 0.7), white=(225, 210, 227))
    return cut({"A": stain(amounts), "B": other})


def error(X, Y):
    return np.abs(np.asarray(X).astype(int) - np.asarray(Y)).mean()


# colours -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "share"), list(zip(METHODS, (0.6, 0.25, 0.3))))
def test_a_section_takes_the_colours_of_training(two, method, share):
    A, B = two[two.section == "A"], two[two.section == "B"]
    normalizer = StainNormalizer(method).fit(A)
    assert error(normalizer.transform(A), A) < 1  # its own reference
    assert error(normalizer.transform(B), A) < share * error(B, A)


@pytest.mark.parametrize(("method", "degrees"), [("macenko", 3), ("vahadane", 12)])
def test_stains_are_found(two, method, degrees):
    reference = StainNormalizer(method).fit(two[two.section == "A"]).reference_
    assert reference.shape == (2, 4)
    np.testing.assert_allclose(np.linalg.norm(reference[:, :3], axis=1), 1)
    cosine = (reference[:, :3] * STAINS).sum(axis=1)
    assert cosine.min() > np.cos(np.deg2rad(degrees))


def test_reinhard_gives_tissue_the_mean_and_deviation_of_the_reference():
    light = np.random.default_rng(0).uniform(0.3, 0.8, (500, 3))
    reinhard = _stain_math.METHODS["reinhard"]
    np.testing.assert_allclose(_stain_math._to_opponent(np.ones((1, 3))), 0, atol=1e-12)
    source = reinhard.measure(light)
    wanted = source * [[1.1], [0.8]]
    moved = reinhard.change(light, source, wanted)
    np.testing.assert_allclose(reinhard.measure(moved), wanted, atol=1e-6)


def test_concentrations_are_non_negative_least_squares():
    density = np.random.default_rng(0).normal(0.3, 0.5, (200, 3))
    wanted = np.stack([nnls(STAINS.T, row)[0] for row in density])
    np.testing.assert_allclose(_stain_math.unmix(density, STAINS), wanted, atol=1e-9)


def test_sparse_stains_are_those_of_dictionary_learning():
    light = stain(draw_amounts()).reshape(-1, 3) / 255
    density = -np.log(light[_stain_math.find_tissue(light)])[::20]
    found = _stain_math.vahadane_stains(density, tol=1e-8, max_iter=1000)
    learnt = DictionaryLearning(
        2,
        alpha=_stain_math.SPARSITY,
        dict_init=_stain_math.macenko_stains(density),
        fit_algorithm="cd",
        positive_code=True,
        positive_dict=True,
        max_iter=100,
        tol=1e-9,
        random_state=0,
    ).fit(density)
    wanted = learnt.components_[np.argsort(-learnt.components_[:, 0])]
    np.testing.assert_allclose(found, wanted, atol=5e-3)


def test_glass_becomes_white_and_stays_white(two):
    for method in METHODS:
        normal = np.asarray(StainNormalizer(method).fit_transform(two))
        glass = normal.reshape(2, 3, 3, 32, 32, 3)[:, :, 0, :, :16]
        assert glass.min() >= 250, method
    kept = StainNormalizer("macenko", standardize_white=False).fit(two[:9]).transform(two[9:])
    assert np.asarray(kept)[:, :, :8, 1].max() < 225


def test_the_table_is_the_formula(two):
    for method in METHODS:
        stain_map = StainNormalizer(method).fit(two[:9])._stain_map
        pixels = np.asarray(two[9:]).reshape(-1, 3)
        white, source = stain_map._measure(_stain._sample(two[9:]), whole=True)
        light = _stain_math.to_light(pixels, white)
        exact = _stain._to_uint8(stain_map._recolour(light, source))
        by_table = stain_map(np.asarray(two[9:]), two[9:]).reshape(-1, 3)
        assert error(by_table, exact) < 0.7


def test_patients_of_a_cohort_come_closer(cohort):
    images, _ = cohort
    train = images[images.patient != "C"]

    def between(X):
        means = [
            np.asarray(X[X.patient == name]).mean(axis=(0, 1, 2)) for name in np.unique(X.patient)
        ]
        return np.std(means, axis=0).mean()

    for method in METHODS:
        assert between(StainNormalizer(method).fit(train).transform(images)) < between(images)


# what a result depends on ------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["section", "patch"])
@pytest.mark.parametrize("method", METHODS)
def test_a_patch_does_not_depend_on_its_company(two, method, scope):
    normalizer = StainNormalizer(method, scope=scope).fit(two[:9])
    together = np.asarray(normalizer.transform(two))
    order = np.random.default_rng(1).permutation(len(two))
    np.testing.assert_array_equal(normalizer.transform(two[order]), together[order])
    again = StainNormalizer(method, scope=scope).fit(two[:9])  # nothing measured before
    for row in (17, 4, 9):
        np.testing.assert_array_equal(again.transform(two[[row]])[0], together[row])
        np.testing.assert_array_equal(again.transform(two)[row], together[row])


def test_the_reference_is_of_the_training_sections_alone(two):
    alone = StainNormalizer("macenko").fit(two[two.section == "A"])
    both = StainNormalizer("macenko").fit(two)
    assert (alone.n_measured_, both.n_measured_) == (1, 2)
    assert np.abs(alone.reference_ - both.reference_).max() > 0.01
    before = alone.reference_.copy()
    np.asarray(alone.transform(two))
    np.testing.assert_array_equal(alone.reference_, before)
    of_some_spots = StainNormalizer("macenko").fit(two[[3, 5]])
    np.testing.assert_array_equal(of_some_spots.reference_, before)


def test_plain_arrays_are_measured_patch_by_patch(two):
    array = np.asarray(two)
    before = array.copy()
    normalizer = StainNormalizer("reinhard", n_patches=5, random_state=3).fit(array)
    assert normalizer.n_measured_ <= 5
    same = StainNormalizer("reinhard", n_patches=5, random_state=3).fit(array)
    np.testing.assert_array_equal(same.reference_, normalizer.reference_)
    other = StainNormalizer("reinhard", n_patches=5, random_state=4).fit(array)
    assert (other.reference_ != normalizer.reference_).any()
    normal = normalizer.transform(array)
    assert isinstance(normal, SpotPatches)
    np.testing.assert_array_equal(np.asarray(normal)[7], normalizer.transform(array[[7]])[0])
    np.testing.assert_array_equal(array, before)
    by_patch = StainNormalizer("reinhard", n_patches=5, random_state=3, scope="patch").fit(two)
    np.testing.assert_array_equal(by_patch.reference_, normalizer.reference_)
    np.testing.assert_array_equal(by_patch.transform(two), normal)


# lazy, and on its way ----------------------------------------------------------------------------


def test_nothing_is_read_before_it_is_needed(tmp_path, monkeypatch):
    paths, read = [], images_module.read_image

    def counted(file, path, header_only=False):
        if not header_only:
            paths.append(path)
        return read(file, path, header_only)

    monkeypatch.setattr(images_module, "read_image", counted)
    clear_image_cache()
    images = {}
    for name, scale in (("A", 1), ("B", 1.5)):
        images[name] = tmp_path / f"{name}.png"
        Image.fromarray(stain(draw_amounts(), scale=(scale, 1))).save(images[name])
    X = cut(images)
    normalizer = StainNormalizer("macenko").fit(X[:9])
    normal = normalizer.transform(X)
    assert normal.shape == X.shape and normal.dtype == np.uint8 and len(normal) == 18
    for name in ("spatial", "positions", "section", "patient", "mpp"):
        np.testing.assert_array_equal(getattr(normal, name), getattr(X, name))
    view = normal[9:][::2]
    assert paths == [str(images["A"])]  # by fit
    data = pickle.dumps(view)
    assert paths == [str(images["A"])] and len(data) < 10_000
    np.testing.assert_array_equal(pickle.loads(data), view)
    np.testing.assert_array_equal(view, np.asarray(normal)[9::2])
    clear_image_cache()


def test_clone_and_pickle(two):
    normalizer = StainNormalizer("vahadane", scope="section", n_patches=7, random_state=1)
    assert clone(normalizer).get_params() == normalizer.get_params()
    with pytest.raises(NotFittedError):
        clone(normalizer).transform(two)
    normal = normalizer.fit(two[:9]).transform(two)
    np.asarray(normal)  # measures sections, which the pickle must not hold
    data = pickle.dumps(normalizer)
    assert len(data) < 5_000
    np.testing.assert_array_equal(pickle.loads(data).transform(two), normal)


def test_in_a_pipeline_across_processes(cohort):
    images, adata = cohort
    y = np.asarray(adata.X[:, 0].todense()).ravel()
    pipeline = make_pipeline(
        StainNormalizer("macenko"), TextureFeaturizer(features=("stain",)), Ridge()
    )
    alone = cross_val_score(pipeline, images, y, cv=2)
    with forked_jobs():
        np.testing.assert_allclose(cross_val_score(pipeline, images, y, cv=2, n_jobs=2), alone)


def test_patches_of_another_resolution_get_the_same_colours(two):
    fine = two[two.section == "B"]
    half = cut(fine.section_images, out_px=16)
    normalizer = StainNormalizer("macenko").fit(two[two.section == "A"])
    small = np.asarray(normalizer.transform(half)).mean(axis=(1, 2))
    assert np.abs(small - np.asarray(normalizer.transform(fine)).mean(axis=(1, 2))).max() < 8


# bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("level", [255, 120, 0])
def test_blank_training_images_are_refused(method, level):
    blank = np.full((4, 32, 32, 3), level, np.uint8)
    with pytest.raises(ValueError, match="no stain to learn from in 4 patches.*H&E in RGB"):
        StainNormalizer(method).fit(blank)
    section = cut({"A": np.full((160, 160, 3), level, np.uint8)})
    with pytest.raises(ValueError, match="no stain to learn from in 1 section images"):
        StainNormalizer(method).fit(section)


def test_a_single_colour_has_no_two_stains():
    pink = np.full((3, 32, 32, 3), (230, 120, 180), np.uint8)
    for method in ("macenko", "vahadane"):
        with pytest.raises(ValueError, match="tissue .* in two colours"):
            StainNormalizer(method).fit(pink)
    assert np.isfinite(StainNormalizer("reinhard").fit(pink).reference_).all()


@pytest.mark.parametrize("method", METHODS)
def test_blank_patches_and_blank_sections_stay_as_they_are(two, method):
    white = np.full((160, 160, 3), 255, np.uint8)
    X = cut({"A": two.section_images["A"].pixels(), "blank": white})
    normalizer = StainNormalizer(method).fit(X)
    assert normalizer.n_measured_ == 1
    assert (np.asarray(normalizer.transform(X))[9:] == 255).all()
    for level in (255, 230, 0):
        blank = np.full((2, 32, 32, 3), level, np.uint8)
        np.testing.assert_array_equal(normalizer.transform(blank), blank)


@pytest.mark.parametrize("method", METHODS)
def test_odd_patches_give_no_warning_and_no_nan(two, method, recwarn):
    rng = np.random.default_rng(0)
    odd = np.stack(
        [
            np.full((32, 32, 3), (230, 120, 180)),
            rng.integers(0, 256, (32, 32, 3)),
            np.where(np.arange(32)[:, None, None] < 2, (90, 40, 140), 255) + np.zeros((32, 32, 3)),
        ]
    ).astype(np.uint8)
    normal = np.asarray(StainNormalizer(method).fit(two).transform(odd))
    assert normal.shape == odd.shape and not recwarn.list


def test_wrong_arguments(two):
    with pytest.raises(ValueError, match="'method' parameter"):
        StainNormalizer("reinhart").fit(two)
    with pytest.raises(ValueError, match="'n_patches' parameter"):
        StainNormalizer(n_patches=0).fit(two)
    with pytest.raises(ValueError, match="features, .* featurizer=None"):
        StainNormalizer().fit(np.zeros((3, 5), np.uint8))
    normalizer = StainNormalizer().fit(two)
    with pytest.raises(ValueError, match="normalised already"):
        normalizer.transform(normalizer.transform(two))
    with pytest.raises(ValueError, match="dtype uint8"):
        normalizer.transform(np.zeros((1, 8, 8, 3)))


def test_real_sections_of_one_patient_come_closer(shared):
    from histoexpr.datasets import load_her2st

    images, _ = load_her2st(shared / "data" / "her2st", ["C2", "C3"])
    images = images[:: len(images) // 60]
    array = np.asarray(images)
    first = images.section == "C2"
    before = np.abs(array[first].mean((0, 1, 2)) - array[~first].mean((0, 1, 2))).mean()
    for method in METHODS:
        normal = np.asarray(StainNormalizer(method).fit(images[first]).transform(images))
        after = np.abs(normal[first].mean((0, 1, 2)) - normal[~first].mean((0, 1, 2))).mean()
        assert after < before
