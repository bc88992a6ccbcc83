"""Fitted models on disk."""

from pathlib import Path

import joblib
from sklearn.base import BaseEstimator

from .exceptions import InputError, InputTypeError, MissingFileError
from .utils import written_aside


def save(model, path):
    """Write a fitted model to a file, whole or not at all.

    Parameters
    ----------
    model : estimator
        An estimator of this library, or a Pipeline that holds one.
    path : str or Path
        Conventionally ``*.joblib``.

    Raises
    ------
    TypeError
        If ``model`` is not an estimator.
    """
    if not isinstance(model, BaseEstimator):
        raise InputTypeError(f"model must be an estimator; got {type(model).__name__}.")
    with written_aside(path) as aside:
        joblib.dump(model, aside, compress=3)


def load(path):
    """Read a model written by `save`, or by ``joblib.dump``.

    Parameters
    ----------
    path : str or Path
        Loading runs code that the file names: load files only from people you trust.

    Returns
    -------
    estimator

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a whole joblib file, or holds no estimator.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no model file at {str(path)!r}; histoexpr.save writes one.")
    try:
        model = joblib.load(path)
    except Exception as error:
        raise InputError(
            f"{str(path)!r} is no readable model ({type(error).__name__}: {error}); it may be cut "
            "short, or written by other versions of the packages."
        ) from error
    if not isinstance(model, BaseEstimator):
        raise InputError(f"{str(path)!r} holds a {type(model).__name__}, not an estimator.")
    return model
