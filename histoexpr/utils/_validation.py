"""Checks and phrases that several layers share."""

import contextlib
import math
from numbers import Integral, Real

from ..exceptions import InputError, InputTypeError


def name_some(values, most=5):
    """Name the first few of many things, for a message: ``'A', 'B' and 7 more``."""
    values = [repr(str(v)[:200]) for v in values]
    shown = ", ".join(values[:most])
    return shown if len(values) <= most else f"{shown} and {len(values) - most} more"


def check_n_jobs(n_jobs):
    """Refuse, before the work begins, an ``n_jobs`` that joblib would refuse after it.

    Raises
    ------
    ValueError
        If it is 0.
    TypeError
        If it is neither None nor a whole number.
    """
    if n_jobs is not None and (not isinstance(n_jobs, Integral) or isinstance(n_jobs, bool)):
        raise InputTypeError(
            f"n_jobs must be None or a whole number; got {type(n_jobs).__name__}."
        )
    if n_jobs == 0:
        raise InputError("n_jobs=0 leaves nobody to do the work; use None, 1, or -1 for all cores.")


def as_array(values, what, dtype=None, copy=None):
    """An ndarray, or a ValueError that says what it would have been of.

    Parameters
    ----------
    values : array-like
    what : str
        What the message calls it.
    dtype : dtype or None, default=None
    copy : True or None, default=None
        True copies always.

    Returns
    -------
    ndarray
    """
    import numpy as np  # not at the start: the command line needs none to show its help

    try:
        if dtype is not None and np.asarray(values).dtype.kind in "cmM":
            raise TypeError("complex numbers and times are none")
        return np.array(values, dtype=dtype) if copy else np.asarray(values, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:  # objects, ragged lists, 2**70
        kind = "an array" if dtype is None else f"an array of {np.dtype(dtype)}"
        raise InputError(
            f"{what} must be {kind}; got {type(values).__name__} ({error})."
        ) from error


def check_number(value, what, least=0.0, *, reached=False, unit=""):
    """A finite float above `least`, or, with ``reached=True``, not below it.

    Parameters
    ----------
    value : object
    what : str
        What the message calls it.
    least : float, default=0.0
    reached : bool, default=False
    unit : str, default=""
        Further words for the message, such as ``", in micrometres per pixel"``.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If it is anything else.
    """
    number = isinstance(value, Real) and not isinstance(value, bool) and _is_finite(value)
    if not number or value < least or (value == least and not reached):
        bound = "at least" if reached else "above"
        raise InputError(f"{what} must be {bound} {least:g} and finite{unit}; got {value!r}.")
    return float(value)


def _is_finite(value):
    try:
        return math.isfinite(value)
    except OverflowError:  # 10**400
        return False


@contextlib.contextmanager
def unchanged_on_error(estimator):
    """Leave an estimator as it was when the block fails: a refused fit loses no earlier one."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def fill_unset(estimator, default):
    """Set the parameters of ``estimator`` that are None to those of ``default``, and return it."""
    own, usual = estimator.get_params(deep=False), default.get_params(deep=False)
    return estimator.set_params(**{k: usual[k] for k, v in own.items() if v is None})
