"""What a featurizer remembers of the patches of its fit, and what it says of others."""

import pickle
import warnings

import numpy as np
import pytest
from PIL import Image
from sklearn.pipeline import make_pipeline

from histoexpr import LinearProbe, StainNormalizer, TextureFeaturizer, TimmFeaturizer
from histoexpr.data import SpotPatches
from histoexpr.datasets import load_her2st, make_spatial_expression
from histoexpr.featurizers import TrainingPatches
from histoexpr.slides import predict_slide
from histoexpr._inside import find_training_patches


@pytest.fixture(scope="module")
def cohort():
    return make_spatial_expression(
        3, grid=(7, 7), n_genes=5, mpp=2.0, out_px=32, stain_shift=0.3, random_state=1
    )


def cut(mpp, patch_size="64px", n=3):
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    spatial = np.column_stack([np.linspace(50, 150, n), np.full(n, 100)])
    return SpotPatches.from_images(image, spatial, mpp=mpp, patch_size=patch_size, out_px=32)


def test_the_record(cohort):
    images, _ = cohort
    for featurizer in (
        TextureFeaturizer(("stain",)),
        TimmFeaturizer("test_resnet", pretrained=False, random_state=0),
    ):
        record = pickle.loads(pickle.dumps(featurizer.fit(images))).training_patches_
        assert record.shape == (32, 32) and record.mpp == (2.0, 2.0, 2.0)
        assert record.width_um == 64 and record.pitch == pytest.approx(65)
        assert not record.hexagonal
        assert record.colours.shape == (3, 6) and (record.colours > 0).all()


def test_what_is_not_known(cohort):
    record = TrainingPatches.of(np.asarray(cohort[0]))
    assert (record.mpp, record.pitch, record.width_um) == (None, None, None)
    assert record.colours.shape == (1, 6)
    record.check_scale(cut(5.0))  # nothing to compare with
    glass = TrainingPatches.of(np.full((3, 32, 32, 3), 250, np.uint8))
    assert glass.colours.shape == (0, 6)


def test_a_visium_array_is_hexagonal():
    positions = np.array([[0, 0], [2, 0], [1, 1], [3, 1]])
    spatial = positions * [50, 50 * np.sqrt(3)] + 10
    image = np.zeros((200, 200, 3), np.uint8)
    X = SpotPatches.from_images(image, spatial, positions=positions, mpp=1.0)
    record = TrainingPatches.of(X)
    assert record.hexagonal and record.pitch == pytest.approx(100)


@pytest.mark.parametrize(
    "mpp, spoken", [(0.69, 0), (0.6, 0), (0.92, 1), (0.52, 1), (0.25, 2), (1.4, 2)]
)
def test_patches_of_another_scale(mpp, spoken):
    fitted = TextureFeaturizer(("stain",)).fit(cut(0.69))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if spoken == 2:
            with pytest.raises(ValueError, match="another scale of tissue. Cut them with patch_si"):
                fitted.transform(cut(mpp))
        else:
            fitted.transform(cut(mpp))
    assert len(caught) == (spoken == 1)


def test_patches_of_any_scale_seen_in_training_are_silent():
    both = SpotPatches.concatenate([cut(0.69), cut(0.92)])
    fitted = TextureFeaturizer(("stain",)).fit(both)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mpp in (0.69, 0.8, 0.92, None):
            fitted.transform(cut(mpp))


def test_patches_of_a_thumbnail_are_warned_about():
    sharp, blurred = cut(0.5, "50um"), cut(4.0, "50um")  # 1.6 um/px; enlarged from 4
    assert TrainingPatches.of(sharp).detail == (50 / 32, 50 / 32)
    assert TrainingPatches.of(blurred).detail == (4.0, 4.0)
    for known, new in ((sharp, blurred), (blurred, sharp)):
        with pytest.warns(UserWarning, match="image at full resolution"):
            TrainingPatches.of(known).check_scale(new)


def test_crops_in_micrometres_agree_whatever_the_slide():
    fitted = TextureFeaturizer(("stain",)).fit(cut(0.5, "50um"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.transform(cut(1.0, "50um"))


# colours ---------------------------------------------------------------------------------------


def colours(images):
    return TrainingPatches.of(images).colours[0]


def stained(images, power):
    """The same patches, the stain `power` times as dense."""
    patches = 255 * (np.asarray(images) / 255.0) ** power
    return SpotPatches.from_arrays(patches.astype(np.uint8), section=images.section)


def test_distance_of_colours(cohort):
    images, _ = cohort
    train = images.section != "C1"
    record = TrainingPatches.of(images[train])
    own = record.colour_distance(colours(images[~train]))
    shifted = [
        record.colour_distance(colours(stained(images[~train], power)))
        for power in (1.2, 1.5, 2.5)
    ]
    assert own < 2 < shifted[-1]
    assert own < shifted[0] < shifted[1] < shifted[2]


def test_a_slide_of_another_stain_is_warned_about_with_the_measure(cohort):
    images, adata = cohort
    tissue = images.section_images["A1"].pixels()
    dense = (255 * (tissue / 255.0) ** 2.5).astype(np.uint8)
    texture = TextureFeaturizer(("stain",))
    plain = LinearProbe(texture, n_components=4).fit(images, adata)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predicted = predict_slide(plain, tissue, mpp=2.0)
    assert predicted.uns["histoexpr"]["colour_distance"] < 1.5
    with pytest.warns(UserWarning, match=r"are \d\.\d\d times the spread of the training sections"):
        far = predict_slide(plain, dense, mpp=2.0)
    assert far.uns["histoexpr"]["colour_distance"] > 2
    # A normaliser before the model takes the shift away, and the warning with it.
    for pipeline in (
        make_pipeline(StainNormalizer(), LinearProbe(texture, n_components=4)),
        LinearProbe(make_pipeline(StainNormalizer(), texture), n_components=4),
        make_pipeline(StainNormalizer(), texture, LinearProbe(None, n_components=4)),
    ):
        pipeline.fit(images, adata)
        assert find_training_patches(pipeline)[0] is not None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            near = predict_slide(pipeline, dense, mpp=2.0)
        assert near.uns["histoexpr"]["colour_distance"] < 2


def test_real_cohorts_are_near_themselves_and_far_from_each_other(shared):
    images, _ = load_her2st(shared / "data" / "her2st", ["B4", "C2", "C4"])
    record = TrainingPatches.of(images[images.patient == "C"])
    assert record.colour_distance(colours(images[images.patient == "B"])) < 2
    bulb = np.asarray(Image.open(shared / "data" / "mob" / "rep11.jpg").convert("RGB"))
    x, y = np.meshgrid(np.linspace(700, 1500, 5), np.linspace(800, 1700, 5))
    X = SpotPatches.from_images(bulb, np.column_stack([x.ravel(), y.ravel()]), patch_size="60px")
    assert record.colour_distance(colours(X)) > 2
