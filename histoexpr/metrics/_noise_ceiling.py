"""How well any predictor can correlate with counts, given that counting is noisy."""

from dataclasses import replace
from numbers import Integral

import numpy as np
import pandas as pd
import scipy.sparse
from sklearn.utils._param_validation import Interval

from ..data import unpack_target
from ..exceptions import InputError
from ..preprocessing import check_expression
from ..utils._sklearn import check_random_state, validate_params
from ._correlation import pearson_per_section
from ._sections import check_section


@validate_params(
    {
        "n_splits": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def noise_ceiling(y, expression=None, *, section=None, n_splits=10, random_state=None):
    """Correlation with the measured expression that counting noise leaves possible.

    What is measured is a sample of the molecules of a spot. A predictor that knew the true
    expression of every spot would still not correlate perfectly with it; what it would reach,
    no other passes on average. Scores are read as a share of it.

    Parameters
    ----------
    y : AnnData of shape (n_spots, n_genes_in), or array-like of the same shape
        Raw counts, whole numbers. Sections are those of ``obs["section"]``.
    expression : ExpressionTransformer or None, default=None
        What makes the scored expression of the counts: the ceiling is that of its genes, under
        its normalisation and log. A fitted one (``model.expression_``) is used as it is; of
        another, a clone is fitted on `y`. None stands for ``ExpressionTransformer()``.
    section : array-like of shape (n_spots,), default=None
        The section of each spot, in place of ``obs["section"]``. All spots are one section
        when neither is there.
    n_splits : int, default=10
        How many times the counts are split.
    random_state : int, RandomState instance or None, default=None
        Draws the splits.

    Returns
    -------
    DataFrame of shape (n_sections, n_genes_out), dtype float64
        In [0, 1], shaped as :func:`pearson_per_section` gives it; ``.mean(axis=1)`` is the
        ceiling of each section's mean PCC. NaN is where the correlation has no meaning either:
        a gene that does not vary in a section. 0 is a gene whose halves do not agree.

    Raises
    ------
    ValueError
        If a count is negative, not whole or not finite, or `section` has another length.

    Notes
    -----
    Each count n is split into Binomial(n, 1/2) and the rest: two independent measurements of
    the same spots, half as deep [1]_. Both go through `expression` and are correlated over the
    spots of a section, r for each gene. A measurement of full depth then has the reliability
    R = 2r / (1 + r) (Spearman-Brown [2]_, [3]_), and its correlation with the truth that both
    measure is √R (attenuation [4]_).

    r is averaged over the splits *before* the formula. The formula is concave and cut off at
    r = 0, so of a gene whose r scatters around 0 it would keep the positive draws only.

    A half in which a gene does not vary shares nothing with the other: r = 0 for that split.

    The formula holds for Poisson counts as they are; under normalisation and log it is an
    approximation, rather too high. (In a simulation after her2st, 785 genes, the best possible
    predictor, the mean of the transformed counts given the true rates, reached 0.37 where the
    ceiling was 0.41.) Under 100 spots a section, the scatter of r makes the mean over genes too
    low, by 0.02 to 0.04 there. Noise beyond counting (dissection, staining, lateral diffusion)
    is not in it.

    References
    ----------
    .. [1] A. Neufeld et al., "Inference after latent variable estimation for single-cell RNA
       sequencing data", Biostatistics 25, 270-287 (2024).
    .. [2] C. Spearman, "Correlation calculated from faulty data", British Journal of
       Psychology 3, 271-295 (1910).
    .. [3] W. Brown, "Some experimental results in the correlation of mental abilities",
       British Journal of Psychology 3, 296-322 (1910).
    .. [4] C. Spearman, "The proof and measurement of association between two things",
       American Journal of Psychology 15, 72-101 (1904).

    Examples
    --------
    >>> import numpy as np
    >>> from histoexpr.metrics import noise_ceiling
    >>> from histoexpr.preprocessing import ExpressionTransformer
    >>> rate = [[2.0, 20.0]] * np.random.default_rng(0).gamma(4, 0.25, (5000, 2))
    >>> counts = np.random.default_rng(1).poisson(rate)
    >>> as_it_is = ExpressionTransformer(normalize=None, log=None)
    >>> noise_ceiling(counts, as_it_is, random_state=0).loc["0"].round(1).tolist()
    [0.6, 0.9]
    """
    target = _counts(y, section)
    if not hasattr(expression, "genes_"):
        expression = check_expression(expression).fit(target)
    section = np.zeros(len(target), dtype=int) if target.section is None else target.section
    full = expression.transform(target)
    varies = pearson_per_section(full, full, section, genes=expression.genes_).notna()
    rng = check_random_state(random_state)
    agreement = np.zeros(varies.shape)
    for _ in range(n_splits):
        one, other = (expression.transform(half) for half in _halves(target, rng))
        # NaN where the first half is constant, 0 where the second is: neither shares anything
        agreement += np.nan_to_num(pearson_per_section(one, other, section).to_numpy())
    r = np.maximum(agreement / n_splits, 0.0)
    ceiling = np.sqrt(2 * r / (1 + r))
    return pd.DataFrame(ceiling, index=varies.index, columns=varies.columns).where(varies)


def _counts(y, section):
    """SpotTarget with a CSR matrix of whole numbers, and `section` where it is given."""
    target = unpack_target(y)
    matrix = scipy.sparse.csr_matrix(target.matrix)
    values = matrix.data
    if not np.isfinite(values).all() or (values < 0).any() or (values != np.rint(values)).any():
        raise InputError(
            "noise_ceiling splits counts, but y holds values that are negative, not finite or "
            "not whole numbers: pass raw counts; `expression` normalises them."
        )
    if section is not None:
        target = replace(target, section=check_section(section, len(target)))
    return replace(target, matrix=matrix)


def _halves(target, rng):
    """Two targets whose counts add up to those of `target`; only what is not 0 is drawn for."""
    matrix = target.matrix
    counts = matrix.data.astype(np.int64)
    drawn = rng.binomial(counts, 0.5)
    for values in (drawn, counts - drawn):
        half = scipy.sparse.csr_matrix((values, matrix.indices, matrix.indptr), matrix.shape)
        yield replace(target, matrix=half)
