"""Sections of any format, one a row of a table."""

from pathlib import Path

import pandas as pd

from .. import _keys
from ..exceptions import InputError
from ..utils import name_some
from ._anndata import from_anndata
from ._cscc import cscc_job
from ._files import read_table
from ._her2st import her2st_job
from ._hest import hest_job
from ._join import read_sections
from ._patch_folder import patch_jobs
from ._section import OUT_PX, PATCH_SIZE, existing, is_named
from ._spatialdata import from_spatialdata
from ._visium import visium_job
from ._visium_hd import visium_hd_job

# Which further columns say something for a format.
_COLUMNS = {
    "visium": {"image", "image_scale", "mpp"},
    "visium_hd": {"image", "image_scale", "mpp", "bin_size"},
    "hest": set(),
    "her2st": set(),
    "cscc": set(),
    "h5ad": {"image", "mpp"},
    "spatialdata": {"image", "mpp", "table", "region"},
    "patches": {"mpp", "table", "counts"},
}
_OF_ALL = (_keys.SECTION, _keys.PATIENT, "path", "format")
_PATHS = ("image", "table", "counts")
_NUMBERS = ("mpp", "bin_size")


def load_sheet(
    sheet,
    *,
    patch_size=PATCH_SIZE,
    out_px=OUT_PX,
    fill=255,
    genes="intersection",
    unreadable="raise",
):
    """Load the sections that a table names, each in whatever format it is.

    Parameters
    ----------
    sheet : path of a CSV or TSV, or DataFrame
        A row a section. ``section`` and ``path`` are needed (the path relative to the sheet's
        folder), ``patient`` should be there. ``format`` is told from what the path holds when it
        is missing or empty: visium, visium_hd, hest, her2st, cscc, h5ad, spatialdata, patches.
        By format: ``image``, ``image_scale``, ``mpp``, ``bin_size`` as the arguments of
        :func:`load_visium`, :func:`load_visium_hd` and :func:`from_anndata`; ``image``, ``table``
        and ``region`` as names for :func:`from_spatialdata`; ``table`` and ``counts`` as files
        for :func:`load_patches`. Empty cells are left to the defaults. Of hest, her2st and cscc
        the path is the data set's folder, and ``section`` chooses in it.
    patch_size, out_px, fill
        As in :func:`load_visium`, one for all.
    genes : {"intersection", "union"} or list of str, default="intersection"
        See :func:`join_sections`.
    unreadable : {"raise", "skip"}, default="raise"
        What becomes of sections that cannot be read, once all have been tried: an error that
        names them all, or a warning, and the others are returned.

    Returns
    -------
    images : SpotPatches of shape (n_spots, out_px, out_px, 3)
    adata : AnnData of shape (n_spots, n_genes)
        As :func:`load_visium` returns them, in the order of the rows.

    Raises
    ------
    FileNotFoundError
        If there is no sheet.
    ValueError
        If a column is missing or unknown, a section is named twice, or sections cannot be read.
    """
    table, folder = _read(sheet)
    cut = {"patch_size": patch_size, "out_px": out_px, "fill": fill}
    jobs = [_job(row, folder, cut) for row in table.to_dict("records")]
    return read_sections(jobs, genes=genes, unreadable=unreadable)


def _read(sheet):
    """The table, all cells str, empty ones too; and the folder its paths are relative to."""
    if isinstance(sheet, pd.DataFrame):
        table, folder = sheet.astype(object).where(sheet.notna(), "").astype(str), Path()
    else:
        path = existing(sheet, "sheet of sections")
        folder = path.parent
        table = read_table(path, sep=None, engine="python", dtype=str, keep_default_na=False)
    table.columns = [str(name).strip() for name in table.columns]
    known = set(_OF_ALL).union(*_COLUMNS.values())
    unknown = [name for name in table if name not in known]
    lacking = [name for name in (_keys.SECTION, "path") if name not in table]
    if unknown or lacking or table.empty:
        raise InputError(
            f"The sheet has {len(table)} rows and the columns {name_some(table.columns, 12)}; it "
            f"needs a row a section, and the columns {_keys.SECTION} and path, and may have "
            f"{', '.join(sorted(known - {_keys.SECTION, 'path'}))}."
        )
    empty = ~(table[_keys.SECTION].map(is_named) & table["path"].map(is_named))
    if empty.any():
        raise InputError(
            f"Row {int(empty.to_numpy().argmax()) + 1} of the sheet has no {_keys.SECTION} or path."
        )
    return table, folder


def _job(row, folder, cut):
    given = {key: value.strip() for key, value in row.items() if is_named(value)}
    section = given.pop(_keys.SECTION)
    return section, lambda: _read_row(section, given, folder, cut)


def _read_row(section, given, folder, cut):
    path = existing(folder / given.pop("path"), f"data of section {section!r}")
    kind = given.pop("format", None) or _format_of(path)
    if kind not in _COLUMNS:
        raise InputError(f"format {kind!r} is not known; it must be one of {', '.join(_COLUMNS)}.")
    useless = set(given) - _COLUMNS[kind] - {_keys.PATIENT}
    if useless:
        raise InputError(
            f"the column {name_some(sorted(useless))} says nothing for the format {kind!r}: leave "
            "its cell empty."
        )
    options = {key: _value(key, value, kind, folder) for key, value in given.items()}
    if kind == "h5ad":
        if "image" not in options:
            raise InputError("an h5ad holds no image: name it in the column image.")
        return from_anndata(path, section=section, **options, **cut)
    if kind == "spatialdata":
        return from_spatialdata(path, section=section, **options, **cut)
    if kind == "patches":
        return _read_patches(path, section, options, cut)
    jobs = {
        "visium": visium_job,
        "visium_hd": visium_hd_job,
        "hest": hest_job,
        "her2st": her2st_job,
        "cscc": cscc_job,
    }
    return jobs[kind](path=path, section=section, **options, **cut)[1]()


def _value(key, value, kind, folder):
    if key in _PATHS and kind != "spatialdata":
        return folder / value
    if key in _NUMBERS or (key == "image_scale" and value[0].isdigit()):
        try:
            return float(value)
        except ValueError as error:
            raise InputError(f"the column {key} must hold numbers; got {value!r}.") from error
    return value


def _read_patches(path, section, options, cut):
    if "table" not in options:
        raise InputError("patches need the CSV that names them: give it in the column table.")
    sizes = {key: cut[key] for key in ("patch_size", "out_px")}
    return patch_jobs(path, section=section, **options, **sizes)[0][1]()


def _format_of(path):
    """What a path holds, by the files that only this format has."""
    if path.suffix == ".h5ad":
        return "h5ad"
    if path.suffix == ".zarr" or any((path / n).exists() for n in ("zarr.json", ".zgroup")):
        return "spatialdata"
    inside = (path, path / "outs")
    if path.name.startswith("square_") or any((p / "binned_outputs").is_dir() for p in inside):
        return "visium_hd"
    if any((p / "spatial/scalefactors_json.json").is_file() for p in inside):
        return "visium"
    if (path / "st").is_dir():
        return "hest"
    if (path / "data/ST-cnts").is_dir():
        return "her2st"
    if path.is_dir() and any(path.rglob("*_stdata.tsv*")):
        return "cscc"
    raise InputError(
        f"what {str(path)!r} holds is not known: name its format ({', '.join(_COLUMNS)}) in the "
        "column format."
    )
