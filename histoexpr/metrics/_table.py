"""Scores as a table, sections by genes."""

from sklearn.utils._param_validation import StrOptions

from .. import _keys
from ..utils._sklearn import validate_params
from ._correlation import _check_pair, pearson_per_gene
from ._errors import mae_per_gene, rmse_per_gene
from ._sections import by_section

SCORES = {"pearson": pearson_per_gene, "rmse": rmse_per_gene, "mae": mae_per_gene}
POOLED = "pooled"


@validate_params(
    {
        "score": [StrOptions(set(SCORES)), callable],
        "pooling": [StrOptions({_keys.SECTION, POOLED})],
    },
    prefer_skip_nested_validation=True,
)
def score_table(
    y_true, y_pred, section=None, *, score="pearson", genes=None, pooling=_keys.SECTION
):
    """Score each gene, in each section or over all spots together.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_spots, n_genes) or (n_spots,)
        Measured and predicted expression, in one unit.
    section : array-like of shape (n_spots,), default=None
        The section of each spot; None takes all spots as one section.
    score : {"pearson", "rmse", "mae"} or callable, default="pearson"
        A callable takes `y_true` and `y_pred` and returns an ndarray of shape (n_genes,).
    genes : array-like of shape (n_genes,), default=None
        Names for the columns; None numbers them.
    pooling : {"section", "pooled"}, default="section"
        "section" scores every section on its own. "pooled" scores all spots at once: a
        correlation then also rewards telling sections apart, and cannot be compared with one
        within sections (the same predictions gave 0.38 and 0.12 in one report).

    Returns
    -------
    DataFrame of shape (n_sections, n_genes), dtype float64
        Sections in order of appearance; under ``pooling="pooled"`` one row, named so.

    Raises
    ------
    ValueError
        If lengths differ, or a value is NaN or infinite.
    """
    y_true, y_pred = _check_pair(y_true, y_pred)
    score = SCORES.get(score, score)
    table = by_section(
        lambda rows: score(y_true[rows], y_pred[rows]),
        None if pooling == POOLED else section,
        len(y_true),
        genes,
    )
    return table.set_axis([POOLED]) if pooling == POOLED else table
