"""All fits of a benchmark, before the first is done."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _keys
from ..data import check_same_spots, completed, unpack_target
from ..exceptions import InputTypeError
from ..preprocessing._target_mixin import _versions
from ._fingerprint import data_key, describe, key_of
from ._fit import Job
from ._prepare import learns, prepare
from ._readings import returning


@dataclass(frozen=True, eq=False)
class Input:
    """What fits are given as X.

    Attributes
    ----------
    featurizer : transformer or None
        None: the images as they are.
    train : ndarray of shape (n_train,), dtype int64, or None
        The spots that the featurizer learns from; None for one that learns nothing.
    """

    featurizer: Any = None
    train: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """The fits of a benchmark.

    Attributes
    ----------
    jobs : list of Job
        Fold by fold, methods in their order.
    inputs : dict of str to Input
        By the ``input_key`` of a Job.
    settings : dict
        In words, for people and for JSON.
    """

    jobs: list
    inputs: dict
    settings: dict


def check_data(images, adata):
    """Images and counts of the same spots; what only the images know goes into ``obs``.

    Parameters
    ----------
    images : SpotPatches, SpotFeatures or array-like
    adata : AnnData of shape (n_spots, n_genes)

    Returns
    -------
    target : SpotTarget
    adata : AnnData
        The one given, or a copy with further columns.

    Raises
    ------
    TypeError
        If ``adata`` is no AnnData.
    ValueError
        If the two are not the same spots.
    """
    if not hasattr(adata, "obs") or not hasattr(adata, "var_names"):
        raise InputTypeError(
            f"adata must be an AnnData of raw counts; got {type(adata).__name__}. Wrap counts as "
            "anndata.AnnData(counts, obs=...), with section and patient in obs."
        )
    of_adata = unpack_target(adata)
    check_same_spots(images, of_adata)
    target = completed(of_adata, images)
    columns = {
        name: getattr(target, name)
        for name in (_keys.SECTION, _keys.PATIENT)
        if getattr(of_adata, name) is None and getattr(target, name) is not None
    }
    if of_adata.positions is None and target.positions is not None:
        columns[_keys.ARRAY_COL], columns[_keys.ARRAY_ROW] = target.positions.T
    if columns or adata.isbacked:
        adata = adata.to_memory() if adata.isbacked else adata.copy()
        for name, values in columns.items():
            adata.obs[name] = values
    return target, adata


def make_plan(
    methods, folds, images, adata, target, *, featurizer, expression, returned, random_state
):
    """Prepare every method once, and pair it with every fold.

    Parameters
    ----------
    methods : dict of str to Method
    folds : list of Fold
    images : SpotPatches, SpotFeatures or array-like
    adata : AnnData
    target : SpotTarget
        Of `adata`.
    featurizer : transformer or None
    expression, returned : ExpressionTransformer
        `returned` may be None.
    random_state : int

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        If a method needs features and there is no featurizer.
    """
    prepared, featurizers = {}, {}
    for name, method in methods.items():
        if returned is not None:
            method = returning(method, returned)
        estimator, featurizers[name] = prepare(
            name,
            method.estimator,
            images=images,
            featurizer=featurizer,
            expression=expression,
            random_state=random_state,
        )
        prepared[name] = dataclasses.replace(method, estimator=estimator)
    data = data_key(images, target, adata.obsm.get(_keys.SPATIAL))
    versions = _versions()
    described = {name: describe(method.estimator) for name, method in prepared.items()}
    jobs, inputs = [], {}
    for fold in folds:
        rows = key_of(fold.train, fold.test)
        for name, method in prepared.items():
            given = _input(featurizers[name], fold)
            input_key = key_of(data, given.featurizer, given.train, versions)
            inputs[input_key] = given
            shuffled = method.shuffled and [method.shuffled, random_state]
            key = key_of(described[name], shuffled, input_key, rows, versions)
            jobs.append(Job(name, method, fold, input_key, key))
    settings = {
        "protocol": folds[0].protocol,
        "folds": [_describe_fold(fold, target) for fold in folds],
        "methods": _describe_methods(prepared, described, featurizers),
        "expression": describe(expression),
        "returned": describe(returned),
        "random_state": random_state,
        "data": {"fingerprint": data, **_describe_data(target)},
        "versions": versions,
    }
    return Plan(jobs, inputs, settings)


def _input(featurizer, fold):
    if featurizer is None:
        return Input()
    return Input(featurizer, fold.train if learns(featurizer) else None)


def _describe_fold(fold, target):
    def sections(rows):
        return [] if target.section is None else list(dict.fromkeys(target.section[rows].tolist()))

    shared = fold.shared_patients
    return {
        "name": fold.name,
        "train": sections(fold.train),
        "test": sections(fold.test),
        "shared_patients": None if shared is None else list(shared),
    }


def _describe_methods(prepared, described, featurizers):
    rows = {}
    for name, method in prepared.items():
        for row, reading in method.row_names(name).items():
            rows[row] = {
                **described[name],
                "featurizer": describe(featurizers[name]),
                "set_after_fit": describe(reading.parameters),
                "returned": describe(reading.returned),
                "note": method.note,
                "control": method.control,
            }
    return rows


def _describe_data(target):
    def spots(names):
        if names is None:
            return {}
        found, counts = np.unique(names, return_counts=True)
        return dict(zip(found.tolist(), counts.tolist()))

    return {
        "n_spots": len(target),
        "n_genes": len(target.genes),
        "sections": spots(target.section),
        "patients": spots(target.patient),
    }
