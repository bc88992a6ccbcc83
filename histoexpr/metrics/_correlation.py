"""Pearson correlation of measured and predicted expression, gene by gene."""

import logging

import numpy as np

from ..exceptions import InputError
from ..utils._sklearn import check_array
from ._sections import by_section, check_section

logger = logging.getLogger(__name__)


def pearson_per_gene(y_true, y_pred):
    """Correlation over spots, for each gene.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_spots, n_genes) or (n_spots,)
        Measured and predicted expression, in any unit.

    Returns
    -------
    ndarray of shape (n_genes,), dtype float64
        In [-1, 1]. A gene that is constant in `y_true` (as any gene over a single spot) has no
        correlation: NaN, to be left out of means and counted. A constant prediction of a gene
        that varies scores 0: it explains nothing, and leaving it out would reward a predictor
        for giving up on the genes it finds hard. Constant is what varies by no more than 2e-6
        of its size, the rounding of float32.

    Raises
    ------
    ValueError
        If shapes differ, or a value is NaN or infinite.

    Examples
    --------
    >>> from histoexpr.metrics import pearson_per_gene
    >>> pearson_per_gene([[1, 5, 3], [2, 5, 4], [3, 5, 9]], [[2, 1, 7], [4, 2, 7], [6, 9, 7]])
    array([ 1., nan,  0.])
    """
    y_true, y_pred = _check_pair(y_true, y_pred)
    undefined, flat = _is_constant(y_true), _is_constant(y_pred)
    truth, predicted = _unit_columns(y_true), _unit_columns(y_pred)
    correlation = np.clip((truth * predicted).sum(axis=0), -1.0, 1.0)
    correlation[flat] = 0.0
    correlation[undefined] = np.nan
    return correlation


def pearson_per_section(y_true, y_pred, section, *, genes=None):
    """Correlation over the spots of each section, for each gene.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_spots, n_genes) or (n_spots,)
        Measured and predicted expression.
    section : array-like of shape (n_spots,)
        The section of each spot.
    genes : array-like of shape (n_genes,), default=None
        Names for the columns; None numbers them.

    Returns
    -------
    DataFrame of shape (n_sections, n_genes), dtype float64
        Sections in order of appearance; NaN and 0 as in :func:`pearson_per_gene`. A section
        with a single spot is NaN throughout.

    Raises
    ------
    ValueError
        If lengths differ, or a value is NaN or infinite.
    """
    y_true, y_pred = _check_pair(y_true, y_pred)
    return by_section(
        lambda rows: pearson_per_gene(y_true[rows], y_pred[rows]),
        check_section(section, len(y_true)),
        len(y_true),
        genes,
    )


def mean_pearson(y_true, y_pred, section=None):
    """Correlation per gene and section, averaged over genes, then over sections.

    Every section weighs the same, however many spots it has. (Pooling the spots of several
    sections instead also rewards telling the sections apart, and gives higher numbers.)

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_spots, n_genes) or (n_spots,)
        Measured and predicted expression.
    section : array-like of shape (n_spots,), default=None
        The section of each spot; None takes all spots as one section.

    Returns
    -------
    float
        Genes that are constant in a section's truth are left out of its mean. A section in
        which every gene is (one with a single spot, say) is left out with a warning in the
        log; NaN when no section remains.

    Raises
    ------
    ValueError
        If lengths differ, or a value is NaN or infinite.
    """
    y_true, y_pred = _check_pair(y_true, y_pred)
    if section is None:
        section = np.zeros(len(y_true), dtype=int)
    # DataFrame.mean leaves NaN out and gives NaN for a row that holds nothing else
    means = pearson_per_section(y_true, y_pred, section).mean(axis=1)
    undefined = means.index[means.isna()]
    if len(undefined):
        logger.warning(
            "no correlation in %d of %d sections (%s): no gene varies over their spots; they "
            "are left out of the mean",
            len(undefined),
            len(means),
            ", ".join(undefined),
        )
    return float(means.mean())


def _check_pair(y_true, y_pred):
    """Both as float64 of shape (n_spots, n_genes)."""
    checked = []
    for name, values in (("y_true", y_true), ("y_pred", y_pred)):
        values = check_array(values, dtype=np.float64, ensure_2d=False, input_name=name)
        checked.append(values[:, None] if values.ndim == 1 else values)
    if checked[0].shape != checked[1].shape:
        raise InputError(
            f"y_true has shape {checked[0].shape} and y_pred {checked[1].shape}: both must hold "
            "the same spots and genes, in the same order."
        )
    return checked


def _is_constant(values):
    """Whether a column varies by no more than float32 rounds, as sums of the same numbers do."""
    rounding = 16 * np.finfo(np.float32).eps * np.abs(values).max(axis=0)
    return np.ptp(values, axis=0) <= rounding


def _unit_columns(values):
    """Columns centred and of length 1; what a constant column becomes has no meaning."""
    centred = values - values.mean(axis=0)
    # scaled first, so that the squares of very small or large values stay in range
    largest = np.abs(centred).max(axis=0)
    centred /= np.where(largest > 0, largest, 1.0)
    length = np.sqrt((centred**2).sum(axis=0))
    return centred / np.where(length > 0, length, 1.0)
