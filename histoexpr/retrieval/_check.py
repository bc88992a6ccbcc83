"""What may be given as ``retriever=``."""

from sklearn.base import clone

from ..exceptions import InputTypeError
from ..utils import fill_unset
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
