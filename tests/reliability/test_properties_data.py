"""Whatever the entries of `histoexpr.data` are given: right, or refused as documented."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from contract import answer
from histoexpr import data
from histoexpr.data import SpotFeatures, SpotPatches
from strategies import adatas, arrays, matrices, names, nonsense, odd

IMAGE = np.arange(30 * 40 * 3, dtype=np.uint8).reshape(30, 40, 3)
PATCHES = SpotPatches.from_images(IMAGE, [[20, 20], [30, 20], [20, 25]], patch_size="8px", out_px=4)


@st.composite
def patch_arrays(draw, n):
    shape = draw(odd([(n, 4, 5, 3), (n, 4, 4, 3)], [
        (n, 4, 4), (n, 4, 4, 1), (n, 4, 4, 4), (n, 4, 4, 2), (n, 0, 4, 3), (4, 4, 3), (n, 3),
    ]))  # fmt: skip
    dtype = draw(odd(["u1"], ["f4", "f8", "i8", "u2", "O", "bool", "U3"]))
    return draw(arrays(shape, None, dtype))


def images():
    """Section images: an RGB array mostly."""
    picture = Image.fromarray(IMAGE)
    others = [IMAGE[..., 0], IMAGE[..., :1], np.dstack([IMAGE, IMAGE[..., :1]]), IMAGE / 255.0,
              IMAGE.astype("u2"), IMAGE[:0], IMAGE[None], picture, picture.convert("1"),
              picture.convert("CMYK"), picture.convert("P"), picture.convert("I"), "no.png", ".",
              picture.convert("RGBA"), picture.convert("LA"), picture.convert("F"),
              picture.convert("I").convert("I;16"), IMAGE[::-1, ::2], IMAGE.astype(">u2"),
              IMAGE > 9, np.asfortranarray(IMAGE), np.ma.masked_array(IMAGE, IMAGE > 9),
              IMAGE.astype("O"),
              {"A": IMAGE}, {}, {"A": IMAGE, "B": IMAGE}, {"A": None}]  # fmt: skip
    return odd([IMAGE], st.one_of(st.sampled_from(others), nonsense))


def places(n):
    """Coordinates on the image, mostly."""
    right = np.random.default_rng(n).uniform(0, 29, (n, 2))
    return odd([right], st.one_of(matrices(n, 2), nonsense))


def grids(n):
    return odd([None, np.arange(2 * n).reshape(n, 2)], st.one_of(matrices(n, 2), nonsense))


mpps = odd([None, 0.5, np.float32(2.0)], [-1, 0, np.nan, np.inf, "a", {"A": 0.5}, {"A": "x"},
                                          {"A": None}, [[1]], 1e-300, 1e300, True])  # fmt: skip


@given(st.data())
def test_patches_of_arrays(data_):
    n = data_.draw(st.integers(1, 5))
    X = answer(
        SpotPatches.from_arrays,
        data_.draw(patch_arrays(n)),
        spatial=data_.draw(places(n)),
        positions=data_.draw(grids(n)),
        section=data_.draw(odd(["A"], names(n))),
        patient=data_.draw(odd([None, "P"], names(n))),
        mpp=data_.draw(mpps),
    )
    if X is not None:
        check_patches(X)


@given(st.data())
def test_patches_of_section_images(data_):
    n = data_.draw(st.integers(1, 5))
    X = answer(
        SpotPatches.from_images,
        data_.draw(images()),
        data_.draw(places(n)),
        section=data_.draw(odd([None], names(n))),
        positions=data_.draw(grids(n)),
        mpp=data_.draw(mpps),
        patch_size=data_.draw(
            odd(["8px", "4um"], [8, None, "0px", "1.5px", "1e3um", "9" * 15 + "px", "999um"])
        ),
        out_px=data_.draw(odd([8, 4], [0, -1, 1.5, None, "a", 2**40])),
        fill=data_.draw(odd([255, (1, 2, 3)], [-1, 256, (1, 2), None, "a", 1.5, [[1]]])),
    )  # fmt: skip
    if X is not None:
        check_patches(X)


def check_patches(X):
    patches = np.asarray(X)
    assert patches.shape == X.shape and patches.dtype == np.uint8 and repr(X)
    np.testing.assert_array_equal(np.asarray(X[::-1]), patches[::-1])
    assert not X.section.flags.writeable and len(X.section) == len(X)
    assert (np.isnan(X.patch_mpp) | (X.patch_mpp > 0)).all()


@given(st.data())
def test_features_with_their_places(data_):
    n = data_.draw(st.integers(0, 5))
    X = answer(
        SpotFeatures,
        data_.draw(odd(arrays((n, 3), "numbers", "f8"), st.one_of(matrices(n), nonsense))),
        spatial=data_.draw(odd([None], places(n))),
        positions=data_.draw(grids(n)),
        section=data_.draw(odd([None], st.one_of(names(n), nonsense))),
        patient=data_.draw(odd([None], st.one_of(names(n), nonsense))),
    )
    if X is not None:
        assert X.shape == np.asarray(X).shape and len(X[1:]) == max(n - 1, 0) and repr(X)


@given(st.data())
def test_images_and_places(data_):
    n = data_.draw(st.integers(1, 5))
    size = data_.draw(odd([None, (4, 4)], [(5, 4)]))
    X = answer(data.check_images, data_.draw(st.one_of(patch_arrays(n), nonsense)), size)
    if X is not None:
        assert len(X) > 0 and X.shape[3] == 3
        assert sorted(data.reading_order(X)) == list(range(len(X)))
    positions = answer(data.check_positions, data_.draw(grids(n)), n)
    if positions is not None:
        assert positions.shape == (n, 2) and positions.dtype == np.int64 and positions.min() >= 0
    section = data_.draw(st.sampled_from([None, np.array(list("ABABA"))[:n]]))
    parts = answer(data.split_sections, n, section, positions, data_.draw(st.integers(1, 3)))
    assert parts is None or sorted(np.concatenate(parts)) == list(range(n))


def test_positions_beyond_int64_are_refused():
    for value in (1e30, 2.0**53 + 2, np.inf, np.nan, -1, 0.5):
        assert answer(data.check_positions, [[0, 1], [value, 2]], 2) is None


@given(odd(adatas(), st.one_of(matrices(), nonsense)))
def test_targets(y):
    target = answer(data.unpack_target, y)
    if target is None:
        return
    n_spots, n_genes = target.matrix.shape
    assert n_spots > 0 and n_genes > 0 and len(target.genes) == len(set(target.genes)) == n_genes
    for values in (target.section, target.patient, target.cell_type):
        assert values is None or (values.shape == (n_spots,) and values.dtype.kind == "U")
    if target.positions is not None:
        assert target.positions.shape == (n_spots, 2) and target.positions.min() >= 0
    assert answer(data.check_same_spots, np.zeros((n_spots + 1, 2)), target) is None


@given(st.data())
def test_neighbourhoods(data_):
    n = data_.draw(st.integers(0, 6))
    spatial = data_.draw(odd(st.just(np.random.default_rng(n).uniform(0, 9, (n, 2))), places(n)))
    pitch = answer(data.spot_pitch, spatial)
    assert pitch is None or np.isnan(pitch) or pitch > 0
    weights = answer(
        data.neighborhood,
        spatial,
        data_.draw(odd([None], st.one_of(names(n), nonsense))),
        data_.draw(odd([1.0, 0, 3], [-1, np.nan, np.inf, None, "a", 1e300])),
        data_.draw(st.booleans()),
    )
    if weights is not None:
        assert weights.shape == (len(spatial), len(spatial))
        np.testing.assert_allclose(weights.sum(axis=1), 1.0)


@given(st.data())
def test_finer_grids_and_fields_of_view(data_):
    n = data_.draw(st.integers(1, 6))
    place = st.tuples(st.floats(0, 39), st.floats(0, 29))
    spatial = data_.draw(st.lists(place, min_size=n, max_size=n))
    X = SpotPatches.from_images(IMAGE, spatial, patch_size="8px", out_px=4)
    finer = answer(
        data.finer_grid,
        data_.draw(odd([X], st.one_of(patch_arrays(n), nonsense))),
        data_.draw(odd([1, 2, 3, np.int64(2)], [0, -1, 1.5, None, "a"])),
        max_distance=data_.draw(odd([None, 10], [0, -1, np.nan, np.inf, "a"])),
    )
    if finer is not None:
        np.testing.assert_array_equal(finer.spatial[:n], spatial)
        assert np.asarray(finer).shape == (len(finer), 4, 4, 3)
    factor = data_.draw(odd([1, 2.0, 0.5], [0, -1, np.nan, np.inf, None, "a", 1e-9, 1e30]))
    wider = answer(data.field_of_view, X, factor)
    assert wider is None or np.asarray(wider).shape == X.shape


@given(st.lists(odd([PATCHES, PATCHES[:1]], nonsense), max_size=3))
def test_concatenation(parts):
    whole = answer(SpotPatches.concatenate, parts)
    assert whole is None or len(whole) == sum(map(len, parts))


@given(st.data())
def test_slides_of_arrays(data_):
    slide = answer(
        data.open_slide, data_.draw(images()), data_.draw(odd([None, 0.5], [0, -1, "a", np.nan]))
    )
    if slide is None:
        return
    width, height = (data_.draw(odd([5, 1], [0, -1, 2.5, None, 2**40])) for _ in "xy")
    region = answer(
        slide.read_region,
        *(data_.draw(odd([0, 5, -3, 1.5], [1e6, np.nan, None, -1e300, 1e300])) for _ in "xy"),
        width,
        height,
        mpp=data_.draw(odd([None, 0.5, 1], [1e-9, 0, "a", 1e9])),
        fill=data_.draw(odd([255, (1, 2, 3)], [-1, None, "a"])),
    )
    assert region is None or (region.shape, region.dtype) == ((height, width, 3), np.uint8)
    most = data_.draw(odd([10, 1], [0, -1, None, 2.5]))
    picture = answer(slide.thumbnail, most)
    assert picture is None or max(picture.shape[:2]) == min(most, max(slide.size))
