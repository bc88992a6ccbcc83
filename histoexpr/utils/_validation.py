"""Checks and phrases that several layers share."""

import contextlib


def name_some(values, most=5):
    """Name the first few of many things, for a message: ``'A', 'B' and 7 more``."""
    values = [repr(str(v)) for v in values]
    shown = ", ".join(values[:most])
    return shown if len(values) <= most else f"{shown} and {len(values) - most} more"


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
