"""Scores of the spots of each section on their own."""

import numpy as np
import pandas as pd

from .. import _keys
from ..data._patch_checks import check_names
from ..exceptions import InputError
from ..utils._validation import as_array


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
    if genes is not None:
        genes = as_array(genes, "genes", dtype=object)
        if genes.shape != (scores.shape[1],):
            raise InputError(f"{genes.size} genes are named, but y has {scores.shape[1]} columns.")
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
    names = check_names(section, n_spots, _keys.SECTION)
    if names is None:
        raise InputError("section is None: name the section of each spot.")
    return names
