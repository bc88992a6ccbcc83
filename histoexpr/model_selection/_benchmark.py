"""Methods by folds: one table."""

from pathlib import Path

import numpy as np

from ..exceptions import InputError
from ..preprocessing import ExpressionTransformer
from ..utils import check_n_jobs
from ..utils._torch import draw_seed
from ._methods import check_methods
from ._plan import check_data, make_plan
from ._prepare import holds_features, shared_featurizer
from ._protocols import check_protocol
from ._results import join_predictions, tidy
from ._run import run_plan
from ._store import Store


def benchmark(
    methods,
    images,
    adata,
    protocol="patient-out",
    *,
    preset="quick",
    featurizer=None,
    expression=None,
    returned=None,
    controls=True,
    n_jobs=None,
    out=None,
    checkpoints=False,
    random_state=0,
    return_predictions=False,
    verbose=0,
):
    """Compare methods on the same spots, genes, units and folds.

    Each method is fitted on the training spots of each fold and scored on its test sections: per
    gene within each section, never pooled over sections. A fit that fails is told in the results,
    and the others go on.

    Parameters
    ----------
    methods : "all", list of str, or dict of str to estimator or Method
        Names are those of `METHOD_NAMES`. A dict gives estimators of any origin: what predicts
        expression and has an ``expression_`` to transform the truth with (any estimator of
        scikit-learn in `ExpressionTargetRegressor`).
    images : SpotPatches, SpotFeatures, or array-like of shape (n_spots, height, width, 3) or \
            (n_spots, n_features)
    adata : AnnData of shape (n_spots, n_genes)
        Raw counts; ``obs`` has section and patient (or the images have).
    protocol : {"patient-out", "section-out", "patient-k-fold"} or Protocol, \
            default="patient-out"
        Who is tested, and from whom is learnt. `PatientKFold` and `TrainTest` take arguments.
    preset : {"quick", "paper"}, default="quick"
        How large methods given by name are, see `method_presets`.
    featurizer : str, transformer or None, default=None
        Computes the features of methods given by name, of controls and of every other estimator
        that takes features; an estimator that has a featurizer keeps it. None takes the first
        that a method has. It is computed once for all methods, once a fold if it learns from the
        training spots; one that is trainable is trained with each method, and frozen for the
        controls.
    expression : ExpressionTransformer or None, default=None
        For controls and every method whose own ``expression`` is None, so that all are scored on
        one scale. None is ``ExpressionTransformer()``.
    returned : ExpressionTransformer or None, default=None
        What is retrieved and scored where it is not what is learnt, see `published_protocol`.
        Methods that search return it; regressors learn it; what decodes keeps ``expression``.
    controls : bool or list of str, default=True
        What stands beside the methods: "mean" of the training spots; "shuffled", kNN whose
        training spots have exchanged their expression at random, which scores 0 on average (0.03
        more or less in a section); "shuffled in sections", within each section alone, which
        scores what the look and the mean expression of whole sections are worth; "kNN" (200,
        cosine); "tuned ridge".
    n_jobs : int or None, default=None
        Fits at a time, as in joblib, whose backends (``joblib.parallel_config``) all serve; on
        dask's, the run survives the loss of workers. In backends of threads fits take turns.
    out : str, Path or None, default=None
        A folder. Each fit is written there when it ends, and one that is there, of the same
        settings, data, rows and versions, is not done again. (Changes of code count by the
        version of histoexpr alone.) What workers send back that do not see the folder is written
        here.
    checkpoints : bool, default=False
        Whether long trainings write their state into `out` after each epoch, and go on from it
        (with workers that see the folder). Worth it when an epoch takes longer than writing the
        weights does.
    random_state : int, RandomState or None, default=0
        Seeds every method that has no seed of its own. With None nothing can be resumed.
    return_predictions : bool, default=False
        Whether to return predictions too (and to keep them in `out`).
    verbose : int, default=0
        From 1 on, progress bars.

    Returns
    -------
    results : DataFrame
        One row a protocol, method, fold, section and gene:

        - ``protocol``, ``method``, ``fold``, ``section``, ``patient``, ``gene``: str; the gene is
          "" in the rows of a failed fit;
        - ``control``: bool; ``patient_in_training``: whether the section's patient has other
          sections on the training side (missing when patients are not known);
        - ``pearson``: correlation over the spots of the section; NaN where the gene does not vary
          there. ``rmse``, ``mae``: errors in ``units``;
        - ``n_train``, ``n_spots``: training spots, spots of the section;
        - ``seconds_fit``, ``seconds_predict``: by the clock, without features that methods share;
        - ``peak_memory``: MiB, the most resident memory that the process had during the fit and
          its predictions: interpreter, libraries and data included, a GPU's not; NaN off Linux;
        - ``seed``: int; ``error``: "" or type and text; ``fit``: the key of the fit.

        ``attrs["settings"]`` has all settings in words, as ``settings_{protocol}.json`` in `out`.
    predictions : dict of str to AnnData
        With ``return_predictions=True``. For each method the test spots of all folds in the
        order of `adata`: ``X`` predicted, ``layers["measured"]`` in the same units, ``obs`` with
        fold and row (in `adata`), and where the method searches ``obsm["neighbors"]``, rows of
        the training spots that were found, nearest first.

    Raises
    ------
    ValueError
        If a name is not known, the protocol finds too few groups, images and adata are not the
        same spots, an estimator needs features and there is no featurizer, or there is one and
        X holds features, or n_jobs is 0.
    TypeError
        If adata is no AnnData, a method no estimator, or n_jobs no whole number.

    Examples
    --------
    >>> import histoexpr
    >>> from histoexpr.model_selection import benchmark, summarize
    >>> images, adata = histoexpr.datasets.make_spatial_expression(3, grid=(8, 8), random_state=0)
    >>> results = benchmark(
    ...     ["StInfer-retrieval"], images, adata, featurizer=histoexpr.TextureFeaturizer(),
    ...     controls=["mean", "kNN"],
    ... )
    >>> list(summarize(results).loc["patient-out"].index)
    ['StInfer-retrieval', 'mean', 'kNN']
    """
    check_n_jobs(n_jobs)
    target, adata = check_data(images, adata)
    folds = check_protocol(protocol).folds(images, adata)
    methods = check_methods(methods, preset, controls)
    if featurizer is not None and holds_features(images):
        raise InputError(
            f"X holds features already, of shape {tuple(images.shape)}: leave featurizer out, or "
            "give the images."
        )
    if not isinstance(random_state, (int, np.integer)):
        random_state = draw_seed(random_state)
    plan = make_plan(
        methods,
        folds,
        images,
        adata,
        target,
        featurizer=shared_featurizer(featurizer, methods),
        expression=ExpressionTransformer() if expression is None else expression,
        returned=returned,
        random_state=int(random_state),
    )
    store = None if out is None else Store(Path(out).absolute())
    if store is not None:
        store.write_settings(folds[0].protocol, plan.settings)
    entries = run_plan(
        plan,
        images,
        adata,
        target,
        store=store,
        n_jobs=n_jobs,
        with_predictions=return_predictions,
        checkpoints=checkpoints,
        verbose=verbose,
    )
    results = tidy(plan.jobs, entries, target, int(random_state))
    results.attrs["settings"] = plan.settings
    if return_predictions:
        return results, join_predictions(plan, entries)
    return results
