"""A folder of patches that are cut already, and a table that names them."""

import os
from functools import partial

import anndata
import numpy as np
import pandas as pd

from .. import _keys
from ..data._decode import read_image
from ..exceptions import InputError, InputTypeError, MissingFileError
from ..utils import name_some
from ..utils._reading import reading
from ._files import read_h5ad, read_table
from ._join import read_sections
from ._section import existing, is_named, join_barcodes, make_section

_COLUMNS = ("file", "barcode", _keys.SECTION, _keys.PATIENT, "x", "y",
            _keys.ARRAY_ROW, _keys.ARRAY_COL, "mpp")  # fmt: skip


def load_patches(
    folder,
    table,
    counts=None,
    mpp=None,
    *,
    section=None,
    patient=None,
    patch_size=None,
    out_px=None,
    genes="intersection",
):
    """Load patches that are image files of one size each, and the counts of their spots.

    Parameters
    ----------
    folder : path
        Where the files are (JPG, PNG, TIFF).
    table : path of a CSV or TSV, or DataFrame
        A row a patch. ``file``: its path within the folder; ``x``, ``y``: the spot's centre, in
        pixels of the image it was cut from. If known: ``barcode`` (else the file's name without
        suffix), ``section``, ``patient``, ``array_row``, ``array_col``, and ``mpp``.
    counts : AnnData, path of an h5ad, CSV or TSV, or None, default=None
        Raw counts, spots x genes, named by barcode; with several sections an AnnData whose
        ``obs`` has section, too. None: patches to predict for; ``adata`` has no genes.
    mpp : float or None, default=None
        Micrometres per pixel of the patches, where the table does not have them.
    section, patient : str or None, default=None
        Names, where the table does not have them.
    patch_size, out_px : str or None, int or None, default=None
        What the patches must be, e.g. "112um", 224. None: whatever they are.
    genes : {"intersection", "union"} or list of str, default="intersection"
        See :func:`join_sections`.

    Returns
    -------
    images : SpotPatches of shape (n_spots, height, width, 3)
        In memory; ``mpp`` is that of the patches.
    adata : AnnData of shape (n_spots, n_genes)
        As :func:`load_visium` returns them.

    Raises
    ------
    FileNotFoundError
        If the folder, the table or a file in it is not there.
    ValueError
        If the table lacks a column, micrometres per pixel are not known, files cannot be read or
        differ in size, or barcodes of patches and counts do not meet.
    """
    jobs = patch_jobs(
        folder, table, counts, mpp, section, patient, patch_size=patch_size, out_px=out_px
    )
    return read_sections(jobs, genes=genes)


def patch_jobs(folder, table, counts=None, mpp=None, section=None, patient=None, **cut):
    """Name of each section, and the function that reads it."""
    folder = existing(folder, "folder of patches")
    table = _read_table(table)
    for key, given in ((_keys.SECTION, section), (_keys.PATIENT, patient), ("mpp", mpp)):
        if not pd.api.types.is_scalar(given):
            raise InputTypeError(
                f"{key}= must be one value, for all patches; got {given!r:.200}. One for each "
                f"stands in a column {key} of the table."
            )
        if key not in table or given is not None:
            table[key] = given
    table[_keys.SECTION] = table[_keys.SECTION].where(
        table[_keys.SECTION].map(is_named), folder.name
    )
    counts = _read_counts(counts)
    return [
        (str(name), partial(_read_patches, folder, rows, counts, str(name), cut))
        for name, rows in table.groupby(_keys.SECTION, sort=False)
    ]


def _read_table(table):
    if not isinstance(table, pd.DataFrame):
        path = existing(table, "table of patches")
        table = read_table(path, sep=None, engine="python", dtype={"barcode": str})
    lacking = [name for name in ("file", "x", "y") if name not in table]
    unknown = [name for name in table if name not in _COLUMNS]
    if lacking:
        raise InputError(
            f"The table of patches lacks the column {name_some(lacking)}; it has "
            f"{name_some(table.columns)}{', unknown here' if unknown else ''}."
        )
    if table.empty:
        raise InputError("The table of patches has no rows.")
    table = table.copy()
    if "barcode" not in table:
        table["barcode"] = [os.path.splitext(os.path.basename(str(f)))[0] for f in table["file"]]
    return table


def _read_counts(counts):
    if counts is None or isinstance(counts, anndata.AnnData):
        return counts
    if isinstance(counts, pd.DataFrame):
        return anndata.AnnData(counts)
    path = existing(counts, "table of counts")
    if path.suffix == ".h5ad":
        return read_h5ad(path)
    separator = "\t" if ".tsv" in path.name else ","
    table = read_table(path, sep=separator, index_col=0)
    with reading(repr(str(path)), "must hold counts, spots x genes, named by barcode"):
        return anndata.AnnData(table.astype(np.float32))


def _read_patches(folder, table, counts, section, cut):
    if counts is None:
        names = pd.DataFrame(index=table["barcode"].astype(str))
        counts = anndata.AnnData(np.zeros((len(table), 0), np.float32), obs=names)
    elif _keys.SECTION in counts.obs:
        counts = counts[(counts.obs[_keys.SECTION].astype(str) == section).to_numpy()]
    rows, spots = join_barcodes(table["barcode"], counts.obs_names, section, "the counts")
    table = table.iloc[rows]
    sizes = pd.to_numeric(table["mpp"], errors="coerce").unique()
    if len(sizes) != 1 or not 0 < sizes[0] < np.inf:
        raise InputError(
            f"section {section!r}: how many micrometres a pixel of its patches is must be known, "
            "and one number: pass mpp=, or give the table a column mpp."
        )
    patients = [name for name in table[_keys.PATIENT].unique() if is_named(name)]
    if len(patients) > 1:
        raise InputError(f"section {section!r} has several patients: {name_some(patients)}.")
    grid = {_keys.ARRAY_COL, _keys.ARRAY_ROW} <= set(table)
    return make_section(
        counts[spots],
        table[["x", "y"]],
        positions=table[[_keys.ARRAY_COL, _keys.ARRAY_ROW]] if grid else None,
        section=section,
        patient=patients[0] if patients else None,
        patches=_read_files(folder, table["file"], section),
        mpp=float(sizes[0]),
        **cut,
    )


def _read_files(folder, names, section):
    """All patches, uint8 (n, height, width, 3)."""
    missing = [name for name in names if not (folder / str(name)).is_file()]
    if missing:
        raise MissingFileError(
            f"section {section!r}: {len(missing)} of {len(names)} patches are not in "
            f"{str(folder)!r}: {name_some(missing, 2)}."
        )
    patches = None
    for row, name in enumerate(names):
        with open(folder / str(name), "rb") as file:
            patch = read_image(file, str(folder / str(name)))
        if patches is None:
            patches = np.empty((len(names), *patch.shape), np.uint8)
        if patch.shape != patches.shape[1:]:
            raise InputError(
                f"section {section!r}: {name!r} is {patch.shape[1]} x {patch.shape[0]} px, but "
                f"others are {patches.shape[2]} x {patches.shape[1]}; cut all at one size."
            )
        patches[row] = patch
    return patches
