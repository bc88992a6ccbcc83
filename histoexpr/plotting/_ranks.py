"""Mean ranks of methods, and which of them cannot be told apart."""

import numpy as np

from ..exceptions import InputError
from ..utils._tables import check_columns
from ._axes import BLUE, GREY, SMALL, check_collection, quiet, take_axes


def plot_ranks(ranked, *, controls=(), ax=None):
    """Draw a critical-difference diagram: a row for each method, the best on top.

    Parameters
    ----------
    ranked : DataFrame
        As :func:`histoexpr.model_selection.rank_methods` gives it.
    controls : collection of str, default=()
        Methods drawn in grey.
    ax : Axes or None, default=None
        None makes a new figure, which pyplot does not know of.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If a column is missing.
    ImportError
        Without matplotlib.

    Notes
    -----
    Each upright bar joins methods whose mean ranks differ by less than the critical difference
    (Nemenyi's test), the length of which is drawn above. [1]_

    References
    ----------
    .. [1] J. Demšar, "Statistical comparisons of classifiers over multiple data sets", Journal
       of Machine Learning Research 7, 1-30 (2006).
    """
    from ..model_selection import rank_groups  # with torch: other pictures do without

    check_columns(ranked, "ranked methods", ("unit",), ("mean_rank", "critical_difference", "n"))
    if ranked.empty:
        raise InputError("ranked must be what rank_methods gives; there are no methods.")
    controls = check_collection(controls, "controls")
    names = list(ranked.index)
    (ax,) = take_axes(ax, (1, 1), (6.5, 1.1 + 0.3 * len(names)), "plot_ranks").ravel()
    rows = np.arange(len(names))
    ranks = ranked["mean_rank"].to_numpy()
    colours = [GREY if name in controls else BLUE for name in names]
    ax.hlines(rows, 1, ranks, color=colours, linewidth=1)
    ax.scatter(ranks, rows, color=colours, s=28, zorder=3)
    groups = rank_groups(ranked)
    last = ranks.max()
    for i, group in enumerate(groups):
        inside = rows[ranked.index.isin(group)]
        ax.vlines(
            last + 0.35 + 0.2 * i, inside[0] - 0.2, inside[-1] + 0.2, color="black", linewidth=2.5
        )
    width = ranked["critical_difference"].iloc[0]
    if np.isfinite(width):
        ax.plot([1, 1 + width], [-0.9, -0.9], color="black", linewidth=2.5)
        ax.annotate(
            f"critical difference {width:.2f}", (1 + width, -0.9), xytext=(6, 0),
            textcoords="offset points", va="center", fontsize=SMALL,
        )  # fmt: skip
    ax.set_yticks(rows, [str(name) for name in names], parse_math=False)
    ax.set(xlim=(0.9, last + 0.35 + 0.2 * max(len(groups), 1)), ylim=(len(names) - 0.5, -1.4))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel(f"Mean rank over {ranked['n'].iloc[0]} {ranked['unit'].iloc[0]}s (1 is best)")
    quiet(ax, grid="x")
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return ax
