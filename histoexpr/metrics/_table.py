"""Scores as a table, sections by genes."""

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import StrOptions, validate_params

from .. import _keys
from ..exceptions import InputError
from ._correlation import _check_pair, pearson_per_gene
from ._errors import mae_per_gene, rmse_per_gene

SCORES = {"pearson": pearson_per_gene, "rmse": rmse_per_gene, "mae": mae_per_gene}
POOLED = "pooled"


@validate_params(
    {
        "score": [StrOptions(set(SCORES)), callable],
        "pooling": [StrOptions({_keys.SECTION, POOLED})],
    },
    prefer_skip_nested_validation=True,
)
def score_table(
    y_true, y_pred, section=None, *, score="pearson", genes=None, pooling=_keys.SECTION
):
    """Score each gene, in each section or over all spots together.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_spots, n_genes) or (n_spots,)
        Measured and predicted expression, in one unit.
    section : array-like of shape (n_spots,), default=None
        The section of each spot; None takes all spots as one section.
    score : {"pearson", "rmse", "mae"} or callable, default="pearson"
        A callable takes `y_true` and `y_pred` and returns an ndarray of shape (n_genes,).
    genes : array-like of shape (n_genes,), default=None
        Names for the columns; None numbers them.
    pooling : {"section", "pooled"}, default="section"
        "section" scores every section on its own. "pooled" scores all spots at once: a
        correlation then also rewards telling sections apart, and cannot be compared with one
        within sections (the same predictions gave 0.38 and 0.12 in one report).

    Returns
    -------
    DataFrame of shape (n_sections, n_genes), dtype float64
        Sections in order of appearance; under ``pooling="pooled"`` one row, named so.

    Raises
    ------
    ValueError
        If lengths differ, or a value is NaN or infinite.
    """
    y_true, y_pred = _check_pair(y_true, y_pred)
    score = SCORES.get(score, score)
    table = by_section(
        lambda rows: score(y_true[rows], y_pred[rows]),
        None if pooling == POOLED else section,
        len(y_true),
        genes,
    )
    return table.set_axis([POOLED]) if pooling == POOLED else table


def by_section(score, section, n_spots, genes=None):
    """Score the spots of each section on their own.

    Parameters
    ----------
    score : callable
        Takes the rows of one section, an ndarray of int, and returns an ndarray of shape
        (n_genes,).
    section : array-like of shape (n_spots,) or None
        None takes all spots as one section.
    n_spots : int
    genes : array-like of shape (n_genes,), default=None
        Names for the columns; None numbers them.

    Returns
    -------
    DataFrame of shape (n_sections, n_genes)
        Sections in order of appearance.

    Raises
    ------
    ValueError
        If `section` has another length, or `genes` names another number of genes.
    """
    names, parts = split_rows(section, n_spots)
    scores = np.vstack([score(rows) for rows in parts])
    if genes is not None and len(genes) != scores.shape[1]:
        raise InputError(f"{len(genes)} genes are named, but y has {scores.shape[1]} columns.")
    return pd.DataFrame(scores, index=names, columns=genes)


def split_rows(section, n_spots):
    """Names of the sections in order of appearance, and the rows of each.

    Parameters
    ----------
    section : array-like of shape (n_spots,) or None
        None takes all spots as one section.
    n_spots : int

    Returns
    -------
    names : Index of shape (n_sections,), dtype object
    rows : list of ndarray of int

    Raises
    ------
    ValueError
        If `section` has another length.
    """
    section = np.zeros(n_spots, dtype=int) if section is None else section
    codes, names = pd.factorize(check_section(section, n_spots))
    names = pd.Index(names, name=_keys.SECTION, dtype=object)
    return names, [np.flatnonzero(codes == code) for code in range(len(names))]


def check_section(section, n_spots):
    """The section of each spot, an ndarray of str; ValueError if there are not `n_spots`."""
    section = np.asarray(section).astype(str)
    if section.shape != (n_spots,):
        raise InputError(
            f"section must name one section for each of the {n_spots} spots; got shape "
            f"{section.shape}."
        )
    return section
