"""Slides: what is read of them, from which level, at which scale; what is refused."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from PIL import Image

from histoexpr import StainNormalizer
from histoexpr.data import SpotPatches, open_slide
from histoexpr.data import _slide_tiff as tiff_module
from histoexpr.data import _slides as slides_module

TILED = {"tile": (64, 64), "photometric": "rgb"}


@pytest.fixture(scope="module")
def picture():
    """A section of 300 x 200 px: smooth, and no two pixels of a patch alike."""
    y, x = np.mgrid[:200, :300]
    noise = np.random.default_rng(0).integers(0, 30, (200, 300, 3))
    return (np.stack([x * 0.7, y, x + y * 0.4], axis=2) * 0.5 + noise).astype(np.uint8)


def pyramid(path, levels, subifds=False, **options):
    """Write a TIFF with further levels as SubIFDs or as pages of their own."""
    with tifffile.TiffWriter(path) as tiff:
        first = {"subifds": len(levels) - 1} if subifds else {}
        tiff.write(levels[0], **TILED | first | options)
        for level in levels[1:]:
            further = {} if subifds else {"metadata": None}
            tiff.write(level, subfiletype=1, **TILED | further)
    return path


def half(picture):
    return np.asarray(Image.fromarray(picture).reduce(2))


def write_tiff(folder, picture):
    return pyramid(folder / "s.tif", [picture, half(picture)], metadata=None)


def write_deflate(folder, picture):
    return pyramid(folder / "s.tif", [picture], compression="zlib")


def write_ome(folder, picture):
    return pyramid(folder / "s.ome.tif", [picture, half(picture)], subifds=True)


def write_ome_planes(folder, picture):
    planes = np.moveaxis(picture, 2, 0).copy()
    tifffile.imwrite(folder / "s.ome.tif", planes, tile=(64, 64), photometric="minisblack")
    return folder / "s.ome.tif"


def write_separate(folder, picture):
    planes = np.moveaxis(picture, 2, 0).copy()
    tifffile.imwrite(folder / "s.tif", planes, planarconfig="separate", **TILED)
    return folder / "s.tif"


def write_strips(folder, picture):
    tifffile.imwrite(folder / "s.tif", picture, photometric="rgb", rowsperstrip=16)
    return folder / "s.tif"


def write_png(folder, picture):
    Image.fromarray(picture).save(folder / "s.png")
    return folder / "s.png"


def write_vendor(folder, picture):
    pytest.importorskip("openslide")
    return pyramid(folder / "s.svs", [picture, half(picture)], metadata=None)


def write_nothing(folder, picture):
    return picture


WRITERS = [
    write_tiff, write_deflate, write_ome, write_ome_planes, write_separate, write_strips,
    write_png, write_vendor, write_nothing,
]  # fmt: skip


@pytest.fixture(params=WRITERS, ids=lambda writer: writer.__name__)
def slide(request, tmp_path, picture):
    """The picture as a slide of each kind."""
    return open_slide(request.param(tmp_path, picture), mpp=0.5)


# what is read ----------------------------------------------------------------------------------


def test_full_resolution_to_the_bit(slide, picture):
    assert slide.size == (300, 200) and slide.levels[0] == (300, 200)
    np.testing.assert_array_equal(slide.read_region(0, 0, 300, 200), picture)
    np.testing.assert_array_equal(slide.read_region(37, 61, 90, 70), picture[61:131, 37:127])
    np.testing.assert_array_equal(slide.pixels(), picture)


def test_beyond_the_border_is_fill(slide, picture):
    region = slide.read_region(-10, 150, 50, 100, fill=(1, 2, 3))
    np.testing.assert_array_equal(region[:50, 10:], picture[150:, :40])
    assert (region[:, :10] == (1, 2, 3)).all() and (region[50:] == (1, 2, 3)).all()
    assert (slide.read_region(1000, 1000, 4, 4) == 255).all()


@pytest.mark.parametrize(
    "patch_size, out_px", [("32px", 32), ("33px", 33), ("20um", 32), ("9px", 16)]
)
def test_a_slide_gives_the_patches_of_a_section_image(slide, picture, patch_size, out_px):
    spatial = [[20, 30], [150.5, 99.4], [0, 0], [299, 199], [63, 64]]
    given = dict(patch_size=patch_size, out_px=out_px, fill=(200, 0, 9))
    of_slide = SpotPatches.from_images(slide, spatial, **given)
    of_image = SpotPatches.from_images(picture, spatial, mpp=0.5, **given)
    np.testing.assert_array_equal(np.asarray(of_slide), np.asarray(of_image))
    np.testing.assert_array_equal(of_slide.patch_mpp, of_image.patch_mpp)


def test_threads_read_the_same(slide, picture):
    corners = [(x, y) for x in range(0, 260, 13) for y in range(0, 160, 17)]
    with ThreadPoolExecutor(4) as pool:
        regions = list(pool.map(lambda corner: slide.read_region(*corner, 40, 40), corners))
    for (x, y), region in zip(corners, regions):
        np.testing.assert_array_equal(region, picture[y : y + 40, x : x + 40])


def test_pickles_without_pixels_and_reads_the_same(slide, picture):
    slide.mpp = 0.25
    again = pickle.loads(pickle.dumps(slide))
    assert again.mpp == 0.25 and again.same_as(slide)
    assert slide.path is None or len(pickle.dumps(slide)) < 1000
    np.testing.assert_array_equal(again.read_region(5, 5, 20, 20), picture[5:25, 5:25])


@pytest.fixture
def coloured(tmp_path):
    """Levels whose grey tells which one was read: 10, 20, 30."""
    greys = {512: 10, 256: 20, 128: 30}
    levels = [np.full((side, side, 3), grey, np.uint8) for side, grey in greys.items()]
    scale = dict(resolution=(20000, 20000), resolutionunit="CENTIMETER")
    return open_slide(pyramid(tmp_path / "s.tif", levels, **scale))


@pytest.mark.parametrize(
    "mpp, grey",
    [(None, 10), (0.25, 10), (0.97, 10), (1, 20), (0.995, 20), (1.9, 20), (2, 30), (9, 30)],
)
def test_the_nearest_finer_level_is_read(coloured, mpp, grey):
    assert coloured.downsamples == (1, 2, 4)
    assert (coloured.read_region(64, 64, 8, 8, mpp=mpp) == grey).all()


def test_a_region_at_a_scale_shows_that_tissue(picture):
    slide = open_slide(picture, mpp=0.5)
    region = slide.read_region(20, 40, 60, 30, mpp=1.0)
    truth = np.asarray(Image.fromarray(picture[40:100, 20:140]).resize((60, 30), Image.BICUBIC))
    np.testing.assert_array_equal(region, truth)


def test_large_regions_are_read_in_bands(slide, monkeypatch):
    whole = slide.thumbnail(50).astype(int)
    monkeypatch.setattr(slides_module, "_MOST_READ", 300 * 20)
    assert np.abs(slide.thumbnail(50) - whole).max() <= 1
    np.testing.assert_array_equal(whole.shape, (33, 50, 3))


def test_only_the_tiles_of_a_patch_are_decoded(tmp_path, picture, monkeypatch):
    decoded, decode = [], tiff_module._decode
    monkeypatch.setattr(
        tiff_module, "_decode", lambda *args: decoded.append(args[1]) or decode(*args)
    )
    slide = open_slide(write_tiff(tmp_path, picture))
    X = SpotPatches.from_images(slide, [[100, 100], [250, 150]], patch_size="32px", out_px=32)
    assert decoded == []
    X[0]
    assert len(decoded) == 1
    X[0]
    assert len(decoded) == 1  # still known


def test_tiles_are_forgotten_when_they_are_many(picture):
    cache = tiff_module._TileCache(3 * picture.nbytes)
    for key in range(5):
        cache.put(key, picture)
    assert cache.get(1) is None and cache.get(4) is picture


def test_tiles_that_are_left_out_are_white(tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", shape=(128, 128, 3), dtype=np.uint8, **TILED)
    with tifffile.TiffFile(tmp_path / "s.tif", mode="r+") as tiff:
        counts = tiff.pages[0].tags["TileByteCounts"]
        counts.overwrite([0, *counts.value[1:]])
    region = open_slide(tmp_path / "s.tif").read_region(0, 0, 128, 128)
    assert (region[:64, :64] == 255).all() and (region[64:] == 0).all()


def test_stain_normalisation_measures_the_slide(tmp_path, picture):
    slide = open_slide(write_tiff(tmp_path, picture))
    X = SpotPatches.from_images(slide, [[100, 100], [150, 100]], patch_size="32px", out_px=32)
    assert np.asarray(StainNormalizer().fit(X).transform(X)).shape == (2, 32, 32, 3)


def test_the_path_of_a_scanners_file_is_a_slide(tmp_path, picture):
    path = write_vendor(tmp_path, picture)
    X = SpotPatches.from_images({"S": str(path)}, [[50, 50]], patch_size="32px", out_px=32)
    np.testing.assert_array_equal(X[0], picture[34:66, 34:66])
    assert X.section_images["S"].levels == ((300, 200), (150, 100))


def test_a_real_slide(shared):
    pytest.importorskip("openslide")
    slide = open_slide(shared / "data" / "slides" / "CMU-1-Small-Region.svs")
    assert slide.mpp == pytest.approx(0.499) and slide.size == (2220, 2967)
    X = SpotPatches.from_images(slide, [[1000, 1500]], patch_size="112um")
    assert X.crop_px.tolist() == [224]
    assert 100 < X[0].mean() < 220


# scale -----------------------------------------------------------------------------------------


def tags(path, picture, *resolution):
    options = dict(zip(("resolution", "resolutionunit"), resolution))
    tifffile.imwrite(path, picture, **TILED, **options)
    return open_slide(path).mpp


def test_scale_of_resolution_tags(tmp_path, picture):
    path = tmp_path / "s.tif"
    assert tags(path, picture, (40000, 40000), "CENTIMETER") == pytest.approx(0.25)
    assert tags(path, picture, (50800, 50800), "INCH") == pytest.approx(0.5)
    assert tags(path, picture, (72, 72), "INCH") is None  # a printer's
    assert tags(path, picture, (2, 2), "NONE") is None
    assert tags(path, picture, (40000, 20000), "CENTIMETER") is None  # not square
    assert tags(path, picture) is None


@pytest.mark.parametrize("size, unit", [(0.25, "µm"), (250, "nm"), (0.00025, "mm")])
def test_scale_of_ome_metadata(tmp_path, picture, size, unit):
    metadata = {"PhysicalSizeX": size, "PhysicalSizeXUnit": unit}
    path = pyramid(tmp_path / "s.ome.tif", [picture], metadata=metadata)
    assert open_slide(path).mpp == pytest.approx(0.25)


def test_scale_of_a_scanner(tmp_path, picture):
    pytest.importorskip("openslide")
    scale = dict(resolution=(40000, 40000), resolutionunit="CENTIMETER", metadata=None)
    slide = open_slide(pyramid(tmp_path / "s.svs", [picture], **scale))
    assert slide.mpp == pytest.approx(0.25)


def test_a_given_scale_counts_and_a_contradiction_is_said(coloured):
    assert coloured.mpp == pytest.approx(0.5)
    with pytest.warns(UserWarning, match="the file says 0.5 micrometres"):
        slide = open_slide(coloured.path, mpp=0.25)
    assert slide.mpp == 0.25
    assert open_slide(coloured, mpp=0.51).mpp == 0.51 and coloured.mpp == pytest.approx(0.5)


def test_patches_in_micrometres_take_the_scale_of_the_slide(coloured, picture):
    X = SpotPatches.from_images(coloured, [[200, 200]], patch_size="64um", out_px=64)
    assert X.crop_px.tolist() == [128] and X.mpp.tolist() == [pytest.approx(0.5)]
    with pytest.raises(ValueError, match="needs the pixel size"):
        SpotPatches.from_images(open_slide(picture), [[50, 50]], patch_size="64um")


def test_no_scale_without_a_scale(picture):
    with pytest.raises(ValueError, match=r"Pass mpp= \(0.25 is usual"):
        open_slide(picture).read_region(0, 0, 10, 10, mpp=0.5)
    for wrong in (0, -1, np.inf, np.nan):
        with pytest.raises(ValueError, match="mpp must be above 0"):
            open_slide(picture, mpp=wrong)


# bad input -------------------------------------------------------------------------------------


def test_what_is_no_slide(tmp_path):
    with pytest.raises(FileNotFoundError, match="no slide at"):
        open_slide(tmp_path / "none.svs")
    with pytest.raises(ValueError, match="is a folder"):
        open_slide(tmp_path)
    (tmp_path / "empty.tif").touch()
    with pytest.raises(ValueError, match="is empty"):
        open_slide(tmp_path / "empty.tif")
    for name in ("text.tif", "text.png"):
        (tmp_path / name).write_text("no image at all")
        with pytest.raises(ValueError, match=name):
            open_slide(tmp_path / name)
    with pytest.raises(TypeError, match="got int"):
        open_slide(3)


def test_what_openslide_cannot_read(tmp_path):
    pytest.importorskip("openslide")
    (tmp_path / "text.ndpi").write_text("no image at all")
    with pytest.raises(ValueError, match="OpenSlide says"):
        open_slide(tmp_path / "text.ndpi")


def test_a_file_that_is_cut_short(tmp_path, picture):
    path = write_deflate(tmp_path, picture)
    path.write_bytes(path.read_bytes()[:-40000])
    with pytest.raises(ValueError, match="cut short|broken"):
        open_slide(path)


def test_a_tile_that_is_damaged(tmp_path, picture):
    path = write_deflate(tmp_path, picture)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[offset : offset + 100] = bytes(100)
    path.write_bytes(data)
    slide = open_slide(path)
    with pytest.raises(ValueError, match="is it damaged"):
        slide.read_region(0, 0, 10, 10)
    slide.read_region(100, 100, 10, 10)


def test_stacks_and_16_bit_are_refused(tmp_path, picture):
    tifffile.imwrite(tmp_path / "deep.tif", picture.astype(np.uint16), **TILED)
    with pytest.raises(ValueError, match="uint8"):
        open_slide(tmp_path / "deep.tif")
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([picture] * 2), **TILED)
    with pytest.raises(ValueError, match="stack"):
        open_slide(tmp_path / "stack.tif")


def test_what_cannot_be_read_in_parts_must_be_small(tmp_path, picture, monkeypatch):
    tifffile.imwrite(tmp_path / "s.tif", picture, photometric="rgb", rowsperstrip=200)
    monkeypatch.setattr(tiff_module, "_MOST_PIECE", 1000)
    slide = open_slide(tmp_path / "s.tif")
    np.testing.assert_array_equal(slide.read_region(9, 9, 9, 9), picture[9:18, 9:18])
    monkeypatch.setenv("HISTOEXPR_MAX_DECODED_GB", "1e-6")
    with pytest.raises(ValueError, match="tiled pyramidal TIFF"):
        open_slide(tmp_path / "s.tif")


def test_a_pickled_slide_must_not_change(tmp_path, picture):
    path = write_tiff(tmp_path, picture)
    pickled = pickle.dumps(open_slide(path))
    write_tiff(tmp_path, 255 - picture)
    with pytest.raises(ValueError, match="has changed"):
        pickle.loads(pickled)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickled)
