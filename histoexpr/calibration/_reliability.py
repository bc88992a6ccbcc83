"""Which genes to believe."""

import numpy as np
import scipy.sparse

from ..metrics import noise_ceiling, score_table

_FLOOR = 0.1  # below it a ceiling is itself mostly noise, and dividing by it would be as well


def gene_reliability(target, expression, predicted, measured, random_state=None):
    """Share of the correlation within reach that predictions of spots left out attain.

    Parameters
    ----------
    target : SpotTarget
        The spots, with their sections; raw counts if `expression` is given.
    expression : ExpressionTransformer or None
        Fitted. None, or corrected counts that are not whole: there is nothing to take a noise
        ceiling from, and the correlation itself is returned.
    predicted, measured : ndarray of shape (n_spots, n_genes)
        Predicted without the spot's group, and measured; in the units of `expression`.
    random_state : int or None
        Decides the splits of the counts.

    Returns
    -------
    Series of shape (n_genes,), dtype float64
        Mean PCC over sections, divided by the gene's noise ceiling (at least 0.1); from -1 to
        1, NaN where a gene varies in no section.
    """
    genes = target.genes if expression is None else expression.get_feature_names_out()
    table = score_table(measured, predicted, target.section, genes=genes)
    reliability = table.mean(axis=0)
    if expression is not None and _countable(target.matrix):
        ceiling = noise_ceiling(
            target, expression, section=target.section, random_state=random_state
        ).mean(axis=0)
        reliability = reliability / np.maximum(ceiling.to_numpy(), _FLOOR)
    return reliability.clip(-1.0, 1.0).rename("reliability")


def _countable(matrix):
    """Whether all are whole numbers of at least 0, which can be split in halves."""
    values = matrix.data if scipy.sparse.issparse(matrix) else matrix
    return bool((values >= 0).all() and (values == np.rint(values)).all())
