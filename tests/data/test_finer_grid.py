"""finer_grid: where virtual spots lie, what they inherit, that every method predicts on them."""

import pickle

import numpy as np
import pytest
from scipy.spatial import cKDTree

from histoexpr import GR2ST, MclSTExp, Reg2ST, STco, StInfer, TextureFeaturizer, Trainer
from histoexpr.data import SpotPatches, finer_grid
from histoexpr.data._finer_grid import _apart
from histoexpr.datasets import load_her2st

SQUARE = np.eye(2)
HEXAGONAL = np.array([[1, 0], [0.5, np.sqrt(0.75)]])


def _grid(lattice, shape, factor=1, angle=0.0, pitch=30.0):
    """The points of a lattice, `factor` times as fine, over the same area."""
    steps = [np.arange((n - 1) * factor + 1) / factor for n in shape]
    points = np.stack(np.meshgrid(*steps), axis=-1).reshape(-1, 2) @ lattice * pitch
    turn = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    return points @ turn + 250


def _images(spatial, size=600, **known):
    picture = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return SpotPatches.from_images(picture, spatial, patch_size="8px", out_px=8, **known)


def _virtual(images, *args, **kwargs):
    return finer_grid(images, *args, **kwargs).spatial[len(images) :]


def _assert_same_points(found, expected):
    assert len(found) == len(expected)
    assert cKDTree(expected).query(found)[0].max() < 1e-6
    assert cKDTree(found).query(expected)[0].max() < 1e-6


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
@pytest.mark.parametrize("angle", [0, 0.4, np.pi / 4])
@pytest.mark.parametrize("lattice", [SQUARE, HEXAGONAL], ids=["square", "hexagonal"])
def test_grid_is_the_finer_one(lattice, angle, factor):
    images = _images(_grid(lattice, (6, 5), angle=angle))
    finer = finer_grid(images, factor)
    _assert_same_points(finer.spatial, _grid(lattice, (6, 5), factor, angle))


def test_measured_spots_come_first_and_stay_as_they_are():
    spatial = np.random.default_rng(1).permutation(_grid(SQUARE, (4, 4)))
    positions = np.round((spatial - 250) / 30)
    images = _images(spatial, positions=positions, patient="p", mpp=0.5, section="s")
    finer = finer_grid(images)
    assert len(finer) == 49 and finer.shape == (49, 8, 8, 3)
    np.testing.assert_array_equal(finer.spatial[:16], images.spatial)
    np.testing.assert_array_equal(finer[:16], images)
    np.testing.assert_array_equal(images.spatial, spatial)
    assert set(finer.section) == {"s"} and set(finer.patient) == {"p"} and set(finer.mpp) == {0.5}
    # Whole positions, of the nearest measured spot: no table learnt at fit lacks a row for them.
    assert (finer.positions <= positions.max(axis=0)).all()
    away = np.abs((finer.spatial - 250) / 30 - finer.positions)
    assert away.max() == pytest.approx(0.5)
    assert (finer.spatial[16:, 1][:-1] <= finer.spatial[16:, 1][1:]).all(), "from top to bottom"


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]])
def test_of_equally_near_spots_the_left_then_the_upper_lends_its_positions(order):
    spatial = np.array([[100.1, 100.1], [100.1, 140.2], [130.3, 100.1], [130.3, 140.2]])[order]
    positions = np.array([[3, 5], [3, 6], [4, 5], [4, 6]])[order]
    finer = finer_grid(_images(spatial, positions=positions))
    assert finer.positions[4:].tolist() == [[3, 5], [3, 5], [3, 5], [4, 5], [3, 6]]


def test_virtual_patches_are_cut_around_their_own_centre():
    images = _images([[100, 100], [110, 100]])
    (virtual,) = finer_grid(images)[2:]
    expected = _images([[105, 100]])
    np.testing.assert_array_equal(virtual, expected[0])


def test_jittered_coordinates_keep_cell_centres_and_distances():
    rng = np.random.default_rng(0)
    spatial = _grid(SQUARE, (8, 8)) + rng.uniform(-4, 4, (64, 2))
    images = finer_grid(_images(spatial, positions=np.stack([np.arange(64)] * 2, axis=1)), 2)
    finer, wanted = images.spatial, _grid(SQUARE, (8, 8), 2)
    # Everything but a few centres of the most skewed cells is there, and nothing twice.
    distances, nearest = cKDTree(wanted).query(finer)
    assert distances.max() < 8 and len(np.unique(nearest)) == len(finer)
    assert len(finer) >= 0.97 * len(wanted)
    # Positions are those of the nearest measured spot, exactly (here: its number).
    to_own = np.linalg.norm(finer - spatial[images.positions[:, 0]], axis=1)
    np.testing.assert_allclose(to_own, cKDTree(spatial).query(finer)[0])


def test_nothing_is_put_into_holes_clefts_or_outside():
    spatial = _grid(SQUARE, (9, 9))
    steps = (spatial - 250) / 30
    hole = (np.abs(steps - [4, 4]) < 1.5).all(axis=1)
    virtual = (_virtual(_images(spatial[~hole]), 4) - 250) / 30
    assert not ((np.abs(virtual - [4, 4]) < 1 - 1e-9).all(axis=1)).any()
    assert virtual.min() > -1e-9 and virtual.max() < 8 + 1e-9
    cleft = steps[:, 0] > 4
    spatial[cleft] += [60, 0]
    gap = (_virtual(_images(spatial)) - 250) / 30
    assert not ((gap[:, 0] > 4 + 1e-9) & (gap[:, 0] < 7 - 1e-9)).any()
    wider = (_virtual(_images(spatial), max_distance=91.0) - 250) / 30
    assert ((wider[:, 0] > 4 + 1e-9) & (wider[:, 0] < 7 - 1e-9)).any()


def test_max_distance_chooses_the_pairs():
    images = _images(_grid(SQUARE, (3, 3)))
    assert len(_virtual(images, max_distance=29.9)) == 0
    assert len(_virtual(images, max_distance=30.1)) == 12, "sides, no diagonals"
    assert len(_virtual(images)) == 16


def test_near_duplicates_are_merged():
    # A spot that bulges out by a pixel: the midpoint of its neighbours is left out.
    row = [[100, 100], [120, 99], [140, 100], [120, 130]]
    virtual = _virtual(_images(row), max_distance=50)
    assert cKDTree(row).query(virtual)[0].min() > 5
    points = np.random.default_rng(0).uniform(100, 500, (150, 2))
    pitch = np.median(cKDTree(points).query(points, k=2)[0][:, 1])
    crowd = _virtual(_images(points), 3, max_distance=200)
    nearest = cKDTree(np.concatenate([points, crowd])).query(crowd, k=2)[0][:, 1]
    assert len(crowd) > 150 and nearest.min() > 0.25 * pitch / 3


def test_a_spot_is_left_out_only_for_one_that_stays():
    row = np.array([[1.0, 0], [2, 0], [3, 0], [4, 0]])
    assert _apart(np.array([[9.0, 9]]), row, 1.5).tolist() == [True, False, True, False]
    assert _apart(row[:1], row[1:], 1.5).tolist() == [False, True, False]


@pytest.mark.parametrize("slope", [(30, 0), (0, 30), (21, 13)])
def test_spots_in_a_line(slope):
    spatial = 100 + np.arange(5)[::-1, None] * np.array(slope)
    expected = 100 + np.arange(0.5, 4)[:, None] * np.array(slope)
    _assert_same_points(_virtual(_images(spatial)), expected)
    _assert_same_points(_virtual(_images(spatial[:2])), spatial[1:2] + np.array(slope) / 2)


def test_order_of_spots_and_other_sections_do_not_matter():
    rng = np.random.default_rng(0)
    spatial = rng.integers(250, 500, (60, 2))  # whole pixels: ties
    images = _images(spatial, section="s")
    expected = finer_grid(images, 3)
    order = rng.permutation(60)
    shuffled = finer_grid(images[order], 3)
    np.testing.assert_array_equal(shuffled.spatial[60:], expected.spatial[60:])
    other = _images(_grid(HEXAGONAL, (3, 3)), section="other")
    both = finer_grid(SpotPatches.concatenate([other, images]), 3)
    virtual = both[69:]
    np.testing.assert_array_equal(virtual.spatial[virtual.section == "s"], expected.spatial[60:])
    assert list(both.section[:69]) == ["other"] * 9 + ["s"] * 60
    np.testing.assert_array_equal(both[both.section == "s"][-5:], expected[-5:])


def test_spots_at_one_place_count_once_and_are_kept():
    images = _images([[100, 100], [100, 100], [130, 100]])
    np.testing.assert_array_equal(
        finer_grid(images).spatial, [[100, 100], [100, 100], [130, 100], [115, 100]]
    )


def test_maps_and_pickles_go_along():
    images = _images(_grid(SQUARE, (2, 2))).map(_inverted)
    finer = finer_grid(images)
    plain = np.asarray(finer_grid(_images(images.spatial)))
    np.testing.assert_array_equal(finer, 255 - plain)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(finer)), finer)


def _inverted(patches, spots):
    return 255 - patches


def test_a_large_section_needs_no_square_matrix():
    spatial = _grid(SQUARE, (250, 200), pitch=2.0)
    assert len(finer_grid(_images(spatial, size=800), 2)) == 499 * 399


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factor": 0}, "factor must be at least 1; got 0"),
        ({"factor": -2}, "factor must be at least 1; got -2"),
        ({"factor": 1.5}, "factor must be a whole number; got 1.5"),
        ({"factor": 2.0}, "factor must be a whole number; got 2.0"),
        ({"factor": "2"}, "factor must be a whole number; got '2'"),
        ({"factor": None}, "factor must be a whole number; got None"),
        ({"max_distance": 0}, "max_distance must be above 0.*got 0"),
        ({"max_distance": -1.0}, "max_distance must be above 0.*got -1.0"),
        ({"max_distance": np.nan}, "max_distance must be above 0.*got nan"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        finer_grid(_images(_grid(SQUARE, (2, 2))), **arguments)


def test_patches_without_pixels_between_them_are_refused():
    patches = np.zeros((4, 8, 8, 3), np.uint8)
    given = SpotPatches.from_arrays(patches, spatial=_grid(SQUARE, (2, 2)), section="given")
    with pytest.raises(ValueError, match="images are patches given as an array.*from_images"):
        finer_grid(patches)
    with pytest.raises(ValueError, match="Section 'given'.*no pixels between spots"):
        finer_grid(given)
    cut = _images(_grid(SQUARE, (2, 2)), section="cut")
    with pytest.raises(ValueError, match="Section 'given' consists of"):
        finer_grid(SpotPatches.concatenate([cut, given]))


@pytest.mark.parametrize("spatial", [[[5, 5]], [[5, 5], [5, 5]]], ids=["one", "one place"])
def test_a_section_with_one_spot_is_refused(spatial):
    alone = _images(spatial, section="alone")
    whole = _images(_grid(SQUARE, (2, 2)), section="whole")
    with pytest.raises(ValueError, match="Section 'alone' has spots at one place only"):
        finer_grid(SpotPatches.concatenate([whole, alone]))


@pytest.mark.parametrize(
    "model",
    [
        STco,
        MclSTExp,
        GR2ST,
        StInfer,
        lambda *args, **kwargs: StInfer(*args, predict_by="regression", **kwargs),
        lambda *args, **kwargs: Reg2ST(*args, hidden_dim=16, **kwargs),
    ],
    ids=["STco", "MclSTExp", "GR2ST", "StInfer", "StInfer-regression", "Reg2ST"],
)
def test_every_method_predicts_on_the_finer_grid(model, cohort):
    images, adata = cohort
    train = (images.section == images.section[0]) | (images.section == images.section[-1])
    model = model(TextureFeaturizer(), trainer=Trainer(max_epochs=1, batch_size=32), random_state=0)
    model.fit(images[train], adata[train])
    new = images[~train]
    finer = finer_grid(new)
    predicted = model.predict_adata(finer)
    assert predicted.shape == (len(finer), adata.n_vars)
    assert np.isfinite(predicted.X).all()
    np.testing.assert_array_equal(predicted.obsm["spatial"], finer.spatial)
    if not isinstance(model, Reg2ST):  # which looks at a section as a whole
        np.testing.assert_allclose(predicted.X[: len(new)], model.predict(new), atol=1e-5)


def test_real_sections(shared):
    images, _ = load_her2st(shared / "data" / "her2st", ["C2", "B4"])
    finer = finer_grid(images, 2)
    for name in ("C2", "B4"):
        spots, own = (x.spatial[x.section == name] for x in (images, finer))
        pitch = np.median(cKDTree(spots).query(spots, k=2)[0][:, 1])
        distances = cKDTree(own).query(own, k=2)[0][:, 1]
        assert distances.min() > 0.25 * pitch
        assert np.median(distances) == pytest.approx(pitch / 2, rel=0.1)
        assert 3 * len(spots) < len(own) < 4 * len(spots)


def test_hidden_spots_of_a_real_section_are_found_between_those_shown(shared):
    images, adata = load_her2st(shared / "data" / "her2st", "C2")
    odd = images.positions.sum(axis=1) % 2 == 1
    finer = finer_grid(images[~odd])
    steps = np.abs(images.positions[odd][:, None] - images.positions[~odd]).sum(axis=2)
    hidden = images.spatial[odd][(steps == 1).sum(axis=1) == 4]
    assert len(hidden) > 50
    pitch = np.median(cKDTree(images.spatial).query(images.spatial, k=2)[0][:, 1])
    distances = cKDTree(finer.spatial).query(hidden)[0]
    assert np.median(distances) < 0.15 * pitch and (distances < 0.5 * pitch).mean() > 0.97
