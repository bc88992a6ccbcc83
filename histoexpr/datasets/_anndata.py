"""An AnnData of one's own, and its image."""

import os
from numbers import Real

import anndata
import numpy as np

from .. import _keys
from ..data import open_slide
from ..data._patch_checks import check_spatial
from ..exceptions import InputError, InputTypeError
from ..utils import name_some
from ._files import read_h5ad
from ._section import (
    OUT_PX,
    PATCH_SIZE,
    existing,
    image_mpp,
    known_grid,
    make_section,
    with_raw_counts,
)


def from_anndata(
    adata,
    image,
    mpp=None,
    section=None,
    patient=None,
    *,
    layer=None,
    patch_size=PATCH_SIZE,
    out_px=OUT_PX,
    fill=255,
):
    """Cut patches for the spots of an AnnData of one section.

    Parameters
    ----------
    adata : AnnData of shape (n_spots, n_genes), or path of an h5ad
        ``X`` holds raw counts, ``obsm["spatial"]`` (x, y) of the spot centres in pixels of the
        image; ``obs`` may hold section, patient, array_row and array_col. It is not changed.
    image : path, array, PIL image or Slide
        The image that ``obsm["spatial"]`` is of.
    mpp : float or None, default=None
        Micrometres per pixel of the image. None: measured where the spots are on a Visium grid,
        else what the image says.
    section, patient : str or None, default=None
        Names. None: those in ``obs``; a section without any is called as the file is, or "0".
    layer : str or None, default=None
        Where the raw counts are, if not in ``X``.
    patch_size, out_px, fill
        As in :func:`load_visium`.

    Returns
    -------
    images : SpotPatches of shape (n_spots, out_px, out_px, 3)
    adata : AnnData of shape (n_spots, n_genes)
        As :func:`load_visium` returns them, with the further columns of ``obs``. Without grid
        positions array_row and array_col are the centres, rounded. Several sections are put
        together by :func:`join_sections`.

    Raises
    ------
    ValueError
        If there are no spot centres, ``obs`` names several sections, micrometres per pixel are
        not known or contradict the spots' distances, or spots lie outside the image.
    """
    name = None
    if isinstance(adata, (str, os.PathLike)):
        path = existing(adata, "h5ad file")
        adata, name = read_h5ad(path), path.stem
    if not isinstance(adata, anndata.AnnData):
        raise InputTypeError(f"adata must be an AnnData or a path; got {type(adata).__name__}.")
    section = section or _one(adata, _keys.SECTION) or name or "0"
    if _keys.SPATIAL not in adata.obsm:
        raise InputError(
            f"section {section!r}: adata has no obsm[{_keys.SPATIAL!r}], the (x, y) of its spots "
            f"in pixels of the image; it has {name_some(adata.obsm) or 'none'}."
        )
    spatial = check_spatial(adata.obsm[_keys.SPATIAL], adata.n_obs)
    image = open_slide(image)
    return make_section(
        with_raw_counts(adata, layer, section),
        spatial,
        positions=known_grid(adata),
        section=str(section),
        patient=patient or _one(adata, _keys.PATIENT),
        image=image,
        mpp=image_mpp(mpp, known_grid(adata), spatial, image, section),
        patch_size=patch_size,
        out_px=out_px,
        fill=fill,
        elsewhere=_at_other_scales(adata, spatial),
    )


def _one(adata, key):
    """The one name in a column of ``obs``; None without the column."""
    if key not in adata.obs:
        return None
    names = adata.obs[key].dropna().unique()
    if len(names) > 1:
        raise InputError(
            f"adata.obs[{key!r}] names {len(names)}: {name_some(names)}. Pass one section at a "
            "time, each with its image, and put them together with join_sections."
        )
    return str(names[0]) if len(names) else None


def _at_other_scales(adata, spatial):
    """Where spots would be on a preview or at full resolution, if scanpy's ``uns`` tells."""
    libraries = adata.uns.get(_keys.SPATIAL, {})
    found = {}
    for library in libraries.values() if hasattr(libraries, "values") else ():
        factors = library.get("scalefactors") if hasattr(library, "get") else None
        factors = factors if hasattr(factors, "get") else {}
        for kind in ("hires", "lowres"):
            factor = factors.get(f"tissue_{kind}_scalef")
            if isinstance(factor, Real) and 0 < factor < np.inf:
                found[f"multiply obsm by the {kind} scale factor, {factor:.4g}"] = spatial * factor
                found[f"divide obsm by the {kind} scale factor, {factor:.4g}"] = spatial / factor
    return found
