"""Genes on the tissue."""

import numpy as np

from .. import _keys
from ..data._decode import to_rgb
from ..data._patch_checks import check_spatial
from ..exceptions import InputError, InputTypeError
from ..utils import name_some
from ..utils._validation import as_array, check_number
from ._axes import check_collection, take_axes


def plot_genes(
    adatas, genes, *, difference=False, units=None, image=None, scale=1.0, size=None, axes=None
):
    """Draw genes over the tissue, a row for each AnnData and a column for each gene.

    Parameters
    ----------
    adatas : dict of str to AnnData
        E.g. ``{"measured": ..., "predicted": ...}``: expression in one unit, the same spots of
        one section, with ``obsm["spatial"]`` (pixels at full resolution).
    genes : list of str
    difference : bool, default=False
        Add a row: the second AnnData minus the first, spot by spot.
    units : str or None, default=None
        Of the expression, written beside the bars.
    image : ndarray of shape (height, width, 3), dtype uint8, or None, default=None
        Drawn under the spots.
    scale : float, default=1.0
        Pixels of ``image`` per pixel at full resolution.
    size : float or None, default=None
        Diameter of the dots, in pixels at full resolution; None is 0.9 of the distance between
        neighbouring spots.
    axes : ndarray of Axes of shape (n_rows, n_genes) or None, default=None
        None makes a new figure, which pyplot does not know of.

    Returns
    -------
    ndarray of Axes of shape (n_rows, n_genes)

    Raises
    ------
    ValueError
        If a gene is missing or named twice, an AnnData has no spatial coordinates, ``axes`` has
        another shape, or a difference is asked of other than two AnnData of the same spots.
    ImportError
        Without matplotlib.

    Notes
    -----
    Each panel has its own colour range, from the 2nd to the 98th percentile: a prediction is a
    mean and varies less than what is measured, so one range would hide its pattern. The bars
    tell the ranges. The colours of a difference are centred on 0.
    """
    genes = check_collection(genes, "genes")
    if not genes or not isinstance(adatas, dict) or not adatas:
        raise InputError(
            f"there is nothing to draw: {len(genes)} genes of {type(adatas).__name__}; a dict of "
            "str to AnnData and a list of genes are needed."
        )
    scale = check_number(scale, "scale")
    size = None if size is None else check_number(size, "size", unit=", in pixels")
    image = None if image is None else to_rgb(as_array(image, "image"), "image")
    for name, adata in adatas.items():
        if not hasattr(adata, "var_names"):
            raise InputTypeError(f"{name!r} must be an AnnData; got {type(adata).__name__}.")
        missing = [gene for gene in genes if gene not in adata.var_names]
        if missing:
            raise InputError(f"the adata {name!r} lacks the genes {name_some(missing)}.")
        several = [gene for gene in genes if (adata.var_names == gene).sum() > 1]
        if several:
            raise InputError(
                f"the adata {name!r} names the genes {name_some(several)} more than once: a gene "
                "must have one column. Call adata.var_names_make_unique()."
            )
        if _keys.SPATIAL not in adata.obsm:
            raise InputError(
                f"the adata {name!r} has no obsm[{_keys.SPATIAL!r}]: pixel coordinates of the "
                "spots at full resolution are needed to draw them."
            )
        if adata.X is None:
            raise InputError(f"the adata {name!r} has no expression: its X is None.")
    rows = [(name, _spatial(adata), _values(adata, genes)) for name, adata in adatas.items()]
    if difference:
        rows.append(_difference(rows))
    shape = (len(rows), len(genes))
    height = 0.5 + 2.5 * _tallness(rows[0][1])
    axes = take_axes(axes, shape, (3.2 * len(genes), height * len(rows)), "plot_genes")
    for i, (name, spatial, values) in enumerate(rows):
        for gene, column, ax in zip(genes, values.T, axes[i]):
            dots = _draw_gene(ax, spatial, column, image, scale, size, i == len(adatas))
            ax.set_title(f"{gene}, {name}", fontsize=9, parse_math=False)
            bar = ax.figure.colorbar(dots, ax=ax, shrink=0.8)
            bar.ax.tick_params(labelsize=7)
            if units is not None and ax is axes[i, -1]:
                bar.set_label(units, fontsize=7)
    return axes


def _spatial(adata):
    return check_spatial(adata.obsm[_keys.SPATIAL], adata.n_obs)


def _values(adata, genes):
    if adata.isbacked and adata.is_view:  # anndata makes no view of such a view
        adata = adata.to_memory()
    columns = [adata.var_names.get_loc(gene) for gene in genes]  # others may have one name
    return adata[:, columns].to_df().to_numpy(np.float64)


def _difference(rows):
    if len(rows) != 2:
        raise InputError(f"difference=True compares two AnnData; got {len(rows)}.")
    (first, spatial, subtracted), (second, other, values) = rows
    if not np.array_equal(spatial, other):
        raise InputError(
            f"difference=True needs the same spots in both: {first!r} ({len(spatial)} spots) and "
            f"{second!r} ({len(other)}) lie at different places. Put their rows in one order."
        )
    return f"{second} − {first}", spatial, values - subtracted


def _draw_gene(ax, spatial, values, image, scale, size, centred):
    from matplotlib.collections import EllipseCollection

    spatial = spatial * scale
    diameter = 0.9 * _pitch(spatial) if size is None else size * scale
    limits = np.percentile(values, [2, 98])
    if centred:
        limits = np.array([-1.0, 1.0]) * np.abs(limits).max()
    if image is not None:
        ax.imshow(image)
    dots = EllipseCollection(
        diameter,
        diameter,
        0,
        units="xy",
        offsets=spatial,
        offset_transform=ax.transData,
        array=values,
        cmap="PuOr_r" if centred else "viridis",
        clim=limits,
        alpha=1.0 if image is None or centred else 0.85,  # zero is pale: it needs a ground
        linewidths=0,
    )
    ax.add_collection(dots)
    low, high = spatial.min(axis=0) - diameter, spatial.max(axis=0) + diameter
    ax.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal", xticks=[], yticks=[])
    return dots


def _tallness(spatial):
    """Height over width of what is drawn."""
    width, height = np.ptp(spatial, axis=0) + 2 * _pitch(spatial)
    return float(np.clip(height / width, 0.3, 3.0))


def _pitch(spatial):
    """Median distance from a spot to the nearest other one."""
    from scipy.spatial import cKDTree

    if len(spatial) < 2:
        return 1.0
    distances, _ = cKDTree(spatial).query(spatial, k=2)
    return float(np.median(distances[:, 1])) or 1.0  # spots on top of each other
