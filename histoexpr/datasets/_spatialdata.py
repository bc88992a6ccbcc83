"""Sections of a SpatialData object."""

import functools
import hashlib
import os
import warnings

import numpy as np

from .. import _keys
from ..data import Slide
from ..data._decode import to_rgb
from ..data._patch_checks import check_spatial
from ..exceptions import InputError, InputTypeError
from ..utils import import_optional, name_some
from ..utils._reading import check_parquet, check_sparse, reading
from ..utils._zarr import check_zarr
from ._section import (
    OUT_PX,
    PATCH_SIZE,
    existing,
    image_mpp,
    known_grid,
    make_section,
    with_raw_counts,
)

_DAMAGED = "is not as SpatialData writes it; is it whole?"
_KEPT_BYTES = 2**30  # levels up to this size are read once and kept


def from_spatialdata(
    sdata,
    image=None,
    table=None,
    region=None,
    section=None,
    patient=None,
    *,
    coordinate_system=None,
    mpp=None,
    layer=None,
    patch_size=PATCH_SIZE,
    out_px=OUT_PX,
    fill=255,
):
    """Cut patches for one section of a SpatialData object (extra ``spatialdata``).

    Parameters
    ----------
    sdata : SpatialData, or path of its zarr store
    image, table : str or None, default=None
        Names of the image and of the table with the raw counts. None: the only one.
    region : str or None, default=None
        Of the elements that the table annotates, the one with the section's spots. None: the
        only one. A table that annotates none has its spots in ``obsm["spatial"]``, (x, y) in
        pixels of the image.
    section, patient : str or None, default=None
        Names. A section without is called as the region, or as the image.
    coordinate_system : str or None, default=None
        In which spots and image are aligned. None: "global", or the only one both have.
    mpp : float or None, default=None
        Micrometres per pixel of the image at its finest scale. None: measured, where the spots
        are on a Visium grid.
    layer : str or None, default=None
        Where the raw counts are, if not in ``X``.
    patch_size, out_px, fill
        As in :func:`load_visium`.

    Returns
    -------
    images : SpotPatches of shape (n_spots, out_px, out_px, 3)
    adata : AnnData of shape (n_spots, n_genes)
        As :func:`load_visium` returns them, with the further columns of the table's ``obs``.
        Several sections are put together by :func:`join_sections`.

    Raises
    ------
    ImportError
        If spatialdata is not installed.
    ValueError
        If a name is not there or has to be chosen, image and spots share no coordinate system,
        spots of the table are not in the region, micrometres per pixel are not known, or spots
        lie outside the image.

    Notes
    -----
    The centres of the region's shapes are brought to pixels of the image by its transformation
    in the coordinate system, so that image and shapes may each have their own.

    A store is first read by a process of its own: its tables, shapes and labels, and all of the
    image, which takes some seconds a GB. ``HISTOEXPR_TRUST_FILES=1`` in the environment leaves that
    out, for stores that you trust.
    """
    spatialdata = import_optional("spatialdata", extra="spatialdata", purpose="from_spatialdata")
    if isinstance(sdata, (str, os.PathLike)):
        sdata = _read(spatialdata, existing(sdata, "SpatialData store"), image)
    if not isinstance(sdata, spatialdata.SpatialData):
        raise InputTypeError(
            f"sdata must be a SpatialData or the path of a store; got {type(sdata).__name__}."
        )
    image_name = _only(image, sdata.images, "image")
    with reading("sdata", _DAMAGED):
        adata = check_sparse(sdata.tables[_only(table, sdata.tables, "table")])
        adata, region, instances = _rows_of_region(adata, region)
        element = sdata.images[image_name]
        if region is not None and region in sdata:
            system = _shared_system(spatialdata, element, sdata[region], coordinate_system)
            spatial = _centres(spatialdata, sdata[region], instances, region, system)
            spatial = _to_pixels(spatialdata, element, spatial, system)
        elif _keys.SPATIAL in adata.obsm:
            spatial = adata.obsm[_keys.SPATIAL]
        else:
            raise InputError(
                f"The spots have no place: the table annotates no element of sdata and has no "
                f"obsm[{_keys.SPATIAL!r}]."
            )
        spatial = check_spatial(spatial, adata.n_obs)
        slide = ElementSlide(_levels(spatialdata, element), image_name)
    section = str(section or region or image_name)
    return make_section(
        with_raw_counts(adata, layer, section),
        spatial,
        positions=known_grid(adata),
        section=section,
        patient=patient,
        image=slide,
        mpp=image_mpp(mpp, known_grid(adata), spatial, slide, section),
        patch_size=patch_size,
        out_px=out_px,
        fill=fill,
    )


class ElementSlide(Slide):
    """An image element as a slide: only what is asked for is computed.

    Parameters
    ----------
    arrays : list of DataArray with dims ("c", "y", "x")
        The levels of the pyramid, the finest first.
    name : str
    """

    def __init__(self, arrays, name):
        super().__init__(None, name, [array.shape[:0:-1] for array in arrays], None)
        to_rgb(np.zeros((1, 1, arrays[0].shape[0]), arrays[0].dtype), f"image {name!r}")
        self._arrays = list(arrays)

    @functools.cached_property
    def fingerprint(self):
        pixels = self._read_level(len(self._arrays) - 1, 0, 0, *self.levels[-1])
        return hashlib.sha256(np.ascontiguousarray(pixels)).hexdigest()

    def _read_level(self, level, x0, y0, x1, y1):
        array = self._arrays[level]
        with reading(f"image {self.name!r}", _DAMAGED):
            if array.nbytes <= _KEPT_BYTES:
                array = self._arrays[level] = array.load()
            pixels = array[:, y0:y1, x0:x1].to_numpy()
            return to_rgb(np.moveaxis(pixels, 0, -1), self.name)

    def __reduce__(self):
        return type(self), (self._arrays, self.name)


def _read(spatialdata, path, image):
    """The SpatialData in a store, once what will be read of it is known to be bearable."""
    with reading(repr(str(path)), "cannot be read as SpatialData"):
        images = [f for f in path.glob("images/*") if f.is_dir() and image in (None, f.name)]
        there = [path / group for group in ("tables", "shapes", "labels")]
        there += images if len(images) == 1 else []  # of more, one has to be chosen
        parts = [str(part.relative_to(path)) for part in there if part.is_dir()]
        check_zarr(path, parts, lazy=("images", "labels"))
        for table in path.glob("shapes/*/*.parquet"):
            check_parquet(table)
        return spatialdata.read_zarr(path)


def _only(name, elements, what):
    """A name that is there; None is the only one."""
    if name is None and len(elements) == 1:
        return next(iter(elements))
    if name in elements:
        return name
    raise InputError(
        f"sdata has {len(elements)} {what}s, {name_some(elements) or 'none'}: "
        + (f"say with {what}= which." if name is None else f"there is no {name!r}.")
    )


def _rows_of_region(adata, region):
    """The spots of a region, its name, and the instance of each spot in it."""
    attrs = adata.uns.get("spatialdata_attrs")
    if attrs is None:
        return adata, None, None
    of_spot = adata.obs[attrs["region_key"]].astype(str)
    region = _only(region, dict.fromkeys(of_spot), "region")
    adata = adata[(of_spot == region).to_numpy()]
    return adata, region, adata.obs[attrs["instance_key"]]


def _shared_system(spatialdata, image, element, system):
    get = spatialdata.transformations.get_transformation
    shared = [name for name in get(image, get_all=True) if name in get(element, get_all=True)]
    system = system or ("global" if "global" in shared else None)
    if system is None and len(shared) == 1:
        return shared[0]
    if system not in shared:
        raise InputError(
            f"The image and the spots share the coordinate systems {name_some(shared) or 'none'}: "
            "say with coordinate_system= in which they are aligned."
        )
    return system


def _centres(spatialdata, element, instances, region, system):
    """(x, y) of the spots in the coordinate system, float64 (n_spots, 2)."""
    with warnings.catch_warnings():  # shapes in any order are fine: they are taken by name
        warnings.filterwarnings("ignore", message="The index of the dataframe is not monotonic")
        centres = spatialdata.get_centroids(element, coordinate_system=system).compute()
    missing = ~instances.isin(centres.index).to_numpy()
    if missing.any():
        raise InputError(
            f"{int(missing.sum())} of {len(missing)} spots of the table are not in the region "
            f"{region!r}, e.g. {name_some(instances[missing], 2)} (it has "
            f"{name_some(centres.index, 2)})."
        )
    return centres.loc[instances.to_numpy(), ["x", "y"]].to_numpy(np.float64)


def _to_pixels(spatialdata, image, spatial, system):
    transformation = spatialdata.transformations.get_transformation(image, system)
    axes = ("x", "y")
    from_pixels = transformation.to_affine_matrix(input_axes=axes, output_axes=axes)
    return (spatial - from_pixels[:2, 2]) @ np.linalg.inv(from_pixels[:2, :2]).T


def _levels(spatialdata, element):
    if hasattr(element, "dims") and "y" in element.dims:
        levels = [element]
    else:
        levels = spatialdata.get_pyramid_levels(element)
        levels = [next(iter(v.values())) if hasattr(v, "data_vars") else v for v in levels]
    return [level.transpose("c", "y", "x") for level in levels]
