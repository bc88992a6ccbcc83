"""A whole slide in, gene maps out."""

import logging
import os
import shutil
from numbers import Integral, Real
from pathlib import Path

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from .. import _keys
from ..data import SpotPatches, open_slide
from ..data._slides import unknown_mpp
from ..exceptions import FileError, InputError
from ..utils import name_some
from ..utils._sklearn import validate_params
from ..utils._validation import as_array
from ._ahead import ReadAhead
from ._blocks import Blocks, key_of
from ._grid import GRIDS, choose_grid, on_tissue, parse_um, spot_grid
from ._model import SlideModel
from ._smooth import Smoothed
from ._tissue import find_tissue
from ._two_passes import predict_blocks
from ._write import check_out, stored_key, write_adata

logger = logging.getLogger(__name__)

_THUMBNAIL_PX = 2048
_DOT = 0.9  # diameter of a spot in pictures, in pitches
_USUAL_PX = 224
_SAMPLED = 64  # spots that colours are measured on


@validate_params(
    {
        "model": "no_validation",
        "slide": "no_validation",
        "out": [str, os.PathLike, None],
        "mpp": [Interval(Real, 0, None, closed="neither"), None],
        "grid": [StrOptions(set(GRIDS))],
        "pitch": [str, None],
        "patch_size": [str, None],
        "out_px": [Interval(Integral, 1, None, closed="left"), None],
        "tissue": [callable, None],
        "min_tissue": [Interval(Real, 0, 1, closed="both")],
        "genes": ["array-like", None],
        "smooth": [str, None],
        _keys.SECTION: [str, None],
        "block_size": [Interval(Integral, 1, None, closed="left")],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "resume": ["boolean"],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
def predict_slide(
    model,
    slide,
    out=None,
    *,
    mpp=None,
    grid="spots",
    pitch=None,
    patch_size=None,
    out_px=None,
    tissue=find_tissue,
    min_tissue=0.25,
    genes=None,
    smooth=None,
    section=None,
    block_size=1024,
    n_threads=None,
    resume=True,
    verbose=0,
):
    """Predict expression over a whole slide that has none.

    The tissue is found, covered with spots, and their patches are cut as those of the training
    were, in micrometres, from the pyramid level nearest to their scale. Neither the slide nor the
    predictions are ever in memory as a whole when `out` is given.

    Parameters
    ----------
    model : estimator
        Fitted on images: a method, or a Pipeline that ends in one.
    slide : str, os.PathLike, Slide, ndarray or PIL.Image.Image
        See `open_slide`.
    out : str, os.PathLike or None, default=None
        An ``.h5ad`` file or a ``.zarr`` folder to write to. None returns the predictions.
    mpp : float or None, default=None
        Micrometres per pixel of the slide. None: what the slide says.
    grid : {"spots", "hexagonal", "square", "dense"}, default="spots"
        "spots" are as far apart as those of the training, in the same order (hexagonal, 100 µm,
        where that is not known); "dense" is square, 25 µm.
    pitch : str or None, default=None
        Another distance from spot to spot, such as ``"50um"``.
    patch_size : str or None, default=None
        Width of tissue on a patch, such as ``"112um"``. None is that of the training; needed for
        a model that did not know its own scale.
    out_px : int or None, default=None
        Side of a patch in pixels. None is that of the training, 224 where it is not known.
    tissue : callable or None, default=find_tissue
        ``tissue(thumbnail)``, with (height, width, 3) uint8 of at most 2,048 px, gives a mask
        (height, width), bool. None: everything is tissue.
    min_tissue : float, default=0.25
        Share of a patch that must be tissue for the spot to be predicted.
    genes : array-like of str or None, default=None
        What to keep of the model's genes, in this order. None: all.
    smooth : str or None, default=None
        Standard deviation, such as ``"100um"``, of a Gaussian over neighbouring spots. None
        changes nothing.
    section : str or None, default=None
        What ``obs["section"]`` and ``uns["spatial"]`` call the slide. None: its file's name.
    block_size : int, default=1024
        Spots predicted, and written, at a time. It changes the result by rounding only.
    n_threads : int or None, default=None
        That read patches ahead of the model. None: one a processor, from 2 to 8.
    resume : bool, default=True
        Whether to go on from the blocks that an earlier run, killed or failed, left beside
        `out`, and to leave a finished `out` of the same model, slide and parameters as it is.
    verbose : int, default=0
        From 1 on, a progress bar over spots.

    Returns
    -------
    AnnData of shape (n_spots, n_genes), or Path where `out` was given
        ``X``: predicted expression, float32, in ``uns["histoexpr"]["units"]``. ``obs``: section,
        array_row, array_col. ``obsm["spatial"]``: (x, y) of the spots in pixels of the slide at
        full resolution. ``uns["spatial"]``: the thumbnail and scale factors as scanpy and squidpy
        read them. ``uns["histoexpr"]``: model, units, versions, scales in micrometres, and the
        distance of the slide's colours from those of the training.

    Raises
    ------
    FileNotFoundError
        If there is no slide at the path.
    ValueError
        If the scale of the slide or of the model is not known and not given, the patches would
        have a far other scale than in the training, the slide cannot be read, shows no tissue,
        or a gene is not predicted.
    OSError
        If `out` cannot be written, e.g. on a full disk. Nothing is left under that name; the
        blocks that were predicted are found by the next run.

    Warns
    -----
    UserWarning
        If the colours of the slide lie far from those of the training
        (`TrainingPatches.colour_distance` above 2), or the scale differs by more than a quarter.

    Notes
    -----
    Reg2ST, which decodes a section as a whole from images and positions, sees the slide in
    windows as large as its training array, each from position 0 on, and cut further at
    ``max_section_spots``: predictions may change at the borders of windows. Models that compare a
    spot with its neighbours or with the mean of its section (ContrastiveEnsemble, NeighborFeatures,
    SectionCenterer) compare it with those of the whole slide: the features of all spots are
    computed first, and kept on disk, too. All others predict each spot by itself.

    Blocks lie in the folder ``.{name of out}.blocks`` beside `out` until it is written. The
    featurizer computes while threads read what comes next.

    Examples
    --------
    >>> import histoexpr
    >>> from histoexpr.slides import predict_slide
    >>> model = histoexpr.load("stco.histoexpr")  # doctest: +SKIP
    >>> predict_slide(model, "tumour.svs", "tumour.h5ad")  # doctest: +SKIP
    """
    out = None if out is None else check_out(out)
    model = SlideModel(model)
    columns = _columns(model.genes, genes)
    sigma = None if smooth is None else parse_um(smooth, "smooth")
    side_um, out_px = _patch_scale(model.trained, patch_size, out_px)
    slide = open_slide(slide, mpp=mpp)
    if slide.mpp is None:
        raise InputError(unknown_mpp(slide.name))
    name = section or (Path(slide.path).stem if slide.path else "slide")
    thumbnail = slide.thumbnail(_THUMBNAIL_PX)
    spots = _spots(slide, thumbnail, model, grid, pitch, side_um, tissue, min_tissue)
    blocks, positions = model.blocks(spots, block_size)
    made_of = model.estimator, columns, sigma, side_um, out_px, slide.fingerprint, slide.mpp, name
    key = key_of(*made_of, spots.spatial, positions, blocks)
    folder = None if out is None else out.with_name(f".{out.name}.blocks")
    if out is not None and resume and stored_key(out) == key:
        logger.info("%s is there already", out)
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed while it removed it
        return out

    ahead = ReadAhead(slide, n_threads)
    patches = SpotPatches.from_images(
        {name: ahead},
        spots.spatial,
        section=name,
        positions=positions,
        patch_size=f"{side_um}um",
        out_px=out_px,
    )
    sample = np.unique(np.linspace(0, len(spots) - 1, _SAMPLED).round().astype(int))
    distance = model.colour_distance(patches[sample])
    store = Blocks(blocks, folder, key if resume else f"{key} {os.urandom(8).hex()}")
    predict_blocks(model, ahead, patches, spots, store, columns, verbose)

    adata = _describe(slide, name, spots, model.genes[columns], thumbnail)
    adata.uns[_keys.UNS] = {
        **model.provenance,
        "slide": slide.name,
        "mpp": slide.mpp,
        "pitch_um": spots.pitch,
        "patch_um": side_um,
        "smooth_um": sigma or 0.0,
        "colour_distance": distance,
        "key": key,
    }
    source = store if sigma is None else Smoothed(store, spots.spatial * slide.mpp, sigma)
    if out is None:
        adata.X = source.read(0, len(spots))
        return adata
    try:
        write_adata(adata, source.read, out, folder)
    except OSError as error:
        raise FileError(f"{error} {store.hint}") from error
    store.remove()
    return out


def _spots(slide, thumbnail, model, grid, pitch, side_um, tissue, min_tissue):
    """The spots of a slide that show tissue."""
    pitch, hexagonal = choose_grid(grid, pitch, model.trained)
    spots = spot_grid(slide.size, slide.mpp, pitch, hexagonal)
    if tissue is None:
        return spots
    mask = np.asarray(tissue(thumbnail))
    if mask.shape != thumbnail.shape[:2] or mask.dtype != bool:
        raise InputError(
            f"tissue={tissue!r} must give a mask of shape {thumbnail.shape[:2]} and dtype bool; "
            f"it gave {mask.shape} {mask.dtype}."
        )
    found = on_tissue(spots, mask, slide.size, side_um / slide.mpp, min_tissue)
    if not found.any():
        raise InputError(
            f"no tissue was found on {slide.name!r}: {mask.mean():.1%} of it are tissue by "
            f"{getattr(tissue, '__name__', tissue)!r}, and no patch holds {min_tissue:.0%}. Pass "
            "tissue=None to predict everywhere, or a function of your own."
        )
    return spots[found]


def _patch_scale(trained, patch_size, out_px):
    """Width of a patch in micrometres, and in pixels."""
    if patch_size is not None:
        side_um = parse_um(patch_size, "patch_size")
    elif trained is not None and trained.width_um is not None:
        side_um = trained.width_um
    else:
        raise InputError(
            "the model does not know how much tissue its training patches showed: they had no "
            "mpp, or it was fitted on features. Pass patch_size=, such as '112um', or fit it on "
            "SpotPatches with mpp."
        )
    if trained is not None and trained.shape[0] != trained.shape[1]:
        raise InputError(f"the model was trained on patches that are not square: {trained.shape}.")
    return side_um, out_px or (_USUAL_PX if trained is None else trained.shape[1])


def _columns(known, genes):
    """Columns of the model's genes to keep."""
    if genes is None:
        return np.arange(len(known))
    genes = as_array(genes, "genes").astype(str)
    if genes.ndim != 1:
        raise InputError(f"genes must be a list of names; got an array of shape {genes.shape}.")
    place = {gene: column for column, gene in enumerate(known)}
    wrong = [gene for gene in genes if gene not in place] or len(genes) - len(set(genes))
    if wrong or len(genes) == 0:
        raise InputError(
            f"genes must be some of the {len(known)} that the model predicts (model.genes_), each "
            f"once; got {name_some(wrong if isinstance(wrong, list) else genes)}."
        )
    return np.array([place[gene] for gene in genes])


def _describe(slide, name, spots, genes, thumbnail):
    """An AnnData without X: the spots, the genes, and the picture under them."""
    import pandas as pd
    from anndata import AnnData

    col, row = spots.positions.T
    obs = pd.DataFrame(
        {
            _keys.SECTION: pd.Categorical(np.full(len(spots), name)),
            _keys.ARRAY_ROW: row,
            _keys.ARRAY_COL: col,
        },
        index=[f"{name}_{x}x{y}" for x, y in spots.positions.tolist()],
    )
    adata = AnnData(obs=obs, var=pd.DataFrame(index=pd.Index(genes)))
    adata.obsm[_keys.SPATIAL] = spots.spatial
    adata.uns[_keys.SPATIAL] = {
        name: {
            "images": {"hires": thumbnail},
            "scalefactors": {
                "tissue_hires_scalef": thumbnail.shape[1] / slide.size[0],
                "spot_diameter_fullres": _DOT * spots.pitch / slide.mpp,
            },
            "metadata": {"source_image_path": slide.path or ""},
        }
    }
    return adata
