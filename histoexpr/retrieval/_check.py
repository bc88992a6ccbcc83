"""What may be given as ``retriever=``."""

import numpy as np
from sklearn.base import clone

from ..exceptions import InputTypeError
from ..utils import fill_unset
from ._index import N_QUERIES, spread
from ._retriever import SpotRetriever


def check_retriever(retriever, default, n_spots):
    """A SpotRetriever of the estimator's own: a clone, its unset parameters the method's.

    Parameters
    ----------
    retriever : SpotRetriever or None
        What the user gave.
    default : SpotRetriever
        What the method's paper did; its `n_neighbors` is clipped to ``n_spots``.
    n_spots : int
        Training spots.

    Returns
    -------
    SpotRetriever

    Raises
    ------
    TypeError
        If ``retriever`` is something else.
    ValueError
        If ``n_spots`` are too few for the user's `n_neighbors` or `index`, or FAISS does not
        know the latter.
    """
    if retriever is not None and not isinstance(retriever, SpotRetriever):
        raise InputTypeError(
            "retriever must be a histoexpr.SpotRetriever or None; got "
            f"{type(retriever).__name__}."
        )
    default = clone(default).set_params(n_neighbors=min(default.n_neighbors, n_spots))
    retriever = default if retriever is None else fill_unset(clone(retriever), default)
    retriever._validate_params()
    retriever._check_size(n_spots)
    return retriever


def example_rows(retriever, n_spots):
    """Training images whose embeddings a retriever's fit is to be given as its ``queries``.

    Parameters
    ----------
    retriever : SpotRetriever
    n_spots : int
        Training images.

    Returns
    -------
    ndarray of shape (n_queries,), dtype int64, or None
        Rows; None for an exact index, which needs no queries.
    """
    if retriever.index in (None, "flat"):
        return None
    return spread(np.arange(n_spots), N_QUERIES)
