"""From raw counts to the matrix a method learns: which genes, scaled how, under which log."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import TransformerMixin, _fit_context, clone
from sklearn.utils._param_validation import Interval, StrOptions

from ..data import unpack_target
from ..exceptions import InputError, InputTypeError
from ..utils._sklearn import Estimator, check_array, check_is_fitted
from ..utils._torch import threads_kept
from ..utils._validation import as_array
from ._counts import check_values, dense_columns, row_sums, scale_rows, section_rows
from ._genes import RULES, check_names, choose_genes, find_columns


# auto_wrap_output_keys=None: sklearn.set_config(transform_output="pandas") must not turn the
# target that a method trains on into a DataFrame.
class ExpressionTransformer(TransformerMixin, Estimator, auto_wrap_output_keys=None):
    """Choose genes, normalise their counts and take the log.

    What is learnt in ``fit`` is the choice of genes only, so it must see training spots only;
    the scaling uses nothing but the spots it is given (see `normalize`).

    Parameters
    ----------
    genes : {"highly_variable", "highly_expressed", "expressed"}, array-like of str or None, \
            default=None
        The genes of the output. None takes all, in the order of ``var_names``; a list takes
        those named, in its own order. The rules choose on the spots given to ``fit`` and keep
        the order of ``var_names``:

        - "highly_variable": the `n_genes` that :func:`scanpy.pp.highly_variable_genes` ranks
          first (flavor "seurat", on log1p of counts per 10,000), by section when ``obs`` names
          several with two spots or more;
        - "highly_expressed": the `n_genes` with the most counts, the earlier gene on a tie;
        - "expressed": every gene with counts in more than `min_spots` spots.
    n_genes : int or None, default=None
        How many genes "highly_variable" and "highly_expressed" choose; they need it.
    min_spots : int or None, default=None
        A gene must have counts in more than this many spots to be chosen by a rule.
        "expressed" needs it; None is 0 for the other two rules.
    normalize : {"spot", "gene"} or None, default="spot"
        "spot" scales each spot to `target_sum`. "gene" scales each gene to `target_sum` over
        the spots of each section (all given spots are one section when ``obs`` names none) and
        leaves each spot its depth: what STco, mclSTExp and GR2ST retrieve and score. Nothing is
        learnt for it from the training spots: the values of a spot depend on which spots of its
        section are given with it. None leaves the counts as they are.
    over : {"panel", "all"}, default="panel"
        The genes whose counts make up a spot's total under ``normalize="spot"``: the chosen
        ones, or all genes that ``fit`` saw. With "all", data to transform must hold every one
        of those; further genes do not count. The other normalisations do not use it.
    target_sum : float, default=1e4
        The sum that each spot, or each gene of a section, is scaled to.
    log : {"log1p", "log10"} or None, default="log1p"
        log(x + 1), log10(x + 1) or nothing, after normalisation.
    check_counts : bool, default=True
        Whether to refuse values that are not whole numbers; False allows corrected counts. With
        ``normalize=None, log=None`` any finite values pass as they are.

    Attributes
    ----------
    genes_ : ndarray of shape (n_genes_out,), dtype str
        The columns of the output.
    all_genes_ : ndarray of shape (n_genes_in,), dtype str
        The genes a spot's total is taken over; only with ``normalize="spot", over="all"``.
    units_ : str
        The unit of the output, e.g. "log1p of counts per 10,000 over the panel, by spot".

    Notes
    -----
    A spot (or, under "gene", a gene of a section) without any counts becomes zeros.

    Reg2ST and the HisToGene line use ``genes=panel, log="log10"``. Correlations under
    ``normalize="gene"`` also reward predicting how many counts a spot caught, and cannot be
    compared with those under "spot".

    "highly_variable" without `min_spots` also picks genes that a handful of spots caught: on the
    three her2st sections of patient C (551 spots), 6 % of 785 have counts in fewer than 10.

    Examples
    --------
    >>> from histoexpr.preprocessing import ExpressionTransformer
    >>> ExpressionTransformer(target_sum=100, log=None).fit_transform([[1, 3], [0, 0]])
    array([[25., 75.],
           [ 0.,  0.]], dtype=float32)
    """

    _parameter_constraints: dict = {
        "genes": [StrOptions(RULES), "array-like", None],
        "n_genes": [Interval(Integral, 1, None, closed="left"), None],
        "min_spots": [Interval(Integral, 0, None, closed="left"), None],
        "normalize": [StrOptions({"spot", "gene"}), None],
        "over": [StrOptions({"panel", "all"})],
        "target_sum": [Interval(Real, 0, None, closed="neither")],
        "log": [StrOptions({"log1p", "log10"}), None],
        "check_counts": ["boolean"],
    }

    def __init__(
        self,
        genes=None,
        *,
        n_genes=None,
        min_spots=None,
        normalize="spot",
        over="panel",
        target_sum=1e4,
        log="log1p",
        check_counts=True,
    ):
        self.genes = genes
        self.n_genes = n_genes
        self.min_spots = min_spots
        self.normalize = normalize
        self.over = over
        self.target_sum = target_sum
        self.log = log
        self.check_counts = check_counts

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, adata, y=None):
        """Choose the genes.

        Parameters
        ----------
        adata : AnnData, SpotTarget, DataFrame or ndarray of shape (n_spots, n_genes_in)
            Raw counts of the training spots. An ndarray's genes are called "x0", "x1", ...
        y : None
            Ignored.

        Returns
        -------
        ExpressionTransformer
            The fitted transformer.

        Raises
        ------
        ValueError
            If counts are negative, NaN, infinite or (see `check_counts`) not whole, a named
            gene is missing or named twice, or a rule lacks its number or finds too few genes.
        """
        target = unpack_target(adata)
        self._check_values(target)
        if isinstance(self.genes, str):
            with threads_kept():
                chosen = choose_genes(target, self.genes, self.n_genes, self.min_spots)
        elif self.genes is None:
            self._refuse_unused("genes=None")
            chosen = slice(None)
        else:
            self._refuse_unused("a list of genes")
            chosen = find_columns(check_names(self.genes), target, "genes asked for")
        self.genes_ = target.genes[chosen].copy()
        if self.normalize == "spot" and self.over == "all":
            self.all_genes_ = target.genes.copy()
        elif hasattr(self, "all_genes_"):
            del self.all_genes_
        self.units_ = self.units
        return self

    def transform(self, adata):
        """Normalised expression of the chosen genes, joined by name.

        Parameters
        ----------
        adata : AnnData, SpotTarget, DataFrame or ndarray of shape (n_spots, n_genes_in)
            Raw counts, the genes in any order.

        Returns
        -------
        ndarray of shape (n_spots, n_genes_out), dtype float32, C-contiguous
            In the units `units_`, columns `genes_`.

        Raises
        ------
        ValueError
            If a gene of `genes_` (or of `all_genes_`) is missing or the values are no counts.
        """
        import scanpy as sc

        check_is_fitted(self)
        target = unpack_target(adata)
        self._check_values(target)
        columns = find_columns(self.genes_, target, "genes of the panel")
        panel = dense_columns(target.matrix, columns)
        if self.normalize == "spot":
            if self.over == "all":
                # the counts outside the panel ride along as one more column
                outside = np.setdiff1d(self.all_genes_, self.genes_)
                columns = find_columns(outside, target, "genes that over='all' sums over")
                panel = np.column_stack([panel, row_sums(target.matrix, columns)])
            panel = scale_rows(panel, self.target_sum)[:, : len(self.genes_)]
        elif self.normalize == "gene":
            for rows in section_rows(target):
                panel[rows] = scale_rows(panel[rows].T, self.target_sum).T
        if self.log is not None:
            panel = sc.pp.log1p(panel, base=10 if self.log == "log10" else None)
        return np.ascontiguousarray(panel)

    def inverse_transform(self, expression, totals=None):
        """Undo the log and, with totals, the normalisation.

        Parameters
        ----------
        expression : array-like of shape (n_spots, n_genes_out)
            In the units `units_`, measured or predicted.
        totals : array-like, default=None
            What was scaled to `target_sum`: counts of each spot, of shape (n_spots,), under
            ``normalize="spot"`` (over the genes that `over` says); counts of each gene over
            the one section that `expression` holds, of shape (n_genes_out,), under "gene".

        Returns
        -------
        ndarray of shape (n_spots, n_genes_out), dtype float64
            Without `totals`, counts per `target_sum` on the linear scale; with them, (expected)
            counts. A prediction below zero stays below zero.

        Raises
        ------
        ValueError
            If a shape does not fit, or `totals` come with ``normalize=None``.
        """
        check_is_fitted(self)
        linear = check_array(expression, dtype=np.float64, copy=True, input_name="expression")
        if linear.shape[1] != len(self.genes_):
            raise InputError(
                f"expression has {linear.shape[1]} columns, but {len(self.genes_)} genes were "
                "fitted (genes_)."
            )
        if self.log == "log1p":
            np.expm1(linear, out=linear)
        elif self.log == "log10":
            np.expm1(linear * np.log(10), out=linear)
        if totals is None:
            return linear
        if self.normalize is None:
            raise InputError(
                "totals were given, but normalize=None scaled nothing: leave totals out."
            )
        axis = 0 if self.normalize == "spot" else 1
        totals = as_array(totals, "totals", dtype=np.float64)
        if totals.shape != (linear.shape[axis],):
            what = "spots" if axis == 0 else "genes"
            raise InputError(
                f"totals must hold one count for each of the {linear.shape[axis]} {what} under "
                f"normalize={self.normalize!r}; got shape {totals.shape}."
            )
        return linear * np.expand_dims(totals / self.target_sum, 1 - axis)

    def get_feature_names_out(self, input_features=None):
        """The chosen genes.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        ndarray of shape (n_genes_out,), dtype object
        """
        check_is_fitted(self)
        return self.genes_.astype(object)

    @property
    def units(self):
        """The unit of the output, in words."""
        if self.normalize is None and self.log is None:
            return "as given"
        log = {"log1p": "log1p of ", "log10": "log10(x + 1) of ", None: ""}[self.log]
        if self.normalize is None:
            return f"{log}counts"
        over = {"panel": "over the panel, by spot", "all": "over all genes, by spot"}[self.over]
        if self.normalize == "gene":
            over = "over the section, by gene"
        return f"{log}counts per {self.target_sum:,.12g} {over}"

    def _check_values(self, target):
        as_they_are = self.normalize is None and self.log is None
        check_values(target.matrix, counts=not as_they_are, whole=self.check_counts)

    def _refuse_unused(self, given):
        for name in ("n_genes", "min_spots"):
            if getattr(self, name) is not None:
                raise InputError(
                    f"{name}={getattr(self, name)} has no effect with {given}: it belongs to "
                    f"the rules {sorted(RULES)}. Leave it out or give genes= a rule."
                )


def check_expression(expression):
    """Turn the parameter ``expression`` of a method into a transformer of its own.

    Parameters
    ----------
    expression : ExpressionTransformer, transformer with the same methods, or None
        None stands for ``ExpressionTransformer()``.

    Returns
    -------
    ExpressionTransformer
        An unfitted clone.

    Raises
    ------
    TypeError
        If it is a class, or has no ``fit`` and ``transform``.
    """
    if expression is None:
        return ExpressionTransformer()
    methods = all(hasattr(expression, name) for name in ("fit", "transform", "get_params"))
    if isinstance(expression, type) or not methods:
        raise InputTypeError(
            f"expression must be an ExpressionTransformer or None; got {expression!r}. For a "
            "list of genes pass ExpressionTransformer(genes)."
        )
    return clone(expression)
