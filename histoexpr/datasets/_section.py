"""What every reader does with one section: check it, and build what is returned."""

import logging
import warnings

import anndata
import numpy as np
import pandas as pd
import scipy.sparse
from anndata.utils import make_index_unique

from .. import _keys
from ..data import SpotPatches, check_positions, open_slide
from ..data._patch_checks import check_spatial, crop_sizes
from ..data._slide_checks import check_mpp
from ..exceptions import InputError, InputTypeError, MissingFileError
from ..utils import name_some
from ..utils._files import as_path
from ..utils._validation import as_array
from ._geometry import check_on_image, check_scale, grid_positions, visium_scale

logger = logging.getLogger(__name__)

# What a patch shows unless told otherwise: 0.5 um/px, which most encoders were trained at.
PATCH_SIZE, OUT_PX = "112um", 224
_SUFFIX = r"-\d+$"  # of the capture that a barcode is of


def make_section(
    counts,
    spatial,
    *,
    section,
    patient=None,
    positions=None,
    image=None,
    patches=None,
    mpp,
    patch_size,
    out_px,
    fill=255,
    elsewhere=None,
):
    """Build what a reader returns for one section, and check that it belongs together.

    Parameters
    ----------
    counts : AnnData of shape (n_spots, n_genes)
        Raw counts; further columns of its ``obs`` and ``var`` are kept.
    spatial : array-like of shape (n_spots, 2)
        (x, y) of the spot centres, in pixels of the image.
    section : str
    patient : str or None, default=None
        None or empty: the section stands for its patient, with a warning.
    positions : array-like of shape (n_spots, 2) or None, default=None
        (array_col, array_row). None: the centres, rounded.
    image : path, array, PIL image or Slide, default=None
        To cut patches from, as `open_slide` takes it; or else
    patches : ndarray of shape (n_spots, height, width, 3), dtype uint8, default=None
        Patches that are cut already; ``mpp`` is then theirs.
    mpp : float
        Micrometres per pixel.
    patch_size, out_px, fill
        As in :meth:`SpotPatches.from_images`.
    elsewhere : dict of str to ndarray of shape (n_spots, 2), default=None
        See `check_on_image`.

    Returns
    -------
    images : SpotPatches
    adata : AnnData
    """
    spatial = check_spatial(spatial, counts.n_obs)
    if positions is not None:
        positions = check_positions(positions, counts.n_obs)
    if patches is None:
        image = open_slide(image, mpp)
        check_on_image(spatial, positions, image, section, elsewhere)
    if positions is None:
        positions = grid_positions(spatial, section)
    if not is_named(patient):
        patient = section
        warnings.warn(
            f"section {section!r} has no patient: it stands for one of its own. If other sections "
            "are of the same person, name the patient, or they may end up on both sides of a "
            "split.",
            stacklevel=2,
        )
    known = {_keys.SECTION: section, _keys.PATIENT: str(patient), "positions": positions}
    if patches is None:
        images = SpotPatches.from_images(
            {section: image}, spatial, mpp=mpp, patch_size=patch_size, out_px=out_px, fill=fill,
            **known,
        )  # fmt: skip
    else:
        check_cut(patches.shape[1:3], mpp, patch_size, out_px, section)
        images = SpotPatches.from_arrays(patches, spatial=spatial, mpp=mpp, **known)
    return images, _as_adata(counts, spatial, positions, section, str(patient))


def as_counts(matrix, section, n_spots=None):
    """Counts as CSR of float32, a copy; refused where one is missing, negative or no number."""
    try:
        with np.errstate(over="ignore"):  # becomes an infinity
            counts = scipy.sparse.csr_matrix(matrix, dtype=np.float32, copy=True)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the counts of section {section!r} are not all numbers: {error}."
        ) from error
    if n_spots not in (None, counts.shape[0]):
        raise InputError(
            f"the counts of section {section!r} have {counts.shape[0]} rows for {n_spots} spots."
        )
    bad = ~(np.isfinite(counts.data) & (counts.data >= 0))
    if bad.any():
        raise InputError(
            f"the counts of section {section!r} must be raw counts, finite and at least 0; "
            f"{int(bad.sum())} are not, e.g. {counts.data[bad.argmax()]}."
        )
    return counts


def check_cut(shape, mpp, patch_size, out_px, section):
    """Refuse patches that were cut at another size than is asked for.

    ``patch_size`` or ``out_px`` None: as they are.
    """
    if out_px is not None and shape != (out_px, out_px):
        raise InputError(
            f"the patches of section {section!r} are cut already, {shape[0]} x {shape[1]} px: "
            f"out_px={out_px} cannot be had. Pass out_px={shape[1]}, or cut from the slide."
        )
    if patch_size is None:
        return
    wanted = crop_sizes(patch_size, np.array([mpp]), np.array([section]))[0]
    if abs(wanted - shape[1]) > 0.02 * shape[1]:
        raise InputError(
            f"the patches of section {section!r} are cut already and show {shape[1] * mpp:.4g} um, "
            f"not {patch_size!r}. Pass patch_size='{shape[1] * mpp:.4g}um', or cut from the slide."
        )


def as_names(names, what):
    """A list of str, of one name or several."""
    if isinstance(names, str):
        return [names]
    try:
        return [str(name) for name in names]
    except TypeError as error:
        raise InputTypeError(
            f"{what} must be one name, a list of names, or None for all; got {names!r}."
        ) from error


def is_named(value):
    """Whether a cell of a table says something."""
    empty = ("", "na", "n/a", "none", _keys.MISSING)
    missing = value is None or not pd.api.types.is_scalar(value) or pd.isna(value)
    return not missing and str(value).strip().lower() not in empty


def _as_adata(counts, spatial, positions, section, patient):
    adata = anndata.AnnData(
        as_counts(counts.X, section, counts.n_obs),
        obs=pd.DataFrame(
            {
                _keys.SECTION: section,
                _keys.PATIENT: patient,
                _keys.ARRAY_ROW: positions[:, 1],
                _keys.ARRAY_COL: positions[:, 0],
            },
            index=[f"{section}_{name}" for name in counts.obs_names],
        ),
        var=counts.var.copy(),
        obsm={_keys.SPATIAL: spatial},
    )
    for key in counts.obs.columns.difference(adata.obs.columns, sort=False):
        adata.obs[key] = counts.obs[key].array
    return with_categories(adata)


def with_unique_genes(adata, section):
    """The AnnData, or one with names that repeat made unique as scanpy does, said in the log."""
    names = adata.var_names.astype(str)  # readers of tables take "NA" and nothing for NaN
    duplicated = names.duplicated()
    if duplicated.any():
        logger.info(
            "section %s: %d genes share a name with another (%s); each is made unique by a suffix, "
            "'-1' and so on",
            section, duplicated.sum(), name_some(names[duplicated].unique()),
        )  # fmt: skip
    elif names.equals(adata.var_names):
        return adata
    var = adata.var.set_axis(make_index_unique(names), axis=0)
    return anndata.AnnData(adata.X, obs=adata.obs, var=var, obsm=dict(adata.obsm))


def with_raw_counts(adata, layer, section):
    """An AnnData with the counts of a layer, or of ``X``, and unique genes; the user's as it is."""
    if layer is not None and layer not in adata.layers:
        raise InputError(
            f"section {section!r}: there is no layer {layer!r}; there are "
            f"{name_some(adata.layers) or 'none'}."
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Variable names are not unique")
        adata = adata.to_memory() if adata.isbacked else adata
        matrix = adata.X if layer is None else adata.layers[layer]
        if matrix is None:
            raise InputError(f"section {section!r}: adata.X is empty; name the layer= of counts.")
        counts = anndata.AnnData(matrix, obs=adata.obs, var=adata.var)
    return with_unique_genes(counts, section)


def join_barcodes(counts, others, section, what):
    """Rows of spots that two tables share, also when those of one alone end in "-1".

    Parameters
    ----------
    counts, others : array-like of str
        Barcodes, unique in each.
    section, what : str
        For messages: the section and what ``others`` are of.

    Returns
    -------
    rows, rows_of_others : ndarray of int64
        In the order of ``counts``.
    """
    left, right = (pd.Index(np.asarray(v, dtype=str)) for v in (counts, others))
    for names, where in ((left, "the counts"), (right, what)):
        if names.has_duplicates:
            raise InputError(
                f"section {section!r}: barcode {name_some(names[names.duplicated()].unique())} "
                f"stands more than once in {where}. Is it of several sections? Give each its own."
            )
    found = right.get_indexer(left)
    suffixed = [names.str.contains(_SUFFIX).any() for names in (left, right)]
    bare = [names.str.replace(_SUFFIX, "", regex=True) for names in (left, right)]
    if suffixed[0] != suffixed[1] and not any(names.has_duplicates for names in bare):
        found = bare[1].get_indexer(bare[0])
    rows = np.flatnonzero(found >= 0)
    if not len(rows):
        raise InputError(
            f"section {section!r} is empty: no barcode of the counts ({name_some(left, 2)}) is "
            f"among those of {what} ({name_some(right, 2)}). Are both of one section?"
        )
    dropped = len(left) - len(rows), len(right) - len(rows)
    logger.info(
        "section %s: %d spots; %d barcodes are in the counts alone, %d in %s alone",
        section, len(rows), *dropped, what,
    )  # fmt: skip
    return rows, found[rows]


def with_categories(adata):
    """Names of sections and patients as categories, those in use."""
    for key in (_keys.SECTION, _keys.PATIENT):
        adata.obs[key] = adata.obs[key].astype(str).astype("category")
    return adata


def existing(path, what):
    """A Path, or a FileNotFoundError that says what was looked for."""
    path = as_path(path)
    if not path.exists():
        raise MissingFileError(f"There is no {what} at {str(path)!r}.")
    return path


def known_grid(adata):
    """(array_col, array_row) of an AnnData, or None."""
    keys = [_keys.ARRAY_COL, _keys.ARRAY_ROW]
    if not set(keys) <= set(adata.obs):
        return None
    return as_array(adata.obs[keys].astype(object).to_numpy(), " and ".join(keys), np.float64)


def image_mpp(mpp, positions, spatial, image, section):
    """Micrometres per pixel: as given, as measured on a Visium grid, or as the image says."""
    mpp = mpp if mpp is None else check_mpp(mpp)
    measured = np.nan if positions is None else visium_scale(positions, spatial)
    if not np.isnan(measured):
        if mpp is not None:
            check_scale(mpp, measured, section, "spots of Visium are 100 um apart")
        return measured if mpp is None else mpp
    mpp = image.mpp if mpp is None else mpp
    if mpp is None:
        raise InputError(
            f"section {section!r}: how many micrometres a pixel of its image is, neither its spots "
            "nor the file say. Pass mpp=."
        )
    return mpp
