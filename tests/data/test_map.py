"""SpotPatches.map: patches changed when they are read."""

import pickle

import numpy as np
import pytest

from histoexpr.data import SpotPatches


def invert(patches, spots):
    return 255 - patches


def halve(patches, spots):
    return patches // 2


def mark_row(patches, spots):
    patches[:, 0, 0, 0] = spots.positions[:, 0]
    return patches


def too_small(patches, spots):
    return patches[:, 1:]


@pytest.fixture
def patches():
    picture = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    spatial = np.array([[10, 10], [20, 30], [30, 20], [25, 5]])
    return SpotPatches.from_images(
        picture, spatial, positions=spatial, section="S", patch_size="8px", out_px=8
    )


def test_functions_act_when_read_in_order(patches):
    calls = []

    def spy(pixels, spots):
        calls.append(len(spots))
        return pixels

    X = patches.map(spy).map(invert).map(halve)
    assert calls == [] and X.is_mapped and not patches.is_mapped
    np.testing.assert_array_equal(X, (255 - np.asarray(patches)) // 2)
    np.testing.assert_array_equal(X[2], (255 - patches[2]) // 2)
    np.testing.assert_array_equal(X[[3, 0]][1:], X[[0]])
    assert calls == [4, 1, 1, 1]
    assert X.shape == patches.shape and X.section_images == patches.section_images


def test_functions_see_the_spots_they_are_given(patches):
    X = patches.map(mark_row)[[3, 1]]
    np.testing.assert_array_equal(np.asarray(X)[:, 0, 0, 0], [25, 20])
    before = np.asarray(patches)
    np.asarray(X)
    np.testing.assert_array_equal(patches, before)  # what a function is given is a copy


def test_maps_travel(patches):
    X = patches.map(invert)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(X[1:])), X[1:])
    whole = SpotPatches.concatenate([X[:2], X[2:]])
    np.testing.assert_array_equal(whole, X)
    with pytest.raises(ValueError, match="different functions .* Concatenate first"):
        SpotPatches.concatenate([patches, X])


def test_a_function_must_return_patches(patches):
    with pytest.raises(ValueError, match="must return patches like those it is given"):
        patches.map(too_small)[0]
