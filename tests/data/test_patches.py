"""SpotPatches: what is cut, what is shared, what travels, what is refused."""

import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import GroupKFold, cross_val_predict, train_test_split
from sklearn.utils import _safe_indexing, indexable

from histoexpr.data import SpotPatches, check_images, clear_image_cache
from histoexpr.data import _images as images_module


@pytest.fixture(autouse=True)
def empty_cache():
    clear_image_cache()
    yield
    clear_image_cache()


@pytest.fixture
def picture():
    """A section of 40 x 60 px in which no two pixels of a patch are alike."""
    return np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)


@pytest.fixture
def patches(picture):
    spatial = np.array([[10, 10], [20.4, 30], [39.9, 59.9], [0, 0], [25, 5]])
    return SpotPatches.from_images(
        picture,
        spatial,
        section="S",
        patient=["p", "p", "q", "q", "q"],
        positions=spatial.astype(int),
        mpp=0.5,
        patch_size="8px",
        out_px=8,
    )


@pytest.fixture
def decodings(monkeypatch):
    """The paths decoded in this process, in order."""
    paths, read = [], images_module.read_image

    def counted(file, path, header_only=False):
        if not header_only:
            paths.append(path)
        return read(file, path, header_only)

    monkeypatch.setattr(images_module, "read_image", counted)
    return paths


# what is cut -----------------------------------------------------------------------------------


def test_even_and_odd_squares_to_the_bit(picture):
    even = SpotPatches.from_images(picture, [[20, 30]], patch_size="8px", out_px=8)
    np.testing.assert_array_equal(even[0], picture[26:34, 16:24])
    odd = SpotPatches.from_images(picture, [[20, 30]], patch_size="7px", out_px=7)
    np.testing.assert_array_equal(odd[0], picture[27:34, 17:24])  # centred on the pixel
    later = SpotPatches.from_images(picture, [[20.5, 29.4]], patch_size="8px", out_px=8)
    np.testing.assert_array_equal(later[0], picture[25:33, 17:25])  # half a pixel goes up


def test_beyond_the_border_is_filled_never_short(picture, patches):
    corner = patches[3]
    assert corner.shape == (8, 8, 3)
    assert (corner[:4] == 255).all() and (corner[:, :4] == 255).all()
    np.testing.assert_array_equal(corner[4:, 4:], picture[:4, :4])
    far = patches[2]
    np.testing.assert_array_equal(far[:4, :4], picture[56:60, 36:40])
    assert (far[4:] == 255).all()
    pink = SpotPatches.from_images(
        picture, [[0, 0]], patch_size="8px", out_px=8, fill=(230, 180, 200)
    )
    assert (pink[0][0, 0] == (230, 180, 200)).all()
    black = SpotPatches.from_images(picture, [[0, 0]], patch_size="200px", out_px=200, fill=0)
    assert black[0].shape == (200, 200, 3) and (black[0][:100] == 0).all()
    np.testing.assert_array_equal(black[0][100:160, 100:140], picture)


def test_other_sizes_are_resized_without_aliasing():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = SpotPatches.from_images(stripes, [[32, 32]], patch_size="64px", out_px=16)
    assert small.shape == (1, 16, 16, 3)
    assert np.abs(small[0].astype(int) - 127).max() < 20  # nearest neighbour gives 0 or 255
    np.testing.assert_allclose(small.patch_mpp, [np.nan])


def test_micrometres_follow_each_section(picture):
    X = SpotPatches.from_images(
        {"A": picture, "B": picture[:, ::-1]},
        [[20, 30], [20, 30]],
        section=["A", "B"],
        mpp={"A": 0.92, "B": 0.69},
        patch_size="15.5um",
        out_px=8,
    )
    np.testing.assert_array_equal(X._crop_px, [17, 22])  # 16.85 and 22.46
    np.testing.assert_allclose(X.patch_mpp, [0.92 * 17 / 8, 0.69 * 22 / 8])
    for unit in ("µm", "μm", " um "):
        Y = SpotPatches.from_images(picture, [[9, 9]], mpp=0.5, patch_size=f"4{unit}", out_px=8)
        np.testing.assert_array_equal(Y[0], picture[5:13, 5:13])


def test_asarray_and_shape(patches, picture):
    array = np.asarray(patches)
    assert array.shape == patches.shape == (5, 8, 8, 3)
    assert array.dtype == patches.dtype == np.uint8 and patches.ndim == 4 and len(patches) == 5
    np.testing.assert_array_equal(array, np.stack(list(patches)))
    assert np.asarray(patches, dtype=np.float32).dtype == np.float32
    assert np.array(patches, copy=True).flags.writeable
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        with pytest.raises(ValueError, match="Unable to avoid copy"):
            np.asarray(patches, copy=False)


def test_attributes(patches):
    np.testing.assert_array_equal(patches.section, ["S"] * 5)
    np.testing.assert_array_equal(patches.patient, ["p", "p", "q", "q", "q"])
    assert patches.spatial.dtype == np.float64 and patches.positions.dtype == np.int64
    np.testing.assert_array_equal(patches.mpp, [0.5] * 5)
    with pytest.raises(ValueError, match="read-only"):
        patches.spatial[0] = 3
    text = repr(patches)
    for part in ("5 spots", "'S'", "8 x 8 px", "0.5 um/px"):
        assert part in text
    assert "unknown um/px" in repr(SpotPatches.from_arrays(np.zeros((2, 4, 4, 3), np.uint8)))
    assert "section none" in repr(patches[[]])


def test_the_callers_arrays_are_left_alone(picture):
    spatial = np.array([[20.0, 30.0]])
    X = SpotPatches.from_images(picture, spatial, patch_size="8px", out_px=8)
    before = picture.copy()
    X[0][:] = 0
    np.asarray(X)[:] = 0
    np.testing.assert_array_equal(picture, before)
    assert picture.flags.writeable and spatial.flags.writeable
    spatial[:] = 0
    np.testing.assert_array_equal(X.spatial, [[20, 30]])


# slices ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index",
    [
        slice(1, 4),
        slice(None, None, -2),
        [3, 0, 0],
        [-1, 1],
        [],
        np.array([True, False, True, False, False]),
        pd.Series([False, True, True, False, False]),
        ([2, 1], Ellipsis),
        (np.array([False] * 5), Ellipsis),
        Ellipsis,
    ],
    ids=str,
)
def test_views_are_what_numpy_gives(patches, index):
    view = patches[index]
    plain = index[0] if isinstance(index, tuple) else index
    rows = np.arange(5)[plain] if len(np.shape(plain)) == 0 or len(plain) else np.arange(0)
    assert isinstance(view, SpotPatches) and len(view) == len(rows)
    np.testing.assert_array_equal(np.asarray(view), np.asarray(patches)[rows])
    for name in ("spatial", "positions", "section", "patient", "mpp", "patch_mpp"):
        np.testing.assert_array_equal(getattr(view, name), getattr(patches, name)[rows])


def test_integers_give_patches(patches):
    for row in (0, 4, -1, -5, np.int64(2), np.array(3)):
        assert patches[row].shape == (8, 8, 3)
        np.testing.assert_array_equal(patches[row], np.asarray(patches)[row])
    np.testing.assert_array_equal(patches[2, ...], patches[2])


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (5, "out of bounds"),
        (-6, "out of bounds"),
        ([0, 7], "out of bounds"),
        ([True, False], "boolean"),
        ([0.5], "integer"),
        ("a", "integer|valid indices"),
        (True, "1-D array"),
        ([[0, 1]], "1-D array"),
        ((0, 1), "by spot alone"),
    ],
)
def test_wrong_indices(patches, index, message):
    with pytest.raises(IndexError, match=message):
        patches[index]


def test_views_share_the_pixels(picture, patches):
    image = patches.section_images["S"]
    assert patches[1:3][[0]].section_images["S"] is image
    assert np.shares_memory(image.pixels(), picture)
    array = np.zeros((4, 6, 6, 3), np.uint8)
    stack = SpotPatches.from_arrays(array)
    assert np.shares_memory(stack[[3, 1]]._sources[0], array)
    assert stack.section_images == {}


# files -----------------------------------------------------------------------------------------


def test_a_file_is_opened_once_and_closed(tmp_path, picture, decodings):
    path = tmp_path / "s.png"
    Image.fromarray(picture).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a file left open is a ResourceWarning
        X = SpotPatches.from_images(path, [[20, 30], [5, 5]], patch_size="8px", out_px=8)
        assert decodings == []  # only the header has been read
        np.testing.assert_array_equal(X[0], picture[26:34, 16:24])
        np.asarray(X[1:])
        again = SpotPatches.from_images(str(path), [[9, 9]], patch_size="8px", out_px=8)
        assert again[0].shape == (8, 8, 3)
        thrice = pickle.loads(pickle.dumps(X))
        np.testing.assert_array_equal(thrice, X)
    assert decodings == [str(path)]


def test_a_relative_path_survives_another_directory(tmp_path, picture, monkeypatch):
    Image.fromarray(picture).save(tmp_path / "s.png")
    monkeypatch.chdir(tmp_path)
    X = SpotPatches.from_images("s.png", [[20, 30]], patch_size="8px", out_px=8)
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(X[0], picture[26:34, 16:24])


def test_the_pickle_of_a_file_holds_no_pixels(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    path = tmp_path / "s.tif"
    tifffile.imwrite(path, noise, photometric="rgb")
    X = SpotPatches.from_images(path, [[150, 150]] * 3, patch_size="8px", out_px=8)
    before = np.asarray(X)
    data = pickle.dumps(X)
    assert len(data) < 5_000
    code = (
        "import pickle, sys, numpy as np; X = pickle.loads(sys.stdin.buffer.read());"
        "sys.stdout.buffer.write(np.asarray(X).tobytes())"
    )
    fresh = subprocess.run(
        [sys.executable, "-c", code], input=data, capture_output=True, check=True
    )
    assert fresh.stdout == before.tobytes()


def test_a_changed_file_is_refused(tmp_path, picture):
    path = tmp_path / "s.png"
    Image.fromarray(picture).save(path)
    X = SpotPatches.from_images(path, [[20, 30]], patch_size="8px", out_px=8)
    late = SpotPatches.from_images(path, [[20, 30]], patch_size="8px", out_px=8)
    data = pickle.dumps(X)
    status = path.stat()
    Image.fromarray(255 - picture).save(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    with pytest.raises(ValueError, match="has changed since its SpotPatches was built"):
        pickle.loads(data)[0]
    with pytest.raises(ValueError, match="has changed since"):
        pickle.dumps(late)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="put the file there"):
        pickle.loads(data)[0]


def test_a_touched_file_is_still_the_same(tmp_path, picture):
    path = tmp_path / "s.png"
    Image.fromarray(picture).save(path)
    X = SpotPatches.from_images(path, [[20, 30]], patch_size="8px", out_px=8)
    data = pickle.dumps(X)
    os.utime(path, (1, 1))
    np.testing.assert_array_equal(X[0], picture[26:34, 16:24])
    clear_image_cache()
    np.testing.assert_array_equal(pickle.loads(data)[0], X[0])


def test_the_cache_is_bounded(tmp_path, picture, decodings, monkeypatch):
    paths = {name: tmp_path / f"{name}.png" for name in "ABC"}
    for shift, path in enumerate(paths.values()):
        Image.fromarray(np.roll(picture, shift, axis=0)).save(path)
    centres = [[20, 30]] * 3
    X = SpotPatches.from_images(paths, centres, section=list("ABC"), patch_size="8px", out_px=8)
    two = 2.5 * picture.nbytes / 2**30
    monkeypatch.setenv(images_module.CACHE_LIMIT_VARIABLE, str(two))
    for row in (0, 1, 0, 2, 0):  # C drives out B, which was used less recently than A
        X[row]
    assert [p[-5] for p in decodings] == ["A", "B", "C"]
    X[1]
    assert decodings[-1].endswith("B.png")
    monkeypatch.setenv(images_module.CACHE_LIMIT_VARIABLE, "0")
    clear_image_cache()
    X[0], X[1], X[1]
    assert len(images_module._cache._images) == 1  # the newest always stays
    monkeypatch.setenv(images_module.CACHE_LIMIT_VARIABLE, "much")
    with pytest.raises(ValueError, match="HISTOEXPR_IMAGE_CACHE_GB must be a number"):
        X[2]


def test_a_batch_asks_for_each_image_once(tmp_path, picture, decodings, monkeypatch):
    monkeypatch.setenv(images_module.CACHE_LIMIT_VARIABLE, "0")
    for name in "AB":
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    X = SpotPatches.from_images(
        {name: tmp_path / f"{name}.png" for name in "AB"},
        [[20, 30]] * 6,
        section=list("ABABAB"),
        patch_size="8px",
        out_px=8,
    )
    np.asarray(X)
    assert len(decodings) == 2


def save_lzw(picture, path):
    Image.fromarray(picture).save(path, compression="tiff_lzw")  # tifffile alone cannot read it


def save_planar(picture, path):
    tifffile.imwrite(path, np.moveaxis(picture, -1, 0), photometric="rgb", planarconfig="separate")


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("s.png", lambda a, p: Image.fromarray(a).save(p)),
        ("s.tif", lambda a, p: tifffile.imwrite(p, a, photometric="rgb")),
        ("s.tiff", lambda a, p: tifffile.imwrite(p, a, photometric="rgb", compression="zlib")),
        ("s.ome.tif", lambda a, p: tifffile.imwrite(p, a, photometric="rgb", ome=True)),
        ("planar.tif", save_planar),
        ("lzw.tif", save_lzw),
        ("bigtiff.tif", lambda a, p: tifffile.imwrite(p, a, photometric="rgb", bigtiff=True)),
        ("tiff.without.suffix", lambda a, p: Image.fromarray(a).save(p, format="TIFF")),
    ],
)
def test_lossless_formats_are_read_to_the_bit(tmp_path, picture, name, save):
    save(picture, tmp_path / name)
    X = SpotPatches.from_images(tmp_path / name, [[20, 30]], patch_size="8px", out_px=8)
    np.testing.assert_array_equal(X[0], picture[26:34, 16:24])
    assert X.section_images["0"].size == (40, 60)


def test_jpg_is_what_pillow_reads(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "s.jpg")
    X = SpotPatches.from_images(tmp_path / "s.jpg", [[20, 30]], patch_size="8px", out_px=8)
    with Image.open(tmp_path / "s.jpg") as image:
        np.testing.assert_array_equal(X[0], np.asarray(image)[26:34, 16:24])


def test_how_large_an_image_may_be_is_one_setting(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow's, of 2400 px, is not asked
    monkeypatch.setenv("HISTOEXPR_MAX_DECODED_GB", str(7200 / 2**30))
    Image.fromarray(picture).save(tmp_path / "s.png")
    tifffile.imwrite(tmp_path / "s.tif", picture, photometric="rgb")
    for path in (tmp_path / "s.png", tmp_path / "s.tif"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            X = SpotPatches.from_images(path, [[20, 30]], patch_size="8px", out_px=8)
            assert X[0].shape == (8, 8, 3)
        with monkeypatch.context() as lower:
            lower.setenv("HISTOEXPR_MAX_DECODED_GB", str(7199 / 2**30))
            with pytest.raises(ValueError, match="set the environment variable HISTOEXPR_MAX_DECO"):
                SpotPatches.from_images(path, [[20, 30]])
    monkeypatch.setenv("HISTOEXPR_MAX_DECODED_GB", "much")
    with pytest.raises(ValueError, match="must be a number of GiB"):
        SpotPatches.from_images(tmp_path / "s.png", [[20, 30]])


# colours ---------------------------------------------------------------------------------------


def one_patch(image):
    return SpotPatches.from_images(image, [[4, 4]], patch_size="8px", out_px=8)[0]


def test_grey_is_repeated(tmp_path):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    expected = np.repeat(grey[..., None], 3, axis=-1)
    Image.fromarray(grey).save(tmp_path / "g.png")
    tifffile.imwrite(tmp_path / "g.tif", grey)
    tifffile.imwrite(tmp_path / "g.tiff", 255 - grey, photometric="miniswhite")
    for image in (grey, grey[..., None], Image.fromarray(grey), *sorted(tmp_path.glob("g.*"))):
        np.testing.assert_array_equal(one_patch(image), expected)


def test_transparency_is_laid_on_white(tmp_path):
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[..., :3], rgba[..., 3] = (200, 100, 0), np.arange(64).reshape(8, 8) * 4
    alpha = rgba[..., 3:] / 255
    expected = np.round(rgba[..., :3] * alpha + 255 * (1 - alpha))
    Image.fromarray(rgba).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    for image in (rgba, Image.fromarray(rgba), tmp_path / "a.png", tmp_path / "a.tif"):
        np.testing.assert_allclose(one_patch(image), expected, atol=1e-9)
    opaque = np.concatenate([rgba[..., :3], np.full((8, 8, 1), 255, np.uint8)], axis=-1)
    np.testing.assert_array_equal(one_patch(opaque), opaque[..., :3])


def test_palette_la_and_cmyk(tmp_path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.save(tmp_path / "p.png")
    assert (one_patch(tmp_path / "p.png") == (10, 20, 30)).all()
    image.save(tmp_path / "clear.png", transparency=1)
    assert (one_patch(tmp_path / "clear.png") == 255).all()
    assert (one_patch(Image.new("LA", (8, 8), (7, 255))) == 7).all()
    Image.new("CMYK", (8, 8), (0, 0, 0, 0)).save(tmp_path / "c.tif")
    assert (one_patch(tmp_path / "c.tif") == 255).all()  # four channels that are not RGBA


def test_other_images_are_refused(tmp_path, picture):
    deep = np.zeros((8, 8), np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    tifffile.imwrite(tmp_path / "deep.tif", deep)
    tifffile.imwrite(tmp_path / "deep_rgb.tif", np.zeros((8, 8, 3), np.uint16), photometric="rgb")
    tifffile.imwrite(
        tmp_path / "stack.tif", np.zeros((5, 8, 8), np.uint8), photometric="minisblack"
    )
    tifffile.imwrite(
        tmp_path / "fluorescence.tif",
        np.zeros((4, 8, 8), np.uint8),
        metadata={"axes": "CYX"},
        ome=True,
        photometric="minisblack",
    )
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "broken.tif").write_bytes(b"II*\0 and no more")
    cut = tmp_path / "cut.png"
    Image.fromarray(picture).save(cut)
    cut.write_bytes(cut.read_bytes()[:3000])
    cut_tiff = tmp_path / "cut.tif"
    tifffile.imwrite(cut_tiff, picture, photometric="rgb", compression="zlib")
    cut_tiff.write_bytes(cut_tiff.read_bytes()[:3000])
    for image, message in [
        (deep, "dtype uint8.*uint16.*scale it to 0..255"),
        (np.zeros((8, 8, 3)), "dtype uint8.*float64.*255 \\* image"),
        (np.zeros((8, 8), bool), "dtype uint8.*bool"),
        (np.zeros((3, 8, 8), np.uint8), "channels on its last axis"),
        (np.zeros((0, 8, 3), np.uint8), "no pixels"),
        (tmp_path / "deep.png", "16-bit"),
        (tmp_path / "deep.tif", "uint16"),
        (tmp_path / "deep_rgb.tif", "uint16"),
        (tmp_path / "stack.tif", "stack with axes"),
        (tmp_path / "fluorescence.tif", "stack with axes"),
        (Image.new("F", (8, 8)), "mode 'F'"),
        (Image.new("1", (8, 8)), "mode '1'"),
        (tmp_path / "text.jpg", "not an image that Pillow or tifffile"),
        (tmp_path / "broken.tif", "broken TIFF|cannot be decoded"),
        (cut, "cut short"),
        (cut_tiff, "cut short"),
    ]:
        with pytest.raises(ValueError, match=message):
            one_patch(image)
    for name in ("deep.png", "deep.tif", "stack.tif"):  # before a pixel is decoded
        with pytest.raises(ValueError, match="16|stack"):
            SpotPatches.from_images(tmp_path / name, [[4, 4]])
    with pytest.raises(FileNotFoundError, match="no section image at"):
        one_patch(tmp_path / "missing.png")
    with pytest.raises(TypeError, match="array, a PIL image or a path; got int"):
        one_patch(3)


# scikit-learn ----------------------------------------------------------------------------------


class MeanColour(RegressorMixin, BaseEstimator):
    def fit(self, X, y):
        self.offset_ = np.mean(y) - np.asarray(X).mean()
        return self

    def predict(self, X):
        return np.asarray(X).mean(axis=(1, 2, 3)) + self.offset_


def test_sklearn_indexes_it(patches):
    (same,) = indexable(patches)
    assert same is patches
    for rows in ([0, 2], np.array([1, 1]), np.array([True, False, True, False, True]), slice(2)):
        np.testing.assert_array_equal(
            np.asarray(_safe_indexing(patches, rows)), np.asarray(patches)[rows]
        )
    train, test = train_test_split(patches, test_size=2, random_state=0)
    assert (len(train), len(test)) == (3, 2)


@pytest.mark.parametrize("from_file", [False, True])
def test_cross_validation_with_two_processes(tmp_path, picture, from_file):
    image = picture
    if from_file:
        image = tmp_path / "s.png"
        Image.fromarray(picture).save(image)
    centres = np.random.default_rng(1).uniform(0, 40, (20, 2))
    X = SpotPatches.from_images(image, centres, patch_size="8px", out_px=8)
    y, groups = np.arange(20.0), np.repeat([0, 1, 2, 3], 5)
    folds = {"groups": groups, "cv": GroupKFold(4)}
    one, two = (cross_val_predict(MeanColour(), X, y, n_jobs=n, **folds) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


# building --------------------------------------------------------------------------------------


def test_from_arrays_converts_and_spreads():
    rgb = _noise((3, 6, 5, 3))
    X = SpotPatches.from_arrays(rgb, section=[1, 2, 2], patient="p", mpp={"1": 0.5})
    np.testing.assert_array_equal(np.asarray(X), rgb)
    np.testing.assert_array_equal(X.section, ["1", "2", "2"])
    np.testing.assert_array_equal(X.patient, ["p"] * 3)
    np.testing.assert_array_equal(X.patch_mpp, [0.5, np.nan, np.nan])
    assert X.spatial is None and X.positions is None
    assert SpotPatches.from_arrays(rgb).section.tolist() == ["0"] * 3
    grey = SpotPatches.from_arrays(rgb[..., 0])
    np.testing.assert_array_equal(np.asarray(grey), np.repeat(rgb[..., :1], 3, axis=-1))
    categories = pd.Series(["a", "b", "a"], dtype="category")
    assert SpotPatches.from_arrays(rgb, section=categories).section.tolist() == ["a", "b", "a"]


def test_pickles_carry_only_the_patches_of_the_view():
    X = SpotPatches.from_arrays(_noise((100, 8, 8, 3)))
    view = X[[90, 3, 3]]
    data = pickle.dumps(view)
    assert len(data) < len(pickle.dumps(X)) / 5
    np.testing.assert_array_equal(np.asarray(pickle.loads(data)), np.asarray(view))
    assert len(view._sources[0]) == 100  # the view itself is as it was


def _noise(shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_concatenate(picture, patches):
    other = SpotPatches.from_images(
        picture[::-1].copy(), [[9, 9]], section="T", patient="p", positions=[[0, 0]],
        patch_size="12px", out_px=8,
    )  # fmt: skip
    whole = SpotPatches.concatenate([patches[3:], other, patches[:2]])
    expected = [np.asarray(part) for part in (patches[3:], other, patches[:2])]
    np.testing.assert_array_equal(np.asarray(whole), np.concatenate(expected))
    np.testing.assert_array_equal(whole.section, ["S", "S", "T", "S", "S"])
    np.testing.assert_array_equal(whole.mpp, [0.5, 0.5, np.nan, 0.5, 0.5])
    assert whole.section_images["S"] is patches.section_images["S"]
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickle.dumps(whole[2:4]))), whole[2:4])


def test_concatenate_arrays_with_images(picture):
    cut = SpotPatches.from_images(picture, [[9, 9]], patch_size="8px", out_px=8)
    unnamed = SpotPatches.from_arrays(_noise((2, 8, 8, 3)), spatial=[[1, 1], [2, 2]])
    with pytest.raises(ValueError, match="two different images.*Give each section its own name"):
        SpotPatches.concatenate([unnamed, cut])
    given = SpotPatches.from_arrays(_noise((2, 8, 8, 3)), spatial=[[1, 1], [2, 2]], section="B")
    whole = SpotPatches.concatenate([given, cut])
    np.testing.assert_array_equal(np.asarray(whole), np.concatenate([given, cut]))


def test_a_section_name_stands_for_one_image(tmp_path, picture):
    def cut(image, name="S", out_px=8):
        return SpotPatches.from_images(
            image, [[9, 9]], section=name, patch_size="8px", out_px=out_px
        )

    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.fromarray(picture).save(tmp_path / "copy.png")
    Image.fromarray(255 - picture).save(tmp_path / "b.png")
    SpotPatches.concatenate([cut(picture), cut(picture.copy())])
    SpotPatches.concatenate([cut(tmp_path / "a.png"), cut(tmp_path / "copy.png")])
    SpotPatches.concatenate([cut(picture), cut(255 - picture, "T")])
    for pair in [
        (cut(picture), cut(255 - picture)),
        (cut(tmp_path / "a.png"), cut(tmp_path / "b.png")),
    ]:
        with pytest.raises(ValueError, match="Section 'S' stands for two different images"):
            SpotPatches.concatenate(pair)
    with pytest.raises(ValueError, match=r"differ in size.*\(8, 8\), \(9, 9\).*same out_px"):
        SpotPatches.concatenate([cut(picture), cut(picture, out_px=9)])
    with pytest.raises(ValueError, match="nothing to concatenate"):
        SpotPatches.concatenate([])
    with pytest.raises(ValueError, match="'spatial' is known for some"):
        SpotPatches.concatenate([cut(picture), SpotPatches.from_arrays(_noise((1, 8, 8, 3)))])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spatial": [[40, 5], [5, 5]]}, r"1 of 2 spots of section '0'.*40 px wide.*row 0"),
        ({"spatial": [[5, 5], [5, 60]]}, "outside the image.*row 1.*hires.png"),
        ({"spatial": [[5, 5], [-0.1, 6]]}, "outside the image"),
        ({"spatial": [[5, 5], [np.nan, 6]]}, "NaN or infinite centre, the first at row 1"),
        ({"spatial": [[5, 5], [np.inf, 6]]}, "NaN or infinite centre"),
        ({"spatial": np.empty((0, 2))}, "section is empty"),
        ({"spatial": []}, "section is empty"),
        ({"spatial": [[1, 2, 3]]}, r"shape \(n_spots, 2\)"),
        ({"patch_size": 224}, "'224px' or '155um'"),
        ({"patch_size": "224"}, "number with its unit"),
        ({"patch_size": "8.5px"}, "whole pixels"),
        ({"patch_size": "0px"}, "at least 1"),
        ({"patch_size": "155um"}, "needs the pixel size of section '0'"),
        ({"patch_size": "1um", "mpp": 50}, "less than a pixel"),
        ({"mpp": -1}, "above 0 and finite; got -1"),
        ({"mpp": np.inf}, "above 0 and finite"),
        ({"mpp": [1, 1, 1]}, "mpp must be a number, a dict"),
        ({"out_px": 0}, "at least 1"),
        ({"out_px": "8px"}, "whole number of pixels"),
        ({"fill": 256}, "0 to 255"),
        ({"fill": (1, 2)}, "0 to 255"),
        ({"fill": 0.5}, "0 to 255"),
        ({"section": ["A", "B"]}, "pass a dict of section to image"),
        ({"section": ["A"]}, "a name for each of the"),
        ({"section": ["A", None]}, "section is missing for 1 spots, the first at row 1"),
        ({"patient": ["p", np.nan]}, "patient is missing"),
        ({"positions": [[1, 2]]}, "positions must have shape"),
        ({"positions": [[1, 2], [1.5, 2]]}, "whole numbers"),
    ],
)
def test_bad_arguments(picture, change, message):
    arguments = {"spatial": [[5, 5], [6, 6]], "patch_size": "8px", "out_px": 8, **change}
    with pytest.raises(ValueError, match=message):
        SpotPatches.from_images(picture, **arguments)


@pytest.mark.parametrize(
    ("names", "section", "message"),
    [
        (["A", "B"], ["A", "A"], "Section 'B' is empty"),
        (["A"], ["A", "C"], "spots of section 'C', but images holds only 'A'"),
        (["A", "B"], None, "which spot is of which"),
        ([1, "1"], ["1", "1"], "name each section once"),
        ([], ["1", "1"], "an empty dict"),
    ],
)
def test_sections_and_images_must_match(picture, names, section, message):
    with pytest.raises(ValueError, match=message):
        SpotPatches.from_images(dict.fromkeys(names, picture), [[5, 5]] * 2, section=section)


# check_images ----------------------------------------------------------------------------------


def test_check_images_passes_what_is_right(patches):
    assert check_images(patches) is patches
    rgb = _noise((3, 6, 6, 3))
    assert check_images(rgb) is rgb
    np.testing.assert_array_equal(check_images(list(rgb)), rgb)
    grey = np.repeat(rgb[..., :1], 3, axis=-1)
    np.testing.assert_array_equal(check_images(rgb[..., 0]), grey)
    np.testing.assert_array_equal(check_images(rgb[..., :1]), grey)
    clear = np.concatenate([rgb, np.zeros((3, 6, 6, 1), np.uint8)], axis=-1)
    assert (check_images(clear) == 255).all()


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((2, 6, 6, 3)), "dtype uint8.*float64"),
        (np.zeros((2, 6, 6, 3), np.uint16), "dtype uint8.*uint16"),
        (np.zeros((2, 3, 6, 6), np.uint8), "channels on its last axis.*np.moveaxis"),
        (np.zeros((2, 6, 6, 2), np.uint8), "1 \\(grey\\), 3 \\(RGB\\) or 4"),
        (np.zeros((6, 6, 3), np.uint8), r"patch\[None\]"),
        (np.zeros((6, 5), np.uint8), "featurizer=None"),
        (np.zeros((0, 6, 6, 3), np.uint8), "no patches"),
        (np.zeros((2, 0, 6, 3), np.uint8), "no pixels"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((5, 5, 3), np.uint8)], "differ in size"),
        ("a folder", "array of shape|uint8 array"),
        (None, "got objects"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_check_images_refuses(X, message):
    with pytest.raises(ValueError, match=message):
        check_images(X)


def test_check_images_refuses_no_spots(patches):
    with pytest.raises(ValueError, match="no spots"):
        check_images(patches[[]])
