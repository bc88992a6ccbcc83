"""Tiles and strips of a TIFF that would unfold to far more than their place in the image."""

import io
import zlib

from ..exceptions import InputError
from ..utils._reading import most_bytes, reading

_MOST_RATIO = 1100  # of deflate and JPEG; for smaller pieces nothing need be looked at
_NOT_PILLOWS = {6, 22610, 34934, 48124, 50002, 52546, 65000, 65001, 65002}  # JPEG XL, XR, EER ...
_SLACK = 4  # times its place: an edge, or rows of 16 in a strip


def check_pieces(pages, file, path):
    """Refuse pages with such a piece; see `check_piece`."""
    for page in pages:
        for offset, n_bytes in zip(page.dataoffsets, page.databytecounts):
            if _is_suspect(page, n_bytes):
                file.seek(offset)
                check_piece(page, file.read(n_bytes), path)


def check_piece(page, data, path):
    """Refuse a tile or strip that unfolds to far more than its place; it is not decoded.

    Codecs of pictures decode what size the piece itself says; those of bytes stop at the size of
    the place where imagecodecs is installed.

    Parameters
    ----------
    page : tifffile.TiffPage
    data : bytes
    path : str
        For the message.

    Raises
    ------
    ValueError
    """
    if not _is_suspect(page, len(data)):
        return
    place = page.tilewidth * page.tilelength
    if not page.is_tiled:
        place = page.imagewidth * min(page.rowsperstrip, page.imagelength)
    n_bytes = _unfolded(page, data, path, _SLACK * place * page.samplesperpixel)
    if n_bytes > _SLACK * place * page.samplesperpixel:
        raise InputError(
            f"{path!r} is no honest TIFF: a piece of {place:,} px in it unfolds to more than "
            f"{n_bytes:,} bytes. Write it anew from its source."
        )


def _is_suspect(page, n_bytes):
    from tifffile import COMPRESSION, TIFF

    if page.compression in TIFF.IMAGE_COMPRESSIONS - {COMPRESSION.JPEG}:
        return True
    packed = {COMPRESSION.JPEG, COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE}
    return page.compression in packed and n_bytes * _MOST_RATIO > most_bytes()


def _unfolded(page, data, path, enough):
    """Bytes of a piece as its own header tells, or at least `enough`."""
    from tifffile import TIFF

    from ._decode import by_its_reader

    if page.compression not in TIFF.IMAGE_COMPRESSIONS:
        return len(zlib.decompressobj().decompress(data, enough + 1))
    if page.compression in _NOT_PILLOWS:
        return 0  # its codec has to see to it
    with reading(f"a piece of {path!r}", "cannot be decoded; is it damaged?"):
        with by_its_reader(io.BytesIO(data), path="") as picture:
            return picture.width * picture.height * len(picture.getbands())
