"""Gene maps as pictures."""

import os
import re
from pathlib import Path

import numpy as np
from sklearn.utils._param_validation import StrOptions

from .. import _keys
from ..exceptions import InputError, InputTypeError, MissingFileError
from ..plotting import plot_genes
from ..utils import name_some, written_aside
from ..utils._hdf5 import opened_h5
from ..utils._reading import check_decoded, check_sparse, reading
from ..utils._sklearn import validate_params
from ..utils._validation import as_array
from ..utils._zarr import check_zarr

_PIXEL = 0.5  # of an OME-TIFF, in pitches
_REACH = 0.75  # from a spot, in pitches: neighbours on a square grid meet at 0.71
_DPI = 200
_NOT_OURS = "must be what predict_slide gave; is it cut short?"


@validate_params(
    {
        "predicted": "no_validation",
        "folder": [str, os.PathLike],
        "genes": ["array-like", None],
        "kind": [StrOptions({"png", "ome.tiff"})],
    },
    prefer_skip_nested_validation=True,
)
def write_gene_maps(predicted, folder, genes=None, *, kind="png"):
    """Draw predicted genes over the slide.

    Parameters
    ----------
    predicted : AnnData, str or os.PathLike
        What `predict_slide` gave.
    folder : str or os.PathLike
        Made where it does not exist.
    genes : array-like of str or None, default=None
        None: all that were predicted.
    kind : {"png", "ome.tiff"}, default="png"
        "png": a picture for each gene, over the thumbnail, with its range. "ome.tiff": one file
        of float32 planes, a channel for each gene, NaN where there is no spot; a pixel is half a
        pitch, and its size in micrometres is in the metadata, so that viewers (napari, QuPath)
        lay it over the slide from its upper left corner.

    Returns
    -------
    list of Path
        ``{section}_{gene}.png`` for each gene, or ``{section}.ome.tiff``.

    Raises
    ------
    ValueError
        If a gene was not predicted, or `predicted` has not what `predict_slide` writes.
    ImportError
        Without matplotlib, for "png".
    """
    import anndata  # which takes long, and is needed here only

    if isinstance(predicted, (str, os.PathLike)):
        adata = _read(predicted)
        try:
            return write_gene_maps(adata, folder, genes, kind=kind)
        finally:
            adata.file.close()
    adata = predicted
    if not isinstance(adata, anndata.AnnData):
        raise InputTypeError(
            "predicted must be what predict_slide gave, or its file; got "
            f"{type(adata).__name__}."
        )
    if _keys.SPATIAL not in adata.uns or _keys.UNS not in adata.uns:
        raise InputError("predicted must be what predict_slide gave: it lacks the thumbnail.")
    genes = list(adata.var_names if genes is None else as_array(genes, "genes").astype(str).flat)
    missing = [gene for gene in genes if gene not in adata.var_names]
    if missing or not genes:
        raise InputError(f"genes must be some of those predicted; {name_some(missing)} are not.")
    draw = _write_png if kind == "png" else _write_ome
    with reading("predicted", _NOT_OURS):
        return draw(adata, Path(folder), genes)


def _read(predicted):
    import anndata

    if not Path(predicted).exists():
        raise MissingFileError(f"There are no predictions at {str(predicted)!r}.")
    with reading(repr(str(predicted)), _NOT_OURS):
        if Path(predicted).suffix == ".zarr":
            check_zarr(Path(predicted))
            return check_sparse(anndata.read_zarr(predicted))
        with opened_h5(predicted):
            adata = anndata.read_h5ad(predicted, backed="r")  # genes are read one by one
        if not hasattr(adata.X, "id"):
            raise TypeError("its numbers are not a matrix as they are written")
        return check_sparse(adata)


def _write_png(adata, folder, genes):
    ((section, picture),) = adata.uns[_keys.SPATIAL].items()
    scale = picture["scalefactors"]["tissue_hires_scalef"]
    paths = []
    for gene in genes:
        path = folder / f"{section}_{_file_name(gene)}.png"
        axes = plot_genes(
            {section: adata[:, [gene]].to_memory()},
            [gene],
            units=adata.uns[_keys.UNS]["units"],
            image=picture["images"]["hires"],
            scale=scale,
            size=picture["scalefactors"]["spot_diameter_fullres"],
        )
        with written_aside(path) as aside:
            axes[0, 0].figure.savefig(aside, dpi=_DPI)
        paths.append(path)
    return paths


def _write_ome(adata, folder, genes):
    import tifffile
    from scipy.spatial import cKDTree

    ((section, picture),) = adata.uns[_keys.SPATIAL].items()
    made = adata.uns[_keys.UNS]
    pixel_um = _PIXEL * made["pitch_um"]
    scale = picture["scalefactors"]["tissue_hires_scalef"]
    height_width = np.array(picture["images"]["hires"].shape[:2]) / scale * made["mpp"]
    height, width = (max(1, int(np.ceil(side / pixel_um))) for side in height_width)
    check_decoded(8 * 8 * height * width, f"a map of {width} x {height} px")
    y, x = (np.mgrid[:height, :width].reshape(2, -1) + 0.5) * pixel_um
    spots = cKDTree(np.asarray(adata.obsm[_keys.SPATIAL]) * made["mpp"])
    reach = _REACH * made["pitch_um"]
    _, nearest = spots.query(np.column_stack([x, y]), distance_upper_bound=reach)

    def planes():
        for gene in genes:
            values = adata[:, [gene]].to_memory().to_df().to_numpy(np.float32).ravel()
            # What is within reach of no spot is numbered one beyond the last.
            yield np.append(values, np.float32(np.nan))[nearest].reshape(height, width)

    path = folder / f"{section}.ome.tiff"
    metadata = {"axes": "CYX", "Channel": {"Name": genes}}
    for axis in "XY":
        metadata |= {f"PhysicalSize{axis}": pixel_um, f"PhysicalSize{axis}Unit": "µm"}
    with written_aside(path) as aside:
        tifffile.imwrite(
            aside,
            planes(),
            shape=(len(genes), height, width),
            dtype=np.float32,
            photometric="minisblack",
            ome=True,
            metadata=metadata,
        )
    return [path]


def _file_name(gene):
    return re.sub(r"[^\w.-]", "_", gene)
