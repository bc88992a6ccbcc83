"""Visium sections as Space Ranger writes them."""

import logging

import numpy as np

from ..data._slide_checks import check_mpp
from ..exceptions import InputError
from ._geometry import (
    VISIUM_PITCH_UM,
    VISIUM_STEP_UM,
    check_one_grid,
    check_scale,
    grid_scale,
)
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

# What Space Ranger writes as spot_diameter_fullres, in micrometres: not the printed 55.
SPOT_UM = 65.0


def load_visium(
    path,
    image=None,
    image_scale="fullres",
    section=None,
    patient=None,
    *,
    mpp=None,
    patch_size=PATCH_SIZE,
    out_px=OUT_PX,
    fill=255,
    genes="intersection",
):
    """Load Visium sections from what Space Ranger wrote, version 1 or later.

    Parameters
    ----------
    path : path, or list of path
        The folder ``outs/``, or the one above it: ``spatial/`` and the counts, in
        ``filtered_feature_bc_matrix.h5`` or the folder ``filtered_feature_bc_matrix/``.
    image : path, array, PIL image, Slide or None, or list of them, default=None
        The H&E that Space Ranger was given: it is not in ``outs/``. None: the preview
        ``spatial/tissue_hires_image.png``, with a warning.
    image_scale : {"fullres", "hires", "lowres"} or float, or list of them, default="fullres"
        What the image is: the one Space Ranger was given, or a preview; or the number of its
        pixels per pixel at full resolution. Without an image "hires" and "lowres" choose the
        preview.
    section, patient : str or None, or list of them, default=None
        Names. A section is otherwise called as its folder is, and one without a patient stands
        for one of its own, with a warning.
    mpp : float or None, or list of them, default=None
        Micrometres per pixel at full resolution. None: measured, see Notes.
    patch_size : str, default="112um"
        Side of the square around each spot: "112um", or "224px" of the image.
    out_px : int, default=224
        Side of the patch as returned, in pixels.
    fill : int or tuple of 3 int, default=255
        Colour beyond the border of the image, 0 to 255.
    genes : {"intersection", "union"} or list of str, default="intersection"
        See :func:`join_sections`.

    Returns
    -------
    images : SpotPatches of shape (n_spots, out_px, out_px, 3)
        Row i is the spot of row i of ``adata``.
    adata : AnnData of shape (n_spots, n_genes)
        The spots under tissue. ``X``: raw counts (CSR, float32). ``obs_names``:
        ``"{section}_{barcode}"``. ``obs``: section, patient, array_row, array_col.
        ``obsm["spatial"]``: (x, y) of the spot centres in pixels of the image, as in ``images``.
        ``var``: as in the folder; a gene name that repeats has "-1" and so on appended, as scanpy
        does.

    Raises
    ------
    FileNotFoundError
        If a file is not there.
    ValueError
        If a file cannot be read, barcodes of counts and spots do not meet, the spots are on no
        Visium grid, image and spots are not at one scale, or spots lie outside the image. Of
        several sections all are tried, and all that fail are named.

    Notes
    -----
    Neighbouring spots of Visium are 100 um apart. Micrometres per pixel are measured from that,
    over all spots of the array, under tissue or not. ``spot_diameter_fullres`` serves as a check:
    it is written for a spot of 65 um (10x Genomics' documentation), not of the 55 um printed on
    the slide, so that reading it as 55 um would be wrong by 15 %.
    """
    rows = per_section(
        path, image=image, image_scale=image_scale, section=section, patient=patient, mpp=mpp
    )
    cut = {"patch_size": patch_size, "out_px": out_px, "fill": fill}
    return read_sections([visium_job(**row, **cut) for row in rows], genes=genes)


def visium_job(path, section=None, **options):
    """Name of a section, and the function that reads it."""
    section = section or folder_name(path)
    return section, lambda: _read_visium(path, section=section, **options)


def _read_visium(
    path, *, section, patient=None, image=None, image_scale="fullres", mpp=None, **cut
):
    outs = find_outs(path)
    if (outs / "binned_outputs").is_dir():
        raise InputError(f"{str(outs)!r} holds Visium HD (binned_outputs/): use load_visium_hd.")
    factors = read_scale_factors(outs)
    table = read_positions(outs, section)
    mpp = _full_resolution_mpp(table, factors, mpp, section)
    image, scale = choose_image(outs, image, image_scale, factors, section)
    counts, table = spots_under_tissue(read_counts(outs, section), table, section)
    logger.info("section %s: image at %.4g um/px, full resolution %.4g", section, mpp / scale, mpp)
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


def _full_resolution_mpp(table, factors, mpp, section):
    """The pixel size that was given, or that of the pitch; refused where they contradict."""
    mpp = mpp if mpp is None else check_mpp(mpp)
    measured, spread = grid_scale(grid(table), centres(table), VISIUM_STEP_UM)
    diameter = factors.get("spot_diameter_fullres", np.nan)
    if np.isnan(measured):
        measured = SPOT_UM / diameter
    else:
        check_one_grid(spread, section)
        pitch = VISIUM_PITCH_UM / measured
        if not 0.4 < diameter / pitch < 0.9 and not np.isnan(diameter):
            raise InputError(
                f"section {section!r}: spots lie {pitch:.4g} px apart, but scalefactors_json.json "
                f"gives them a diameter of {diameter:.4g} px (65 of 100 um are expected). The "
                "table of spots must be in pixels at full resolution, as Space Ranger writes it."
            )
    if mpp is None and np.isnan(measured):
        raise InputError(
            f"section {section!r}: its spots do not tell how many micrometres a pixel is. Pass "
            "mpp=, at full resolution."
        )
    if mpp is None or np.isnan(measured):
        return measured if mpp is None else mpp
    check_scale(mpp, measured, section, "spots of Visium are 100 um apart")
    return mpp
