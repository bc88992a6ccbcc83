"""Scores of methods: their distributions over genes and sections."""

import numpy as np

from .. import _keys
from ..exceptions import InputError
from ..utils import name_some
from ..utils._tables import check_columns
from ._axes import BLUE, GREY, SMALL, check_collection, quiet, take_axes


def plot_scores(results, score="pearson", *, methods=None, controls=(), label=None, ax=None):
    """Draw how a score is distributed over genes and sections, a row for each method.

    Parameters
    ----------
    results : DataFrame
        Tidy: a row for each method, section and gene, with the columns ``method``, ``section``
        and `score`, as :func:`histoexpr.model_selection.benchmark` returns it.
    score : str, default="pearson"
        The column to draw. NaN values are left out and counted beside the row.
    methods : list of str or None, default=None
        Which methods, from top to bottom; None is all, in order of appearance.
    controls : collection of str, default=()
        Methods drawn in grey.
    label : str or None, default=None
        Of the axis, with the unit; None names the Pearson correlation, or the column.
    ax : Axes or None, default=None
        None makes a new figure, which pyplot does not know of.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If a column is missing, a method has no rows, or nothing is finite.
    ImportError
        Without matplotlib.

    Notes
    -----
    The shape is the density over all genes of all sections, the bar spans its quartiles, the
    line is its median, and each dot is the mean over the genes of one section.
    """
    check_columns(results, "results", ("method", _keys.SECTION), (score,))
    controls = check_collection(controls, "controls")
    names = dict.fromkeys(results["method"]) if methods is None else methods
    names = check_collection(names, "methods")
    rows = {name: results.loc[results["method"] == name] for name in names}
    empty = [name for name, row in rows.items() if not np.isfinite(row[score]).any()]
    if empty or not names:
        raise InputError(f"no finite {score!r} to draw for {name_some(empty) or 'any method'}.")
    (ax,) = take_axes(ax, (1, 1), (7.0, 0.8 + 0.42 * len(names)), "plot_scores").ravel()
    for height, (name, row) in enumerate(rows.items()):
        _draw_row(ax, height, row, score, GREY if name in controls else BLUE)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_yticks(range(len(names)), [str(name) for name in names], parse_math=False)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlabel(label or _label(score))
    quiet(ax, grid="x")
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return ax


def _draw_row(ax, height, row, score, colour):
    values = row[score].to_numpy(np.float64)
    finite = values[np.isfinite(values)]
    if np.ptp(finite) > 0:
        (body,) = ax.violinplot(
            finite, [height], orientation="horizontal", widths=0.85, showextrema=False
        )["bodies"]
        body.set(facecolor=colour, alpha=0.28, linewidth=0)
    low, median, high = np.percentile(finite, [25, 50, 75])
    ax.hlines(height, low, high, color=colour, linewidth=4, alpha=0.75)
    ax.vlines(median, height - 0.22, height + 0.22, color=colour, linewidth=1.6)
    means = row.groupby(_keys.SECTION, observed=True)[score].mean().dropna()
    ax.plot(
        means, np.full(len(means), height), "o", color=colour, markersize=5,
        markeredgecolor="white", markeredgewidth=0.8, zorder=4,
    )  # fmt: skip
    if len(finite) < len(values):
        ax.annotate(
            f"{len(values) - len(finite)} NaN",
            (1.01, height),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=SMALL - 1,
            alpha=0.65,
        )


def _label(score):
    if score == "pearson":
        return "Pearson correlation of a gene over the spots of a section"
    return score.replace("_", " ")
