"""Keys of what patches show: equal keys are equal pixels, and nothing is cut for them."""

import os
import pickle

import numpy as np
import pytest
import tifffile
from PIL import Image

from histoexpr import StainNormalizer
from histoexpr.data import SpotPatches, _hashing, clear_image_cache, field_of_view, open_slide
from histoexpr.data._content import content_keys, is_told_by_reading
from histoexpr.data._images import FileImage
from histoexpr.slides._ahead import ReadAhead

SIDE = 96
CENTRES = np.array([[10.0, 10.0], [48.0, 30.5], [48.0, 31.0], [95.0, 95.0]])


def pixels(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def spots(image, centres=CENTRES, **options):
    return SpotPatches.from_images(image, centres, **{"patch_size": "16px", "out_px": 8, **options})


def frozen(array):
    array.flags.writeable = False
    return array


@pytest.fixture
def file(tmp_path):
    return save(pixels(), tmp_path / "section.png")


def save(array, path):
    Image.fromarray(array).save(path)
    return path


def tiled(array, path):
    tifffile.imwrite(path, array, tile=(32, 32), photometric="rgb")
    return path


# --- what counts ------------------------------------------------------------------------------


def test_a_key_is_of_the_patch_whatever_stands_beside_it(file):
    X = spots(file)
    keys = content_keys(X)
    assert len(set(keys)) == len(X)
    order = [3, 1, 1]
    assert content_keys(X[order]) == [keys[i] for i in order]
    assert content_keys(SpotPatches.concatenate([X[2:], X[:1]])) == keys[2:] + keys[:1]
    assert content_keys(spots({"B": file}, section="B", patient="P", mpp=0.5)) == keys


def test_the_content_counts_not_the_path(file, tmp_path):
    copy = save(pixels(), tmp_path / "copy.png")
    other = save(pixels(1), tmp_path / "other.png")
    keys = content_keys(spots(file))
    assert content_keys(spots(copy)) == keys
    assert not set(content_keys(spots(other))) & set(keys)
    both = spots({"A": file, "B": other}, np.tile(CENTRES, (2, 1)), section=["A"] * 4 + ["B"] * 4)
    assert content_keys(both) == keys + content_keys(spots(other))


@pytest.mark.parametrize("change", [{"patch_size": "17px"}, {"out_px": 9}, {"fill": 254}])
def test_the_square_counts(file, change):
    assert not set(content_keys(spots(file, **change))) & set(content_keys(spots(file)))


def test_the_field_of_view_counts(file):
    X = spots(file)
    assert not set(content_keys(field_of_view(X, 2.0))) & set(content_keys(X))


def test_given_patches_count_by_their_pixels():
    patches = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    patches[7] = patches[3]
    keys = content_keys(patches)
    assert keys[7] == keys[3] and len(set(keys)) == 39
    assert content_keys(SpotPatches.from_arrays(patches, section="B")[5:9]) == keys[5:9]
    assert content_keys(patches[:, ::-1][:, ::-1]) == keys  # however it lies in memory
    reshaped = patches.reshape(40, 4, 16, 3)
    assert not set(content_keys(reshaped)) & set(keys)
    patches[0, 0, 0, 0] ^= 1
    assert content_keys(patches)[0] != keys[0] and content_keys(patches)[1:] == keys[1:]


def test_threads_do_not_move_keys(monkeypatch):
    import torch

    patches = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
    keys = content_keys(patches)
    monkeypatch.setattr(_hashing, "_WORTH_THREADS", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert content_keys(patches) == keys


# --- what it costs ----------------------------------------------------------------------------


def test_no_image_is_decoded_and_no_patch_cut(file, monkeypatch):
    clear_image_cache()
    monkeypatch.setattr(FileImage, "pixels", lambda self: pytest.fail("decoded"))
    monkeypatch.setattr(SpotPatches, "_cut", lambda self, rows: pytest.fail("cut"))
    assert len(content_keys(spots(file))) == len(CENTRES)


def test_a_file_is_hashed_once_in_a_process(file, monkeypatch):
    X = spots(file)
    keys = content_keys(X)
    again = pickle.loads(pickle.dumps(X))
    content_keys(again)
    monkeypatch.setattr(FileImage, "_verify", lambda self, file: pytest.fail("hashed again"))
    assert content_keys(X) == keys
    assert content_keys(pickle.loads(pickle.dumps(X))) == keys


# --- what can change --------------------------------------------------------------------------


def test_a_file_that_has_changed_is_refused(file):
    X = spots(file)
    keys = content_keys(X)
    loaded = pickle.loads(pickle.dumps(X))
    save(pixels(1), file)
    os.utime(file, ns=(0, 0))
    for known in (X, loaded):
        with pytest.raises(ValueError, match="has changed since"):
            content_keys(known)
    assert not set(content_keys(spots(file))) & set(keys)
    save(pixels(), file)
    os.utime(file, ns=(1, 1))
    assert content_keys(X) == content_keys(loaded) == keys  # touched, not changed


def test_a_file_that_is_gone_is_known_by_its_checksum(file):
    X, unknown = spots(file), spots(file)
    keys = content_keys(X)
    file.unlink()
    assert content_keys(X) == keys
    with pytest.raises(FileNotFoundError, match="no section image"):
        content_keys(unknown)


def test_an_array_that_is_written_to_has_another_key():
    array = pixels()
    X = spots(array)
    keys = content_keys(X)
    assert content_keys(spots(pixels())) == keys
    array[0, 0, 0] ^= 1
    assert not set(content_keys(X)) & set(keys)


def test_an_array_that_nobody_can_write_to_is_hashed_once(monkeypatch):
    X = spots(frozen(pixels()))
    keys = content_keys(X)
    view = pixels()[:]
    assert content_keys(spots(frozen(view))) == keys
    assert not _hashing.is_frozen(view)  # its base can be written to
    loaded = pickle.loads(pickle.dumps(X))
    monkeypatch.setattr("histoexpr.data._images.hash_each", lambda *a: pytest.fail("hashed again"))
    assert content_keys(X) == content_keys(loaded) == keys
    with pytest.raises(ValueError, match="read-only"):
        loaded.section_images["0"].pixels()[0] = 0


def test_a_large_array_is_not_hashed_for_few_spots():
    X = spots(pixels())
    most_bytes = SIDE * SIDE * 3 // len(X) + 1
    assert content_keys(X, most_bytes) is not None
    assert content_keys(X[:1], most_bytes) is None


# --- functions of map -------------------------------------------------------------------------


def test_what_normalises_counts(file):
    X = spots(file, out_px=16)
    first = StainNormalizer().fit(X).transform(X)
    keys = content_keys(first)
    assert not is_told_by_reading(first)
    assert not set(keys) & set(content_keys(X))
    assert content_keys(StainNormalizer().fit(X).transform(X)[1:]) == keys[1:]
    assert content_keys(pickle.loads(pickle.dumps(first))) == keys
    for other in (StainNormalizer("macenko"), StainNormalizer(standardize_white=False)):
        assert not set(content_keys(other.fit(X).transform(X))) & set(keys)


def test_a_function_of_the_user_is_told_by_reading(file):
    assert is_told_by_reading(spots(file).map(lambda patches, spots: 255 - patches))
    assert not is_told_by_reading(spots(file)) and not is_told_by_reading(np.zeros((1, 2, 2, 3)))


# --- slides -----------------------------------------------------------------------------------


def test_a_slide_counts_until_its_file_is_written_to(tmp_path):
    path = tiled(pixels(), tmp_path / "slide.tif")
    X = spots(open_slide(path, mpp=0.5))
    keys = content_keys(X)
    assert len(set(keys)) == len(X)
    assert content_keys(spots(open_slide(path, mpp=0.25))) == keys  # the same pixels
    assert content_keys(pickle.loads(pickle.dumps(X))) == keys
    tiled(pixels(1), path)
    assert content_keys(X) is None
    assert not set(content_keys(spots(open_slide(path)))) & set(keys)
    path.unlink()
    assert content_keys(X) is None


def test_a_picture_opened_as_a_slide_is_that_picture(file):
    assert content_keys(spots(open_slide(file))) == content_keys(spots(file))


def test_slides_in_many_files_and_slides_read_ahead_have_no_keys(tmp_path):
    slide = open_slide(tiled(pixels(), tmp_path / "slide.tif"))
    assert content_keys(spots(ReadAhead(slide))) is None
    slide._opened = None  # what a slide of several files has
    assert content_keys(spots(slide)) is None
