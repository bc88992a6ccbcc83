"""Small files that would fill the memory: refused before they are decoded."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from histoexpr.data import SpotPatches, open_slide
from histoexpr.data._images import open_section_image
from histoexpr.data._slide_checks import check_slide_size

LIMIT = "set the environment variable HISTOEXPR_MAX_DECODED_GB to more"


def png_header(width, height):
    """A PNG of this size, whose pixels are all black and take no room."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(
            ">I", zlib.crc32(name + data)
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(2**16))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff_of(path, size, **options):
    """A TIFF of 64 x 64 px that says it is larger."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, **options)
    content = bytearray(path.read_bytes())
    start = struct.unpack_from("<I", content, 4)[0]
    for number in range(struct.unpack_from("<H", content, start)[0]):
        at = start + 2 + 12 * number
        tag = struct.unpack_from("<H", content, at)[0]
        if tag in (256, 257, 278):  # width, height, rows of a strip
            struct.pack_into("<HII", content, at + 2, 4, 1, size)
    path.write_bytes(content)
    return path


def test_pictures_that_say_they_are_huge(tmp_path):
    (tmp_path / "s.png").write_bytes(png_header(100_000, 100_000))
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, format="JPEG2000")
    jp2 = bytearray(buffer.getvalue())
    for place in (jp2.find(b"ihdr") + 4, jp2.find(b"\xff\x51") + 6, jp2.find(b"\xff\x51") + 22):
        struct.pack_into(">II", jp2, place, 100_000, 100_000)
    (tmp_path / "s.jp2").write_bytes(jp2)
    paths = [tmp_path / "s.png", tmp_path / "s.jp2"]
    for name, compression in (("lzw", "lzw"), ("deflate", "zlib")):
        paths.append(tiff_of(tmp_path / f"{name}.tif", 100_000, compression=compression))
    for path in paths:
        with pytest.raises(ValueError, match=LIMIT):
            SpotPatches.from_images(path, [[4, 4]])


@pytest.mark.parametrize("size", [100_000, 2**31])
def test_slides_that_lack_their_tiles(tmp_path, size):
    path = tiff_of(tmp_path / "s.tif", size, tile=(64, 64))
    with pytest.raises(ValueError, match="does not say where"):
        open_slide(path)
    with pytest.raises(ValueError, match=LIMIT):
        open_section_image(path)


def test_a_slide_of_no_possible_size():
    with pytest.raises(ValueError, match="which no slide is"):
        check_slide_size((2**20, 2**20), "s.tif")


@pytest.mark.parametrize("compression", ["jpeg2000", "png", "webp"])
def test_a_tile_that_unfolds_to_more_than_a_tile(tmp_path, compression):
    """Codecs of pictures decode what a tile itself says, not what the TIFF says."""
    large = np.zeros((1024, 1024, 3), np.uint8)
    path = tmp_path / "s.tif"
    tifffile.imwrite(
        path, large, photometric="rgb", tile=(1024, 1024), metadata=None, compression=compression
    )
    content = bytearray(path.read_bytes())
    start = struct.unpack_from("<I", content, 4)[0]
    for number in range(struct.unpack_from("<H", content, start)[0]):
        at = start + 2 + 12 * number
        if struct.unpack_from("<H", content, at)[0] in (256, 257, 322, 323):  # image, tile
            struct.pack_into("<HII", content, at + 2, 4, 1, 64)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="no honest TIFF"):
        open_slide(path).read_region(0, 0, 64, 64)
    with pytest.raises(ValueError, match="no honest TIFF"):
        open_section_image(path).pixels()


@pytest.mark.parametrize("compression", ["zlib", "jpeg"])
def test_a_tile_is_looked_into_where_it_could_fill_the_memory(tmp_path, monkeypatch, compression):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = tmp_path / "s.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(64, 64), compression=compression)
    monkeypatch.setenv("HISTOEXPR_MAX_DECODED_GB", str(2**20 / 2**30))  # below 1100 times the tile
    assert open_slide(path).read_region(0, 0, 64, 64).shape == (64, 64, 3)


def test_regions_that_would_fill_the_memory(monkeypatch):
    slide = open_slide(np.zeros((200, 300, 3), np.uint8), mpp=1.0)
    monkeypatch.setenv("HISTOEXPR_MAX_DECODED_GB", str(2**20 / 2**30))
    with pytest.raises(ValueError, match="Or ask for a smaller region"):
        slide.read_region(0, 0, 3, 2, mpp=1000.0)
