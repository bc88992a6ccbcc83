"""Structural similarity of gene maps, on whatever grid the spots form."""

import numpy as np
import scipy.sparse
from scipy.spatial import cKDTree

from .. import _keys
from ..data._patch_checks import check_reach
from ..exceptions import InputError
from ..utils._sklearn import check_array
from ._correlation import _check_pair, _is_constant
from ._sections import by_section

# Those of Wang et al.; distances are in pitches, as theirs are in pixels.
SIGMA, TRUNCATE = 1.5, 3.5
K1, K2 = 0.01, 0.03


def ssim_per_gene(y_true, y_pred, spatial):
    """Structural similarity (SSIM) of measured and predicted map, for each gene of a section.

    **Never lead with it.** Maps of a sparse gene are empty nearly everywhere, and alike there
    whatever was predicted, so the score survives shuffling the spots: of a gene that 3 of 900
    spots have, about 0.7 is left.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_spots, n_genes) or (n_spots,)
        Measured and predicted expression of one section, in one unit.
    spatial : array-like of shape (n_spots, 2)
        Where the spots lie, in any unit that is the same along both axes, such as
        ``adata.obsm["spatial"]``. (Array columns and rows serve on a square grid; on Visium's
        hexagonal one they are stretched.)

    Returns
    -------
    ndarray of shape (n_genes,), dtype float64
        In [-1, 1]; NaN for a gene that is constant in `y_true`.

    Raises
    ------
    ValueError
        If shapes differ, a value is NaN or infinite, or spots lie on each other.

    Notes
    -----
    The formula is that of Wang et al. [1]_: local means, variances and covariance under a
    Gaussian window of 1.5 pixels, cut off at 3.5 deviations, K1 = 0.01, K2 = 0.03, the range of
    values being that of the measured map. A pixel is a spot, and a pixel's width the pitch, the
    median distance to the nearest spot. Windows weigh the spots that are there by their real
    distance: a hexagonal grid needs no resampling, holes and borders no filling. Inside a full
    square grid this is :func:`skimage.metrics.structural_similarity` with
    ``gaussian_weights=True, use_sample_covariance=False``.

    References
    ----------
    .. [1] Z. Wang et al., "Image quality assessment: from error visibility to structural
       similarity", IEEE Transactions on Image Processing 13, 600-612 (2004).
    """
    y_true, y_pred = _check_pair(y_true, y_pred)
    spatial = _check_spatial(spatial, len(y_true))
    similarity = _local_similarity(y_true, y_pred, spatial).mean(axis=0)
    similarity[_is_constant(y_true)] = np.nan
    return similarity


def ssim_per_section(y_true, y_pred, spatial, section, *, genes=None):
    """Structural similarity in each section, for each gene: see :func:`ssim_per_gene`.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_spots, n_genes) or (n_spots,)
        Measured and predicted expression, in one unit.
    spatial : array-like of shape (n_spots, 2)
        Where the spots lie in their section; the unit may differ between sections.
    section : array-like of shape (n_spots,)
        The section of each spot.
    genes : array-like of shape (n_genes,), default=None
        Names for the columns; None numbers them.

    Returns
    -------
    DataFrame of shape (n_sections, n_genes), dtype float64
        Sections in order of appearance; a section with a single spot is NaN throughout.

    Raises
    ------
    ValueError
        If lengths differ, a value is NaN or infinite, or spots of a section lie on each other.
    """
    y_true, y_pred = _check_pair(y_true, y_pred)
    spatial = _check_spatial(spatial, len(y_true))
    return by_section(
        lambda rows: ssim_per_gene(y_true[rows], y_pred[rows], spatial[rows]),
        section,
        len(y_true),
        genes,
    )


def _check_spatial(spatial, n_spots):
    spatial = check_array(spatial, dtype=np.float64, input_name=_keys.SPATIAL)
    if spatial.shape != (n_spots, 2):
        raise InputError(
            f"spatial must have shape ({n_spots}, 2), (x, y) of each spot; got {spatial.shape}."
        )
    check_reach(spatial)
    return spatial


def _local_similarity(y_true, y_pred, spatial):
    """SSIM around each spot, an array of shape (n_spots, n_genes)."""
    window = _windows(spatial)
    scale = np.ptp(y_true, axis=0)
    # moments about the mean of the section: smaller numbers cancel less
    centre = y_true.mean(axis=0)
    a, b = y_true - centre, y_pred - centre
    mean_a, mean_b = window @ a, window @ b
    var_a = window @ a**2 - mean_a**2
    var_b = window @ b**2 - mean_b**2
    covariance = window @ (a * b) - mean_a * mean_b
    mean_a, mean_b = mean_a + centre, mean_b + centre
    c1, c2 = (K1 * scale) ** 2, (K2 * scale) ** 2
    with np.errstate(invalid="ignore"):  # 0 / 0 where a gene is 0 throughout: NaN by the caller
        luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        return luminance * (2 * covariance + c2) / (var_a + var_b + c2)


def _windows(spatial):
    """CSR matrix (n_spots, n_spots): the Gaussian weights around each spot, of sum 1."""
    if len(spatial) == 1:
        return scipy.sparse.eye_array(1, format="csr")
    tree = cKDTree(spatial)
    nearest = tree.query(spatial, k=2)[0][:, 1]
    if nearest.min() == 0:
        raise InputError(
            f"{int((nearest == 0).sum())} spots lie where another one does: spatial must hold the "
            "spots of one section, each at its own place. (For several use ssim_per_section.)"
        )
    sigma = SIGMA * np.median(nearest)
    distances = tree.sparse_distance_matrix(tree, TRUNCATE * sigma, output_type="coo_matrix")
    weights = scipy.sparse.csr_array(
        (np.exp(-0.5 * (distances.data / sigma) ** 2), (distances.row, distances.col)),
        shape=distances.shape,
    )
    total = weights.sum(axis=1)
    return scipy.sparse.diags_array(1 / total) @ weights
