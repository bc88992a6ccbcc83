"""Whether a model knows how far off it is."""

import numpy as np

from ..exceptions import InputError, InputTypeError
from ..utils._validation import as_array
from ._axes import BLUE, GREY, SMALL, VERMILION, quiet, take_axes

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
N_BINS = 5


def plot_reliability(y_true, y_pred, y_std, *, intervals=None, units=None, axes=None):
    """Draw how often intervals hold what was measured, and how errors follow the predicted std.

    Parameters
    ----------
    y_true, y_pred, y_std : array-like of shape (n_spots, n_genes) or (n_spots,)
        Measured expression, its prediction and the predicted standard deviation, in one unit.
    intervals : dict of float to (low, high), or None, default=None
        Prediction intervals by their nominal coverage, in (0, 1): arrays of the shape of
        `y_true`. None takes those of a normal distribution, ``y_pred ± z · y_std``.
    units : str or None, default=None
        Of the expression, for the label.
    axes : array-like of 2 Axes or None, default=None
        None makes a new figure, which pyplot does not know of.

    Returns
    -------
    ndarray of Axes of shape (2,)
        Coverage; errors over the quintiles of `y_std`.

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, a std is negative, or a level not within (0, 1).
    ImportError
        Without matplotlib.

    Notes
    -----
    All spots and genes are pooled. Within each fifth of the values by `y_std`, the error is the
    root mean square of ``y_true - y_pred``, beside that of `y_std`: where the two agree, the
    model's uncertainty has the right size.
    """
    y_true, y_pred, y_std = _check(y_true=y_true, y_pred=y_pred, y_std=y_std)
    if intervals is None:
        intervals = _normal_intervals(y_pred, y_std)
    if not isinstance(intervals, dict):
        raise InputTypeError(f"intervals must be a dict by level; got {type(intervals).__name__}.")
    levels = as_array(list(intervals), "the levels of intervals", dtype=np.float64)
    if not len(levels) or not (0 < levels.min() and levels.max() < 1):
        raise InputError(f"the levels of intervals must lie within (0, 1); got {levels.tolist()}.")
    held = {level: _coverage(y_true, bounds) for level, bounds in zip(levels, intervals.values())}
    levels = np.sort(levels)
    observed = [held[level] for level in levels]
    shape = (1, 2)
    axes = None if axes is None else np.asarray(axes, dtype=object).reshape(1, -1)
    (coverage, errors), = take_axes(axes, shape, (8.0, 3.6), "plot_reliability")
    coverage.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--", label="calibrated")
    coverage.plot(levels, observed, "o-", color=BLUE, markersize=4, label="observed")
    coverage.set(
        xlim=(0, 1), ylim=(0, 1), aspect="equal",
        xlabel="Nominal coverage", ylabel="Share of measured values inside",
    )  # fmt: skip
    error, std = _by_quantile(y_true - y_pred, y_std)
    fifths = np.arange(1, N_BINS + 1)
    errors.plot(fifths, error, "o-", color=BLUE, markersize=5, label="error (RMSE)")
    errors.plot(
        fifths, std, "s--", color=VERMILION, markersize=4, linewidth=1, label="predicted std"
    )
    errors.set(
        xticks=fifths, ylim=(0, None), xlabel="Fifth of the values, by predicted std",
        ylabel=f"Error, {units}" if units else "Error, in the unit of the expression",
    )  # fmt: skip
    for ax in (coverage, errors):
        quiet(ax, grid="both")
        ax.legend(frameon=False, fontsize=SMALL, loc="upper left")
    return np.array([coverage, errors], dtype=object)


def _check(**arrays):
    arrays = {name: as_array(values, name, dtype=np.float64) for name, values in arrays.items()}
    shapes = {name: values.shape for name, values in arrays.items()}
    if len(set(shapes.values())) > 1 or not arrays["y_true"].size:
        raise InputError(f"the arrays must have one shape and not be empty; got {shapes}.")
    wrong = [name for name, values in arrays.items() if not np.isfinite(values).all()]
    if wrong or (arrays["y_std"] < 0).any():
        raise InputError(
            f"{wrong[0] if wrong else 'y_std'} holds values that are NaN, infinite or a negative "
            "standard deviation; leave those spots or genes out."
        )
    return arrays.values()


def _normal_intervals(y_pred, y_std):
    from scipy.stats import norm

    half = {level: norm.ppf(0.5 + level / 2) * y_std for level in LEVELS}
    return {level: (y_pred - width, y_pred + width) for level, width in half.items()}


def _coverage(y_true, bounds):
    bounds = bounds if isinstance(bounds, (tuple, list)) else [bounds]
    bounds = [as_array(bound, "the bounds of an interval", dtype=np.float64) for bound in bounds]
    if [bound.shape for bound in bounds] != 2 * [y_true.shape]:
        raise InputError(
            f"intervals must hold (low, high) for each level, arrays of shape {y_true.shape}; got "
            f"shapes {[bound.shape for bound in bounds]}."
        )
    low, high = bounds
    return float(((low <= y_true) & (y_true <= high)).mean())


def _by_quantile(error, std):
    """Root mean squares of both, in fifths of the values in order of std."""
    order = np.argsort(std, axis=None, kind="stable")
    parts = np.array_split(order, N_BINS)
    return [[np.sqrt((v.ravel()[p] ** 2).mean()) for p in parts] for v in (error, std)]
