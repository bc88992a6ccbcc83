"""What every estimator that predicts expression does with its target."""

from importlib.metadata import PackageNotFoundError, version

import numpy as np
from sklearn.metrics import r2_score

from .. import _keys
from .._version import __version__
from ..data import carried, check_same_spots, unpack_target
from ..exceptions import InputError, InputTypeError
from ..utils import name_some
from ..utils._sklearn import check_array
from ._expression import check_expression


class ExpressionTargetMixin:
    """Take an AnnData or an array as target, and give predictions their names and units.

    Stands left of :class:`sklearn.base.RegressorMixin`, whose ``score`` it replaces. A class
    calls `_fit_target` in ``fit``, and `_shape_prediction` in ``predict``.

    Attributes
    ----------
    expression_ : ExpressionTransformer or None
        What turns raw counts into the predicted quantity, fitted on the training spots. None
        when the target was an array and no ``expression`` was given.
    genes_ : ndarray of shape (n_outputs_,), dtype str
        The columns of the prediction.
    units_ : str
        Their unit; "as given" when ``expression_`` is None.
    n_outputs_ : int
        How many genes are predicted.
    fitted_on_ : dict
        ``n_spots``, and the names of the ``sections`` and ``patients`` of the fit, lists of str;
        None where they are not known.
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _fit_target(self, y, expression):
        """Fit `expression` on the target and transform it.

        Parameters
        ----------
        y : AnnData, SpotTarget or array-like of shape (n_spots, n_genes) or (n_spots,)
            Raw counts, or, for an array when `expression` is None, expression as it is.
        expression : ExpressionTransformer or None

        Returns
        -------
        target : SpotTarget
            The target taken apart; its ``matrix`` holds all genes, as given.
        matrix : ndarray of shape (n_spots, n_outputs_), dtype float32, C-contiguous
            What to learn, in the units ``units_``. A copy.
        """
        target = unpack_target(y)
        if target.from_adata or expression is not None:
            self.expression_ = check_expression(expression).fit(target)
            matrix = self.expression_.transform(target)
            self.genes_ = self.expression_.get_feature_names_out().astype(str)
            self.units_ = getattr(self.expression_, "units_", "as given")
        else:
            self.expression_ = None
            matrix = self._own_expression(target.matrix)
            self.genes_ = target.genes.copy()
            self.units_ = "as given"
        self.n_outputs_ = len(self.genes_)
        self.fitted_on_ = {
            "n_spots": len(target),
            "sections": _names(target.section),
            "patients": _names(target.patient),
        }
        self._one_dimensional = target.one_dimensional
        # An array's own precision comes back; counts are no more precise than float32.
        double = self.expression_ is None and target.matrix.dtype == np.float64
        self._dtype = np.float64 if double else np.float32
        return target, matrix

    @staticmethod
    def _own_expression(matrix):
        """Expression that was given as it is, in an array that the caller does not change."""
        return _as_float32(matrix)

    def _transform_target(self, y):
        """The truth in the units of the predictions.

        Parameters
        ----------
        y : AnnData, SpotTarget or array-like
            Of the kind that ``fit`` was given.

        Returns
        -------
        ndarray of shape (n_spots, n_outputs_), dtype float32

        Raises
        ------
        TypeError
            If `y` is an AnnData but ``fit`` saw expression without names or counts.
        ValueError
            If genes are missing or the number of columns differs.
        """
        target = unpack_target(y)
        if self.expression_ is not None:
            return self.expression_.transform(target)
        if target.from_adata:
            raise InputTypeError(
                f"y is an AnnData of counts, but this {type(self).__name__} was fitted on an "
                "array of expression (expression_ is None): score it on such an array, or fit "
                "it on an AnnData."
            )
        if target.matrix.shape[1] != self.n_outputs_:
            raise InputError(
                f"y has {target.matrix.shape[1]} columns, but {self.n_outputs_} were fitted: "
                f"{name_some(self.genes_)}."
            )
        return _as_float32(target.matrix)

    def _shape_prediction(self, matrix):
        """(n_spots,) when the fitted target had that shape, else (n_spots, n_outputs_)."""
        matrix = matrix.astype(self._dtype, copy=False)
        if self._one_dimensional:
            return matrix.reshape(len(matrix))
        return matrix.reshape(len(matrix), self.n_outputs_)

    def score(self, X, y, sample_weight=None):
        """R² of the prediction, averaged over genes.

        All spots are pooled, as everywhere in scikit-learn. For the correlation that papers
        report, use :func:`histoexpr.metrics.pearson_scorer`.

        Parameters
        ----------
        X : SpotPatches, ndarray of images or of features
            As ``predict`` takes it.
        y : AnnData or array-like of shape (n_spots, n_genes) or (n_spots,)
            Of the kind that ``fit`` was given; an AnnData holds raw counts.
        sample_weight : array-like of shape (n_spots,), default=None

        Returns
        -------
        float
        """
        target = unpack_target(y)
        check_same_spots(X, target)
        predicted = self.predict(X)
        truth = self._transform_target(target)
        return r2_score(
            truth, predicted.reshape(truth.shape[0], -1), sample_weight=sample_weight
        )

    def predict_adata(self, X):
        """Predict, and return the expression with its names, places and origin.

        Parameters
        ----------
        X : SpotPatches, ndarray of images or of features
            As ``predict`` takes it.

        Returns
        -------
        AnnData of shape (n_spots, n_outputs_)
            ``X`` in the units ``units_``, ``var_names`` the predicted genes. From a
            SpotPatches it has what that carries: ``obs`` section, patient, array_row and
            array_col, and ``obsm["spatial"]`` (pixels at full resolution, (x, y)).
            ``uns["histoexpr"]`` says model, units and versions.
        """
        import pandas as pd
        from anndata import AnnData

        predicted = np.asarray(self.predict(X))
        predicted = predicted.reshape(len(predicted), self.n_outputs_)
        names = X.index if isinstance(X, pd.DataFrame) else pd.RangeIndex(len(predicted))
        obs = pd.DataFrame(index=pd.Index(names).astype(str))
        for key in (_keys.SECTION, _keys.PATIENT):
            names = carried(X, key)
            if names is not None:
                obs[key] = pd.Categorical(np.asarray(names, dtype=str))
        positions = carried(X, "positions")
        if positions is not None:
            obs[_keys.ARRAY_COL], obs[_keys.ARRAY_ROW] = np.asarray(positions).T
        adata = AnnData(predicted, obs=obs, var=pd.DataFrame(index=pd.Index(self.genes_)))
        spatial = carried(X, _keys.SPATIAL)
        if spatial is not None:
            adata.obsm[_keys.SPATIAL] = np.array(spatial, dtype=np.float64)
        adata.uns[_keys.UNS] = self._provenance()
        return adata

    def _provenance(self):
        """What a prediction says of where it comes from."""
        return {"model": type(self).__name__, "units": self.units_, "versions": _versions()}


def _names(column):
    return None if column is None else list(dict.fromkeys(column.tolist()))


def _as_float32(matrix):
    return check_array(matrix, dtype=np.float32, order="C", copy=True, input_name="y")


def _versions():
    """Versions of what a prediction depends on."""
    found = {"histoexpr": __version__}
    for name in ("torch", "scikit-learn", "timm", "scanpy", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a build without metadata still predicts
            found[name] = "unknown"
    return found
