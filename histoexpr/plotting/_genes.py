"""Genes on the tissue."""

import numpy as np

from .. import _keys
from ..utils import import_optional, name_some


def plot_genes(adatas, genes, *, image=None, scale=1.0, size=None, axes=None):
    """Draw genes over the tissue, a row for each AnnData and a column for each gene.

    Parameters
    ----------
    adatas : dict of str to AnnData
        E.g. ``{"measured": ..., "predicted": ...}``: expression in one unit, the same spots of
        one section, with ``obsm["spatial"]`` (pixels at full resolution).
    genes : list of str
    image : ndarray of shape (height, width, 3), dtype uint8, or None, default=None
        Drawn under the spots.
    scale : float, default=1.0
        Pixels of ``image`` per pixel at full resolution.
    size : float or None, default=None
        Diameter of the dots, in pixels at full resolution; None is 0.9 of the distance between
        neighbouring spots.
    axes : ndarray of Axes of shape (n_adatas, n_genes) or None, default=None
        None makes a new figure, which pyplot does not know of.

    Returns
    -------
    ndarray of Axes of shape (n_adatas, n_genes)

    Raises
    ------
    ValueError
        If a gene is missing, an AnnData has no spatial coordinates, or ``axes`` has another
        shape.
    ImportError
        Without matplotlib.

    Notes
    -----
    Each panel has its own colour range, from the 2nd to the 98th percentile: a prediction is a
    mean and varies less than what is measured, so one range would hide its pattern. The bars
    tell the ranges.
    """
    for name, adata in adatas.items():
        missing = [gene for gene in genes if gene not in adata.var_names]
        if missing:
            raise ValueError(f"the adata {name!r} lacks the genes {name_some(missing)}.")
        if _keys.SPATIAL not in adata.obsm:
            raise ValueError(
                f"the adata {name!r} has no obsm[{_keys.SPATIAL!r}]: pixel coordinates of the "
                "spots at full resolution are needed to draw them."
            )
    if axes is None:
        figure_module = import_optional("matplotlib.figure", extra="plot", purpose="plot_genes")
        figure = figure_module.Figure(
            figsize=(3.2 * len(genes), 3.0 * len(adatas)), layout="constrained"
        )
        axes = figure.subplots(len(adatas), len(genes), squeeze=False)
    axes = np.asarray(axes, dtype=object)
    if axes.shape != (len(adatas), len(genes)):
        raise ValueError(
            f"axes must have shape {(len(adatas), len(genes))}, a row for each AnnData and a "
            f"column for each gene; got {axes.shape}."
        )
    for (name, adata), row in zip(adatas.items(), axes):
        for gene, ax in zip(genes, row):
            _draw_gene(ax, adata, gene, image, scale, size)
            ax.set_title(f"{gene}, {name}", fontsize=9)
    return axes


def _draw_gene(ax, adata, gene, image, scale, size):
    from matplotlib.collections import EllipseCollection

    spatial = np.asarray(adata.obsm[_keys.SPATIAL]) * scale
    diameter = 0.9 * _pitch(spatial) if size is None else size * scale
    values = np.asarray(adata[:, gene].to_df()).ravel()
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
        cmap="viridis",
        clim=np.percentile(values, [2, 98]),
        alpha=0.85 if image is not None else 1.0,
        linewidths=0,
    )
    ax.add_collection(dots)
    low, high = spatial.min(axis=0) - diameter, spatial.max(axis=0) + diameter
    ax.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal", xticks=[], yticks=[])
    ax.figure.colorbar(dots, ax=ax, shrink=0.8).ax.tick_params(labelsize=7)


def _pitch(spatial):
    """Median distance from a spot to the nearest other one."""
    from scipy.spatial import cKDTree

    if len(spatial) < 2:
        return 1.0
    distances, _ = cKDTree(spatial).query(spatial, k=2)
    return float(np.median(distances[:, 1]))
