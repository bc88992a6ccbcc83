"""What every public entry promises, whatever it is given."""

import os

import anndata
import joblib
import numpy as np
import pandas as pd
import torch
from hypothesis import settings
from sklearn.base import BaseEstimator

from histoexpr import SpotPatches
from histoexpr.exceptions import HistoexprError

FUZZ_SECONDS = float(os.environ.get("HISTOEXPR_FUZZ_SECONDS", 0))
BUILT_IN = (ValueError, TypeError, OSError, ImportError)


def examples(n):
    """So many examples in `make test`; five times as many, again and again, in `make fuzz`."""
    return settings(max_examples=5 * n if FUZZ_SECONDS else n)


def answer(function, *args, **kwargs):
    """What a call returns; None where it was refused as documented.

    A refusal is an exception of the library's own family, which is a built-in one, too, and says
    what is wrong; it leaves the estimator as it was. Whatever becomes of a call, what it was given
    stays as it was. Anything else fails the test.
    """
    estimator = getattr(function, "__self__", None)
    before = state([args, kwargs]), _attributes(estimator)
    try:
        found = function(*args, **kwargs)
    except HistoexprError as error:
        assert isinstance(error, BUILT_IN) and len(str(error)) > 25, repr(error)
        assert _attributes(estimator) == before[1], "refused, and the estimator is another"
        found = None
    assert state([args, kwargs]) == before[0], "what was given was changed"
    return found


def state(given):
    """A hash of what an argument holds."""
    if isinstance(given, (list, tuple)):
        return [state(part) for part in given]
    if isinstance(given, dict):
        return {str(key): state(part) for key, part in given.items()}
    if isinstance(given, anndata.AnnData):
        given = given.to_memory() if given.isbacked else given
        return [state(part) for part in (given.X, given.obs, given.var, dict(given.obsm))]
    if isinstance(given, SpotPatches):  # which knows more of its images when it was read
        places = given.spatial, given.positions, given.section, given.patient
        return state([np.asarray(given) if len(given) else 0, *places])
    if isinstance(given, pd.DataFrame):  # whose index of dates notes its step when it is asked
        return state([list(map(str, given.index)), list(given.columns), given.to_numpy()])
    if isinstance(given, torch.Generator):  # drawing moves it on
        return id(given)
    if isinstance(given, BaseEstimator):
        return {name: state(value) for name, value in given.get_params().items()}
    try:
        return joblib.hash(given)
    except (TypeError, ValueError, AttributeError):  # what cannot be pickled
        return id(given)


def _attributes(estimator):
    """The names of an object's attributes, and which objects they are."""
    return {name: id(value) for name, value in getattr(estimator, "__dict__", {}).items()}
