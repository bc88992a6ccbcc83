"""Samples of HEST-1k, and of anything laid out like it."""

from collections.abc import Mapping

import numpy as np

from .. import _keys
from ..data import open_slide
from ..data._patch_checks import check_spatial
from ..exceptions import InputError, InputTypeError, MissingFileError
from ..utils import name_some
from ..utils._hdf5 import opened_h5
from ..utils._reading import read_json, reading
from ..utils._validation import check_number
from ._files import read_h5ad
from ._geometry import visium_scale
from ._join import read_sections
from ._section import (
    OUT_PX,
    PATCH_SIZE,
    as_names,
    existing,
    is_named,
    join_barcodes,
    known_grid,
    make_section,
    with_unique_genes,
)

_MOST_MPP = 1e6
_LAYOUT = "st/{id}.h5ad, with patches/{id}.h5 or wsis/{id}.tif, and metadata/{id}.json"


def load_hest(
    root,
    ids=None,
    *,
    source="auto",
    patient=None,
    patch_size=PATCH_SIZE,
    out_px=OUT_PX,
    fill=255,
    genes="intersection",
):
    """Load samples of HEST-1k: the patches that come with it, or patches cut from its slides.

    Parameters
    ----------
    root : path
        The folder that holds ``st/``, ``patches/`` or ``wsis/``, and ``metadata/``.
    ids : str or list of str, default=None
        Samples such as "TENX95", which become the sections; None takes all of ``st/``.
    source : {"auto", "patches", "slide"}, default="auto"
        Patches of ``patches/{id}.h5``, which are read into memory (0.15 MB each); or patches cut
        from ``wsis/{id}.tif`` when they are asked for. "auto": the former where the file is.
    patient : dict of str to str or None, default=None
        Patients by sample, where they are known better than ``metadata/`` does: there they are
        empty for most samples, and then the section stands for one of its own, with a warning.
        Names such as "Patient 1" are of one study each.
    patch_size, out_px : str or None, int or None, default="112um", 224
        As in :func:`load_visium`; patches that are cut already must be of this size, which is
        HEST's own. None: whatever they are.
    fill : int or tuple of 3 int, default=255
        Colour beyond the border of the slide.
    genes : {"intersection", "union"} or list of str, default="intersection"
        See :func:`join_sections`.

    Returns
    -------
    images : SpotPatches of shape (n_spots, out_px, out_px, 3)
        ``mpp`` is that of the patches where they come from ``patches/``.
    adata : AnnData of shape (n_spots, n_genes)
        As :func:`load_visium` returns them, with the further columns of the sample's ``obs``.
        ``obsm["spatial"]``: (x, y) of the spot centres in pixels of the slide.

    Raises
    ------
    FileNotFoundError
        If a file is not there.
    ValueError
        If no barcode of the patches is among the spots, patches do not lie on their spots, the
        pixel size is not known, or patches are of another size than asked for.

    Notes
    -----
    Patches are joined to spots by barcode: they are a part of them. Micrometres per pixel are
    ``pixel_size`` in the patches' file, else ``pixel_size_um_estimated`` or
    ``pixel_size_um_embedded`` in ``metadata/``, else measured on a Visium grid, else those the
    slide states.

    References
    ----------
    G. Jaume et al., "HEST-1k: a dataset for spatial transcriptomics and histology image
    analysis", NeurIPS Datasets and Benchmarks (2024).
    """
    if source not in ("auto", "patches", "slide"):
        raise InputError(f"source must be 'auto', 'patches' or 'slide'; got {source!r}.")
    root = existing(root, "folder of HEST samples")
    cut = {"patch_size": patch_size, "out_px": out_px, "fill": fill}
    if not isinstance(patient, (Mapping, type(None))):
        raise InputTypeError(f"patient must be a dict of patients by sample; got {patient!r}.")
    patients = patient or {}
    jobs = [
        hest_job(root, name, patient=patients.get(name), source=source, **cut)
        for name in _choose(root, ids)
    ]
    return read_sections(jobs, genes=genes)


def hest_job(path, section, **options):
    """Name of a sample, and the function that reads it."""
    return section, lambda: _read_hest(path, section, **options)


def _choose(root, ids):
    found = sorted(path.stem for path in root.glob("st/[!.]*.h5ad"))
    if ids is None and not found:
        raise MissingFileError(f"There are no samples in {str(root)!r}: it must hold {_LAYOUT}.")
    if ids is None:
        return found
    names = as_names(ids, "ids")
    unknown = [name for name in names if name not in found]
    if unknown or not names:
        raise InputError(
            f"There is no sample {name_some(unknown) or 'in an empty list'} in "
            f"{str(root / 'st')!r}; there are {name_some(found) or 'none'}."
        )
    return names


def _read_hest(root, section, *, patient=None, source="auto", **cut):
    root = existing(root, "folder of HEST samples")
    adata = read_h5ad(existing(root / f"st/{section}.h5ad", f"table of spots ({_LAYOUT})"))
    adata = with_unique_genes(adata, section)
    if _keys.SPATIAL not in adata.obsm:
        raise InputError(f"sample {section!r}: its h5ad has no obsm[{_keys.SPATIAL!r}].")
    meta = _metadata(root, section)
    adata.obsm[_keys.SPATIAL] = check_spatial(adata.obsm[_keys.SPATIAL], adata.n_obs)
    patient = patient if is_named(patient) else meta.get(_keys.PATIENT)
    patches = root / f"patches/{section}.h5"
    slide = root / f"wsis/{section}.tif"
    if source == "patches" or (source == "auto" and patches.is_file()):
        existing(patches, f"file of patches ({_LAYOUT}; source='slide' cuts them)")
        return _from_patches(patches, adata, meta, section, patient, cut)
    existing(slide, f"slide ({_LAYOUT})")
    image = open_slide(slide)
    return make_section(
        adata,
        adata.obsm[_keys.SPATIAL],
        positions=known_grid(adata),
        section=section,
        patient=patient,
        image=image,
        mpp=_pixel_size(adata, meta, {}, image.mpp, section),
        **cut,
    )


def _from_patches(path, adata, meta, section, patient, cut):
    with reading(repr(str(path))), opened_h5(path) as file:
        lacking = [key for key in ("img", "barcode", "coords") if key not in file]
        if lacking:
            raise InputError(f"{str(path)!r} lacks {name_some(lacking)}; it has {list(file)}.")
        attrs = {**file.attrs, **file["coords"].attrs, **file["img"].attrs}
        barcodes = [v.decode() if isinstance(v, bytes) else v for v in file["barcode"][:].flat]
        rows, spots = join_barcodes(barcodes, adata.obs_names, section, "the h5ad")
        images, coords = file["img"], file["coords"]
        n_patches = len(barcodes)
        if images.ndim != 4 or len(images) != n_patches or coords.shape != (n_patches, 2):
            raise InputError(
                f"{str(path)!r} has {n_patches} barcodes, img of shape {images.shape} and coords "
                f"of shape {coords.shape}; they must be ({n_patches}, height, width, 3) and "
                f"({n_patches}, 2)."
            )
        patches = images[:] if len(rows) == len(images) else images[rows]
        corners = coords[:][rows].astype(np.float64)
    adata = adata[spots]
    side = _source_side(attrs, patches.shape[2])
    _check_corners(corners, adata.obsm[_keys.SPATIAL], side, section)
    mpp = _pixel_size(adata, meta, attrs, None, section) * side / patches.shape[2]
    return make_section(
        adata,
        adata.obsm[_keys.SPATIAL],
        positions=known_grid(adata),
        section=section,
        patient=patient,
        patches=patches,
        mpp=mpp,
        **cut,
    )


def _source_side(attrs, side):
    """Side of a patch in pixels of the slide."""
    if "patch_size_src" in attrs:
        return check_number(_plain(attrs["patch_size_src"]), "patch_size_src of patches")
    return side * check_number(_plain(attrs.get("downsample", 1.0)), "downsample of patches")


def _plain(value):
    """What an attribute of HDF5 holds: it may be an array of one."""
    return value.item() if getattr(value, "size", 0) == 1 else value


def _check_corners(corners, spatial, side, section):
    """Refuse patches that are not where their spots are."""
    # The corner at the top left; in the files of the HEST benchmark the centre, as (y, x).
    offsets = [corners + side / 2 - spatial, corners[:, ::-1] - spatial]
    nearest = min(np.median(np.abs(offset)) for offset in offsets)
    if not nearest <= max(2.0, side / 20):  # NaN is not
        found = np.median(offsets[0], axis=0)
        raise InputError(
            f"sample {section!r}: its patches are not centred on its spots, but off by "
            f"{found.round(1).tolist()} px (x, y; median). coords must be top left corners, "
            f"{side / 2:g} px from the centre, and obsm[{_keys.SPATIAL!r}] centres, both (x, y) in "
            "pixels of the slide. Are x and y exchanged in one of them?"
        )


def _pixel_size(adata, meta, attrs, of_slide, section):
    stated = (attrs.get("pixel_size"), meta.get("pixel_size_um_estimated"),
              meta.get("pixel_size_um_embedded"))  # fmt: skip
    positions = known_grid(adata)
    measured = np.nan if positions is None else visium_scale(positions, adata.obsm[_keys.SPATIAL])
    for value in map(_plain, (*stated, measured, of_slide)):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and 0 < value < _MOST_MPP:
            return float(value)
    raise InputError(
        f"sample {section!r}: how many micrometres a pixel is stands neither in its patches' "
        f"attributes nor in metadata/{section}.json (pixel_size_um_estimated). Write it there."
    )


def _metadata(root, section):
    path = root / f"metadata/{section}.json"
    return read_json(path) if path.is_file() else {}
