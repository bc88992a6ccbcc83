"""What Space Ranger writes, for Visium and Visium HD alike."""

import warnings

import numpy as np
import pandas as pd

from .. import _keys
from ..data import check_positions, open_slide
from ..data._decode import read_image
from ..exceptions import HistoexprError, InputError, MissingFileError
from ..utils import name_some
from ..utils._files import as_path
from ..utils._reading import read_json, read_parquet, reading
from ..utils._validation import check_number
from ._files import read_10x_h5, read_10x_mtx, read_table
from ._section import existing, join_barcodes, with_unique_genes

_COLUMNS = ["barcode", "in_tissue", _keys.ARRAY_ROW, _keys.ARRAY_COL,
            "pxl_row_in_fullres", "pxl_col_in_fullres"]  # fmt: skip
_POSITIONS = ("tissue_positions.csv", "tissue_positions_list.csv", "tissue_positions.parquet")
_PREVIEWS = {"hires": "tissue_hires_image.png", "lowres": "tissue_lowres_image.png"}
_FACTORS = ("tissue_hires_scalef", "tissue_lowres_scalef", "spot_diameter_fullres",
            "microns_per_pixel", "bin_size_um")  # fmt: skip
_LOWRES = "spatial/tissue_lowres_image.png"
_SAME_SIZE = 0.02  # relative difference in width or height that rounding explains


def find_outs(path):
    """The folder that holds ``spatial/``: this one, or ``outs`` in it."""
    path = existing(path, "Space Ranger folder")
    return path / "outs" if (path / "outs").is_dir() else path


def folder_name(path):
    """What a section is called that has no name: its folder, or that above ``outs``."""
    path = as_path(path).resolve()
    while path.name in ("outs", "binned_outputs") or path.name.startswith("square_"):
        path = path.parent
    return path.name


def read_scale_factors(outs):
    """The scale factors of a Space Ranger folder, a dict of str to float."""
    path = outs / "spatial/scalefactors_json.json"
    if not path.is_file():
        raise MissingFileError(
            f"There is no spatial/scalefactors_json.json in {str(outs)!r}: a folder as Space "
            "Ranger writes it (outs/) is needed, with spatial/ beside the counts."
        )
    found = read_json(path)
    stated = {key: found[key] for key in _FACTORS if found.get(key) is not None}
    return {key: check_number(v, f"{key} in {str(path)!r}") for key, v in stated.items()}


def read_positions(outs, section):
    """The spots of a Space Ranger folder of any version.

    Returns
    -------
    DataFrame
        Index: barcode; columns: in_tissue, array_row, array_col, pxl_row_in_fullres and
        pxl_col_in_fullres, all numbers.
    """
    paths = [outs / f"spatial/{name}" for name in _POSITIONS]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise MissingFileError(
            f"There is no table of spots in spatial/ of {str(outs)!r}: it is called "
            f"{', '.join(_POSITIONS[:-1])} (Visium) or {_POSITIONS[-1]} (Visium HD)."
        )
    if path.suffix == ".parquet":
        table = read_parquet(path, columns=_COLUMNS)
    else:
        table = _read_csv(path)
    lacking = [name for name in _COLUMNS if name not in table]
    if lacking:
        raise InputError(
            f"{str(path)!r} lacks the column {name_some(lacking)}; it has "
            f"{name_some(table.columns, most=8)}."
        )
    table = table[_COLUMNS].set_index("barcode")
    table.index = table.index.astype(str)
    numbers = table.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    bad = ~np.isfinite(numbers).all(axis=1)
    if bad.any():
        raise InputError(
            f"section {section!r}: {int(bad.sum())} rows of {path.name} are not numbers, the first "
            f"is that of barcode {table.index[bad.argmax()]!r}."
        )
    return numbers


def _read_csv(path):
    """Space Ranger 1 writes no header, 2 and later do: whatever the file is called."""
    with reading(repr(str(path))), open(path, encoding="utf-8-sig") as file:
        first = file.readline(2**16).split(",")
    if first[0].strip().strip('"') == "barcode":
        return read_table(path)
    if len(first) != len(_COLUMNS):
        raise InputError(
            f"{str(path)!r} has {len(first)} columns and no header; Space Ranger writes six: "
            f"{', '.join(_COLUMNS)}."
        )
    return read_table(path, header=None, names=_COLUMNS)


def read_counts(outs, section):
    """The gene counts of a Space Ranger folder: filtered before raw, h5 before mtx."""
    for kind in ("filtered", "raw"):
        files = sorted(outs.glob(f"*{kind}_feature_bc_matrix.h5"))
        if len(files) > 1:
            raise InputError(
                f"section {section!r}: {str(outs)!r} holds {len(files)} files of counts, "
                f"{name_some(path.name for path in files)}; leave one section in a folder."
            )
        folder = outs / f"{kind}_feature_bc_matrix"
        path = files[0] if files else folder
        if not path.exists():
            continue
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Variable names are not unique")
                counts = read_10x_h5(path) if files else read_10x_mtx(path)
        except FileNotFoundError as error:
            raise MissingFileError(
                f"section {section!r}: {str(path)!r} is not complete ({error}); matrix.mtx.gz, "
                "features.tsv.gz and barcodes.tsv.gz are needed, gzipped."
            ) from error
        except HistoexprError:
            raise
        except Exception as error:  # h5py, scipy and scanpy each raise their own
            raise InputError(
                f"section {section!r}: the counts in {str(path)!r} cannot be read; is the file "
                f"cut short? ({error})"
            ) from error
        return with_unique_genes(counts, section)
    raise MissingFileError(
        f"There are no counts in {str(outs)!r}: filtered_feature_bc_matrix.h5 or the folder "
        "filtered_feature_bc_matrix/ is needed beside spatial/."
    )


def spots_under_tissue(counts, table, section):
    """Counts and table of the spots that both have and that lie under tissue, row by row."""
    table = table[table["in_tissue"] == 1]
    if table.empty:
        raise InputError(f"section {section!r} is empty: no spot is marked as under tissue.")
    rows, others = join_barcodes(counts.obs_names, table.index, section, "the spots under tissue")
    return counts[rows], table.iloc[others]


def centres(table):
    """(x, y) of the spot centres in pixels at full resolution, float64 (n_spots, 2)."""
    return table[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(np.float64)


def grid(table):
    """(array_col, array_row) of the spots, int64 (n_spots, 2)."""
    return check_positions(table[[_keys.ARRAY_COL, _keys.ARRAY_ROW]], len(table))


def at_other_scales(full, scale, factors):
    """Where spots would be, had another ``image_scale`` been said: see `check_on_image`."""
    scales = {kind: factors.get(f"tissue_{kind}_scalef", scale) for kind in _PREVIEWS}
    scales["fullres"] = 1.0
    return {
        f"pass image_scale={kind!r}": full * other
        for kind, other in scales.items()
        if abs(other / scale - 1) > _SAME_SIZE
    }


def choose_image(outs, image, image_scale, factors, section):
    """The image of a section, and its pixels per pixel at full resolution.

    Parameters
    ----------
    outs : Path
    image : path, array, PIL image, Slide or None
        None: a preview of the folder.
    image_scale : {"fullres", "hires", "lowres"} or float
    factors : dict of str to float
    section : str

    Returns
    -------
    image : path or Slide
    scale : float
    """
    if image is None:
        return _preview(outs, image_scale, factors, section)
    scale = _scale(image_scale, factors)
    slide = open_slide(image)
    full = _full_size(outs, factors)
    if full is not None:
        _check_size(slide, full, scale, image_scale, factors, section)
    return slide, scale


def _scale(image_scale, factors):
    if isinstance(image_scale, str) and image_scale == "fullres":
        return 1.0
    if isinstance(image_scale, str) and image_scale in _PREVIEWS:
        key = f"tissue_{image_scale}_scalef"
        if key not in factors:
            raise InputError(f"scalefactors_json.json lacks {key}: pass image_scale as a number.")
        return factors[key]
    number = isinstance(image_scale, (int, float)) and not isinstance(image_scale, bool)
    if not number or not 0 < image_scale < np.inf:
        raise InputError(
            "image_scale must be 'fullres', 'hires', 'lowres' or the number of image pixels per "
            f"pixel at full resolution; got {image_scale!r}."
        )
    return float(image_scale)


def _preview(outs, image_scale, factors, section):
    kind = "hires" if str(image_scale) == "fullres" else image_scale
    if not isinstance(kind, str) or kind not in _PREVIEWS:
        raise InputError(f"image_scale={image_scale!r} is of an image: pass image=.")
    path = outs / f"spatial/{_PREVIEWS[kind]}"
    if not path.is_file():
        raise MissingFileError(
            f"section {section!r}: no image was given, and there is no spatial/{_PREVIEWS[kind]} "
            "in its place. Pass image= the H&E that Space Ranger was given (it is not in outs/)"
            + (", or image_scale='lowres'." if (outs / _LOWRES).is_file() else ".")
        )
    scale = _scale(kind, factors)
    if kind != image_scale:
        warnings.warn(
            f"section {section!r}: no image was given, so patches are cut from the {kind} preview, "
            f"{1 / scale:.3g} times coarser than the H&E that Space Ranger was given: cells cannot "
            f"be seen in it. Pass image=, or image_scale={kind!r} to say that it is meant.",
            stacklevel=2,
        )
    return path, scale


def _full_size(outs, factors):
    """(width, height) at full resolution, as the previews tell; None without one."""
    for kind, name in _PREVIEWS.items():
        path = outs / f"spatial/{name}"
        if path.is_file():
            with open(path, "rb") as file:
                size = read_image(file, str(path), header_only=True)
            return np.array(size) / _scale(kind, factors)
    return None


def _check_size(slide, full, scale, image_scale, factors, section):
    """Refuse an image whose size is that of another scale."""
    found = np.array(slide.size) / full
    if np.ptp(found) > _SAME_SIZE * found.max():
        warnings.warn(
            f"section {section!r}: the image is {slide.size[0]} x {slide.size[1]} px, which is "
            f"another shape than that of the previews in spatial/ (full resolution: {full[0]:.0f} "
            f"x {full[1]:.0f} px). Is it cropped, turned, or of another section?",
            stacklevel=2,
        )
    elif abs(found.mean() / scale - 1) > _SAME_SIZE:
        kinds = ("fullres", *_PREVIEWS)
        fits = [
            repr(kind)
            for kind in kinds
            if kind == "fullres" or f"tissue_{kind}_scalef" in factors
            if abs(found.mean() / _scale(kind, factors) - 1) < _SAME_SIZE
        ]
        raise InputError(
            f"section {section!r}: the image is {slide.size[0]} x {slide.size[1]} px, but at "
            f"image_scale={image_scale!r} it would be about {full[0] * scale:.0f} x "
            f"{full[1] * scale:.0f} px. Pass image_scale="
            f"{fits[0] if fits else format(found.mean(), '.6g')}."
        )
