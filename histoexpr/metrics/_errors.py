"""Errors of predicted expression, gene by gene, in its own unit."""

from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from ._correlation import _check_pair


def rmse_per_gene(y_true, y_pred):
    """Root mean squared error over spots, for each gene.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_spots, n_genes) or (n_spots,)
        Measured and predicted expression, in one unit.

    Returns
    -------
    ndarray of shape (n_genes,), dtype float64
        In the unit of `y_true`, at least 0; defined for a gene that does not vary, too. It
        grows with how much a gene varies, so the genes that vary most rule its mean over genes.

    Raises
    ------
    ValueError
        If shapes differ, or a value is NaN or infinite.

    Examples
    --------
    >>> from histoexpr.metrics import rmse_per_gene
    >>> rmse_per_gene([[1, 5], [2, 5]], [[1, 2], [2, 1]]).round(2).tolist()
    [0.0, 3.54]
    """
    return root_mean_squared_error(*_check_pair(y_true, y_pred), multioutput="raw_values")


def mae_per_gene(y_true, y_pred):
    """Mean absolute error over spots, for each gene.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_spots, n_genes) or (n_spots,)
        Measured and predicted expression, in one unit.

    Returns
    -------
    ndarray of shape (n_genes,), dtype float64
        In the unit of `y_true`, at least 0. It is least for the median, which is 0 for a gene
        that most spots lack: predicting none of it scores well.

    Raises
    ------
    ValueError
        If shapes differ, or a value is NaN or infinite.

    Examples
    --------
    >>> from histoexpr.metrics import mae_per_gene
    >>> mae_per_gene([[1, 5], [2, 5]], [[1, 2], [2, 1]]).tolist()
    [0.0, 3.5]
    """
    return mean_absolute_error(*_check_pair(y_true, y_pred), multioutput="raw_values")
