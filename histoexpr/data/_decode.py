"""Pixels from image files: 8-bit RGB out of whatever a section is stored as."""

import contextlib

import numpy as np
from PIL import Image

from ..exceptions import InputError
from ..utils._reading import check_decoded, reading
from ._tiff_pieces import check_pieces

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "JPEG2000")
_DAMAGED = "cannot be decoded; is it cut short?"
BY_REGION = (
    "Or save it as a tiled pyramidal TIFF (e.g. with libvips: vips tiffsave IN OUT.tif --tile "
    "--pyramid --compression jpeg), which open_slide reads by region."
)


def to_rgb(array, what):
    """Bring 8-bit pixels with 1, 3 or 4 channels to three.

    Parameters
    ----------
    array : ndarray of shape (..., height, width) or (..., height, width, channels), dtype uint8
        Without a channel axis it is grey, and then has at most two dimensions here.
    what : str
        What the messages call it.

    Returns
    -------
    ndarray of shape (..., height, width, 3), dtype uint8
        The same array when it has three channels.

    Raises
    ------
    ValueError
        If the dtype is not uint8, the channels are not 1, 3 or 4, or it is empty.
    """
    if array.dtype != np.uint8:
        hint = {
            "f": "if it runs from 0 to 1, pass (255 * image).round().astype('uint8')",
            "u": "scale it to 0..255 and pass .astype('uint8')",
            "i": "scale it to 0..255 and pass .astype('uint8')",
        }.get(array.dtype.kind, "pass the 8-bit colour image")
        raise InputError(f"{what} must have dtype uint8, 0 to 255; got {array.dtype}: {hint}.")
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim < 3 or array.shape[-1] not in (1, 3, 4):
        raise InputError(
            f"{what} must have 1 (grey), 3 (RGB) or 4 (RGBA) channels on its last axis; got "
            f"shape {array.shape}. Channels on the first axis? Move them with np.moveaxis."
        )
    if 0 in array.shape[-3:-1]:
        raise InputError(f"{what} has no pixels: its shape is {array.shape}.")
    if array.shape[-1] == 1:
        return np.repeat(array, 3, axis=-1)
    if array.shape[-1] == 4:
        alpha = array[..., 3:].astype(np.uint16)
        on_white = array[..., :3] * alpha + 255 * (255 - alpha) + 127  # below 2**16: no overflow
        return (on_white // 255).astype(np.uint8)
    return array


def read_image(file, path, header_only=False):
    """Read an open JPG, PNG or TIFF file.

    Parameters
    ----------
    file : binary file object, at its start
    path : str
        For the messages.
    header_only : bool, default=False
        Whether to decode no pixels.

    Returns
    -------
    ndarray of shape (height, width, 3), dtype uint8, or tuple of int
        The pixels, or (width, height) when only the header is wanted.

    Raises
    ------
    ValueError
        If it is no image, is damaged or too large, or is not 8-bit grey or colour.
    """
    magic = file.read(4)
    file.seek(0)
    if magic in _TIFF_MAGIC:
        found = _read_tiff(file, path, header_only)
        if found is not None:
            return found
        file.seek(0)
    with open_picture(file, path) as image:
        return image.size if header_only else pil_to_rgb(image, repr(path))


@contextlib.contextmanager
def open_picture(file, path):
    """Open what Pillow reads, as a picture of 8-bit grey or colour and of bounded size.

    Parameters
    ----------
    file : binary file object, at its start
    path : path
        For the messages.

    Yields
    ------
    PIL.Image.Image
        Its header is read. What is raised while the pixels are decoded in the block is a
        ValueError.
    """
    what = repr(str(path))
    with reading(what, _DAMAGED):
        with by_its_reader(file, path) as image:
            _check_mode(image, what)
            check_decoded(3 * image.width * image.height, what, BY_REGION)
            yield image


def by_its_reader(file, path):
    """As `Image.open`, whose limit on pixels is one for all that a process does.

    Only formats in which sections are stored are tried: a reader of Pillow may start programs.
    """
    Image.init()
    magic = file.read(16)
    file.seek(0)
    for name in _FORMATS:
        reader, accepts = Image.OPEN.get(name, (None, None))
        if reader is not None and accepts(magic) is True:
            return reader(file, str(path))
    raise InputError(
        f"{str(path)!r} is not an image that Pillow or tifffile can read; it must be one of "
        f"{', '.join(_FORMATS)}."
    )


def pil_to_rgb(image, what):
    """The pixels of a PIL image, (height, width, 3) uint8; ValueError for a mode it refuses."""
    _check_mode(image, what)
    with reading(what, _DAMAGED):
        if image.mode in ("CMYK", "YCbCr"):
            image = image.convert("RGB")
        elif image.mode in ("LA", "P", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
        pixels = np.asarray(image)  # read-only, and copied no more often than needed
    return to_rgb(pixels, what)


def _check_mode(image, what):
    """Refuse a PIL image that is not 8-bit grey or colour; no pixel is decoded for it."""
    depth_16 = any(";16" in str(tile[-1]) for tile in getattr(image, "tile", None) or [])
    if depth_16 or image.mode not in ("L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"):
        mode = "16-bit" if depth_16 else image.mode
        raise InputError(
            f"{what} is of Pillow's mode {mode!r}; an 8-bit grey or colour image is needed. "
            "Scale it to 0..255 and save it as 8-bit RGB."
        )


def _read_tiff(file, path, header_only):
    """As `read_image`, or None where Pillow is the better reader."""
    with reading(repr(path), _DAMAGED), opened_tiff(file, path) as tiff:
        found = tiff_plane(tiff, path)
        if found is None:
            return None
        series, sizes = found
        check_decoded(3 * sizes["X"] * sizes["Y"], repr(path), BY_REGION)
        if header_only:
            return sizes["X"], sizes["Y"]
        check_pieces([page.aspage() for page in series.pages if page is not None], file, path)
        array = _decode_series(series, path)
        if array is None:
            return None
        array = array.reshape(list(sizes.values()))
        order = [list(sizes).index(a) for a in "YXSC" if a in sizes]
        return np.ascontiguousarray(to_rgb(array.transpose(order), repr(path)))


def opened_tiff(file, path):
    """A tifffile.TiffFile; ValueError where there is none."""
    import tifffile

    with reading(repr(path), "is a broken TIFF file"):
        return tifffile.TiffFile(file)


def tiff_plane(tiff, path):
    """The series of a TIFF that holds its picture; no pixel is decoded for it.

    Parameters
    ----------
    tiff : tifffile.TiffFile
    path : str
        For the messages.

    Returns
    -------
    (tifffile.TiffPageSeries, dict of str to int) or None
        The series, and its axes ("Y", "X" and perhaps "S" or "C") with their sizes, in order.
        None for what Pillow reads: palette, white-is-zero, CMYK.

    Raises
    ------
    ValueError
        If it holds no image, a stack, or one that is not 8-bit grey or colour.
    """
    from tifffile import COMPRESSION, PHOTOMETRIC

    if not tiff.series:
        raise InputError(f"{path!r} is a broken TIFF file: it holds no image.")
    series, page = tiff.series[0], tiff.pages[0]
    plain = {PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB}
    if page.compression == COMPRESSION.JPEG:
        plain.add(PHOTOMETRIC.YCBCR)  # the codec converts it
    if page.photometric not in plain:
        return None
    sizes = {a: n for a, n in zip(series.axes, series.shape) if n > 1 or a in "YX"}
    if min(sizes.get("X", 0), sizes.get("Y", 0)) < 1:
        raise InputError(f"{path!r} holds no plane: its axes are {series.axes}, {series.shape}.")
    stack = set(sizes) - set("YXSC") or {"S", "C"} <= set(sizes)
    if stack or sizes.get("C", 3) != 3:  # 4 separate channels are fluorescence, not RGBA
        raise InputError(
            f"{path!r} holds a stack with axes {series.axes} and shape {series.shape}; "
            "one grey, RGB or RGBA plane is needed. Save the H&E plane alone."
        )
    one_pixel = np.zeros((1, 1, sizes.get("S", sizes.get("C", 1))), series.dtype)
    to_rgb(one_pixel, repr(path))  # refuses dtype and channels before anything is decoded
    return series, sizes


def _decode_series(series, path):
    """Pixels of a TIFF series; None where tifffile lacks the codec that Pillow's libtiff has."""
    try:
        return series.asarray()
    except Exception as error:  # each codec raises its own type
        if "imagecodecs" in str(error):
            return None
        raise
