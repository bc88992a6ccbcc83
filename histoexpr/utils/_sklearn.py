"""scikit-learn's checks; what they refuse is an exception of this library, too.

Same names, same arguments, same messages: a file imports them from here instead.
"""

import contextlib
import functools

import numpy as np
from sklearn import base, utils
from sklearn.exceptions import NotFittedError
from sklearn.utils import _param_validation, validation
from sklearn.utils._param_validation import InvalidParameterError

from ..exceptions import HistoexprError, InputError, InputTypeError


class ParameterError(InputError, InvalidParameterError):
    """A parameter of an estimator or a function is none of those it may be."""


class UnfittedError(InputError, NotFittedError):
    """An estimator is asked for what it has to learn first."""


# The first that fits; InvalidParameterError is a ValueError and a TypeError.
_OWN = {
    InvalidParameterError: ParameterError,
    NotFittedError: UnfittedError,
    ValueError: InputError,
    TypeError: InputTypeError,
}


@contextlib.contextmanager
def own_refusals(kinds=(ValueError, TypeError)):
    """Raise what a check raises as the exception of this library that it is."""
    try:
        yield
    except HistoexprError:
        raise
    except kinds as error:
        own = next(own for kind, own in _OWN.items() if isinstance(error, kind))
        raise own(str(error)) from error


def checked(function, kinds=(ValueError, TypeError)):
    """A function that does nothing but check, or whose refusals are of these kinds."""

    @functools.wraps(function)
    def own(*args, **kwargs):
        with own_refusals(kinds):
            return function(*args, **kwargs)

    return own


check_array = checked(utils.check_array)
check_is_fitted = checked(validation.check_is_fitted)
check_random_state = checked(utils.check_random_state)
num_samples = checked(validation._num_samples)
validate_data = checked(validation.validate_data)


def validate_params(constraints, *, prefer_skip_nested_validation):
    """Check the arguments of a function, as ``sklearn.utils._param_validation`` does."""
    checks = _param_validation.validate_params(
        constraints, prefer_skip_nested_validation=prefer_skip_nested_validation
    )
    return lambda function: checked(checks(function), InvalidParameterError)


class Estimator(base.BaseEstimator):
    """Base of all estimators: a parameter that is refused is a ParameterError."""

    def _validate_params(self):
        with own_refusals():
            super()._validate_params()
        for name, value in self.get_params(deep=False).items():
            constraints = self._parameter_constraints.get(name, "no_validation")
            problem = constraints != "no_validation" and _slipped_through(value, constraints)
            if problem:
                raise ParameterError(
                    f"The {name!r} parameter of {type(self).__name__} must be {problem}. Got "
                    f"{value!r} instead."
                )


def _slipped_through(value, constraints):
    """What a parameter should have been that scikit-learn lets pass, or None."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return "a plain value or a list, no array without dimensions"
    if not isinstance(value, bool):
        return None
    numbers = (_param_validation.Interval, _param_validation.Options)
    kinds = map(_param_validation.make_constraint, constraints)
    meant = any(kind.is_satisfied_by(value) for kind in kinds if not isinstance(kind, numbers))
    return None if meant else "a number; True and False are none"
