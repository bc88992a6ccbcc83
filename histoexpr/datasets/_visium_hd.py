"""Visium HD sections as Space Ranger writes them: square bins of 8 um and more."""

import logging
from numbers import Real

from ..data._slide_checks import check_mpp
from ..exceptions import InputError, MissingFileError
from ._geometry import check_one_grid, check_scale, grid_scale
from ._join import per_section, read_sections
from ._section import OUT_PX, PATCH_SIZE, make_section
from ._spaceranger import (
    at_other_scales,
    centres,
    choose_image,
    find_outs,
    folder_name,
    grid,
    read_counts,
    read_positions,
    read_scale_factors,
    spots_under_tissue,
)

logger = logging.getLogger(__name__)


def load_visium_hd(
    path,
    image=None,
    image_scale="fullres",
    section=None,
    patient=None,
    *,
    bin_size=8,
    mpp=None,
    patch_size=PATCH_SIZE,
    out_px=OUT_PX,
    fill=255,
    genes="intersection",
):
    """Load Visium HD sections from what Space Ranger wrote; a spot is a square bin.

    Parameters
    ----------
    path : path, or list of path
        The folder ``outs/`` or the one above it, with ``binned_outputs/square_008um/``; or that
        last folder itself.
    image, image_scale, section, patient, mpp
        As in :func:`load_visium`.
    bin_size : int, default=8
        Side of a bin in micrometres, one that Space Ranger wrote; at least 8.
    patch_size, out_px, fill, genes
        As in :func:`load_visium`.

    Returns
    -------
    images : SpotPatches of shape (n_spots, out_px, out_px, 3)
    adata : AnnData of shape (n_spots, n_genes)
        As :func:`load_visium` returns them; positions count bins.

    Raises
    ------
    FileNotFoundError
        If a file is not there.
    ValueError
        If bins are below 8 um or not there; otherwise as :func:`load_visium` does.

    Notes
    -----
    Micrometres per pixel are ``microns_per_pixel`` of the scale factors, checked against the
    distance between bins. Bins of 2 um hold a handful of counts each and are refused; so many
    bins have patches that nearly coincide: for training, take 16 um or a part of them.
    """
    if not isinstance(bin_size, Real) or not 8 <= bin_size < 1000:
        raise InputError(
            f"bin_size must be at least 8 (um) and below 1000; got {bin_size!r}. Bins of 2 um hold "
            "too few counts."
        )
    rows = per_section(
        path, image=image, image_scale=image_scale, section=section, patient=patient, mpp=mpp
    )
    cut = {"patch_size": patch_size, "out_px": out_px, "fill": fill}
    jobs = [visium_hd_job(**row, bin_size=bin_size, **cut) for row in rows]
    return read_sections(jobs, genes=genes)


def visium_hd_job(path, section=None, **options):
    """Name of a section, and the function that reads it."""
    section = section or folder_name(path)
    return section, lambda: _read_visium_hd(path, section=section, **options)


def _read_visium_hd(
    path, *, section, patient=None, image=None, image_scale="fullres", bin_size=8, mpp=None, **cut
):
    outs = _find_bins(find_outs(path), bin_size)
    factors = read_scale_factors(outs)
    table = read_positions(outs, section)
    mpp = _full_resolution_mpp(table, factors, mpp, section)
    image, scale = choose_image(outs, image, image_scale, factors, section)
    counts, table = spots_under_tissue(read_counts(outs, section), table, section)
    return make_section(
        counts,
        centres(table) * scale,
        positions=grid(table),
        section=section,
        patient=patient,
        image=image,
        mpp=mpp / scale,
        elsewhere=at_other_scales(centres(table), scale, factors),
        **cut,
    )


def _find_bins(outs, bin_size):
    name = f"square_{int(bin_size):03d}um"
    if outs.name.startswith("square_"):
        if outs.name != name:
            raise InputError(f"{str(outs)!r} is not of bin_size={bin_size}: it would be {name}.")
        return outs
    folder = outs / "binned_outputs" / name
    if not folder.is_dir():
        found = sorted(path.name for path in outs.glob("binned_outputs/square_*"))
        raise MissingFileError(
            f"There is no binned_outputs/{name} in {str(outs)!r}; "
            + (f"it holds {', '.join(found)}." if found else "use load_visium if it is not HD.")
        )
    return folder


def _full_resolution_mpp(table, factors, mpp, section):
    stated, side = (factors.get(key) for key in ("microns_per_pixel", "bin_size_um"))
    mpp = stated if mpp is None else check_mpp(mpp)
    if mpp is None:
        raise InputError(
            f"section {section!r}: scalefactors_json.json does not state microns_per_pixel. Pass "
            "mpp=, at full resolution."
        )
    if side is not None and len(table) > 1:
        measured, spread = grid_scale(grid(table), centres(table), (side, side))
        check_one_grid(spread, section)
        check_scale(mpp, measured, section, f"bins are {side:g} um wide")
    return mpp
