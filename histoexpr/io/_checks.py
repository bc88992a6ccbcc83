"""What must hold of an object that was put together from a file, before anything uses it.

A file may say that 100 genes are predicted and hold the weights of 50; compiled code, which
believes such numbers, would read beyond an array. And a few attributes name files or arguments
of other libraries that could do more than compute.
"""

import re

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import BaseEstimator

from .._types import SpotBatch
from ..exceptions import InputError
from ..utils._torch import isolated_seed
from ._classes import is_closed, listed_name

# Fitted attributes whose length along an axis is the number of features.
_WIDE = {
    "_fit_X": 1, "X_fit_": 1, "center_": 0, "cluster_centers_": 1, "coef_": -1, "components_": 1,
    "data_max_": 0, "data_min_": 0, "lambdas_": 0, "mean_": 0, "means_": 1, "min_": 0,
    "quantiles_": 1, "random_weights_": 0, "scale_": 0, "statistics_": 0, "var_": 0,
    "x_rotations_": 0,
}  # fmt: skip
# Arguments of timm.create_model that read a file or ask a hub instead of building a network.
_READS = {
    "cache_dir", "checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay",
    "model_name",
}  # fmt: skip
# Parameters that name folders of the writer's machine, and what stands in a file instead. Of a
# file from elsewhere they would say where this machine writes; and what joblib.Memory finds in a
# folder, it unpickles.
LOCAL = {"cache": "memory", "checkpoint_dir": None, "memory": None}
_ON_HUB = r"[\w.@-]+(/[\w.@-]+)*"
_NO_STEP = (None, "passthrough", "drop")
_MOST_PIXELS = 4096  # along a side of what a network takes


def check(thing):
    """Check an object whose parts have been checked; ValueError says what is wrong."""
    if isinstance(thing, BaseEstimator):
        _check_parameters(thing)
        _check_widths(thing)
    if hasattr(thing, "n_outputs_") and hasattr(thing, "genes_"):
        _check_target(thing)
    if hasattr(thing, "module_") and hasattr(thing, "trainer_"):
        _check_method(thing)
    of_class = _OF_CLASS.get(listed_name(type(thing)))
    if of_class is not None:
        of_class(thing)


def _require(holds, what):
    if not holds:
        raise InputError(what)


def _check_parameters(estimator):
    parameters = estimator.get_params(deep=False)
    if hasattr(estimator, "_parameter_constraints"):
        estimator._validate_params()
    for name, usual in LOCAL.items() if is_closed(type(estimator)) else ():
        _require(parameters.get(name) in (None, usual), f"{name} names a folder")
    for name in ("steps", "transformer_list", "transformers"):
        _require(_are_steps(parameters.get(name, [])), f"{name} are no names and estimators")


def _are_steps(steps):
    pairs = type(steps) is list and all(type(step) is tuple and len(step) > 1 for step in steps)
    return pairs and all(
        type(name) is str and (hasattr(made, "fit") or made in _NO_STEP)
        for name, made, *_ in steps
    )


def _check_widths(estimator):
    n_features = vars(estimator).get("n_features_in_")
    if n_features is None:
        return
    _require(type(n_features) is int and n_features > 0, f"n_features_in_ is {n_features!r}")
    for name, axis in _WIDE.items():
        shape = getattr(vars(estimator).get(name), "shape", ())
        if shape:
            _require(
                len(shape) > axis and shape[axis] == n_features,
                f"{name} has shape {shape}, which does not go with {n_features} features",
            )
    if "n_samples_fit_" in vars(estimator):
        n_spots = estimator._fit_X.shape[0]
        _require(estimator.n_samples_fit_ == n_spots, f"n_samples_fit_ is not {n_spots}")
        targets = getattr(estimator, "_y", None)
        _require(targets is None or len(targets) == n_spots, f"_y has not {n_spots} rows")


def _check_target(estimator):
    genes, n_genes = estimator.genes_, estimator.n_outputs_
    _check_names(genes, "genes_")
    _require(n_genes == len(genes), f"n_outputs_ is {n_genes!r}, but {len(genes)} genes are named")
    _require(isinstance(estimator.units_, str), f"units_ is {estimator.units_!r}")
    if not hasattr(estimator, "_dtype"):
        return
    _require(estimator._dtype in (np.float32, np.float64), f"_dtype is {estimator._dtype!r}")
    flat = estimator._one_dimensional
    _require(flat is False or (flat is True and n_genes == 1), f"_one_dimensional is {flat!r}")


def _check_names(names, what):
    is_array = isinstance(names, np.ndarray)
    _require(is_array and names.ndim == 1 and names.dtype.kind == "U", f"{what} are no names")


def _check_method(method):
    """Let the module embed and decode one spot of zeros: then its layers fit each other."""
    featurizer = getattr(method, "featurizer_", None)
    if featurizer is None:
        n_features = getattr(method, "n_features_in_", None)
    else:
        n_features = getattr(featurizer, "n_features_out_", None)
    module, retriever = method.module_, getattr(method, "retriever_", None)
    if n_features is None:  # a Pipeline does not say how many it makes
        return
    positions = None if getattr(module, "position", None) is None else torch.zeros(1, 2).long()
    spot = SpotBatch(torch.zeros(1, n_features), positions=positions)
    try:
        with isolated_seed(0), torch.no_grad():
            embedded = module.embed_image(spot)
            decoded = module.decode(spot) if hasattr(module, "decode") else None
    except Exception as error:  # of any layer, by what it meets
        raise InputError(
            f"the layers of module_ do not fit each other, or {n_features} features: {error}"
        ) from error
    width = None if retriever is None else getattr(retriever, "n_features_in_", embedded.shape[1])
    _require(
        embedded.shape == (1, width or embedded.shape[1]),
        f"module_ embeds in {tuple(embedded.shape)[1:]} dimensions, retriever_ searches in {width}",
    )
    _require(
        decoded is None or decoded.shape == (1, method.n_outputs_),
        f"module_ does not decode {method.n_outputs_} genes",
    )


def _check_retriever(retriever):
    if not hasattr(retriever, "embeddings_"):
        return
    vectors, targets = retriever.embeddings_, retriever.targets_
    _require(
        isinstance(vectors, np.ndarray) and vectors.dtype == np.float32 and vectors.ndim == 2,
        "embeddings_ are no matrix of float32",
    )
    _require(vectors.shape[1] == retriever.n_features_in_, "embeddings_ have another width")
    matrix = isinstance(targets, np.ndarray) or issparse(targets)
    _require(matrix, "targets_ are neither an array nor a sparse matrix")
    _require(
        targets.shape == (len(vectors), retriever.n_outputs_),
        f"targets_ have shape {targets.shape} beside {len(vectors)} embeddings_ and "
        f"{retriever.n_outputs_} genes",
    )


def _check_expression(transformer):
    for name in ("genes_", "all_genes_"):
        if hasattr(transformer, name):
            _check_names(getattr(transformer, name), name)


def _check_arguments(arguments, what):
    reads = sorted(_READS & set(arguments or ()))
    _require(not reads, f"{what} holds {reads}, which would read a file or ask a hub")


def _check_backbone(spec):
    # "hf-hub:..." would ask a hub, whatever the weights.
    plain = isinstance(spec.architecture, str) and re.fullmatch(r"\w+", spec.architecture)
    _require(plain, f"architecture {spec.architecture!r} is no plain name of timm's")
    config = spec.config
    _require(type(config) is dict and type(spec.model_args) is dict, "its settings are no dicts")
    _check_arguments(spec.model_args, "model_args")
    for name in ("hf_hub_id", "hf_hub_filename"):
        value = config.get(name)
        plain = value is None or (isinstance(value, str) and re.fullmatch(_ON_HUB, value))
        _require(plain and ".." not in (value or ""), f"{name} {value!r} is no name on a hub")
    _require(config.get("file") is None, "config names a file of weights")
    # What comes from an address is kept for all models under its last name.
    if config.get("url") and not config.get("hf_hub_id"):
        known = _addresses(spec.architecture)
        _require(config["url"] in known, f"timm does not have the address {config['url']!r}")


def _addresses(architecture):
    """Where timm has the weights of an architecture from."""
    import timm
    from timm.models import get_pretrained_cfg

    return [get_pretrained_cfg(name).url for name in timm.list_pretrained(f"{architecture}.*")]


def _check_timm(featurizer):
    _check_arguments(featurizer.model_kwargs, "model_kwargs")
    config = getattr(featurizer, "data_config_", None)
    if config is None:
        return
    size = config["input_size"]
    small = all(type(side) is int and 0 < side <= _MOST_PIXELS for side in size)
    _require(len(size) == 3 and size[0] == 3 and small, f"input_size is {size!r}")
    _check_sides(featurizer.patch_shape_)
    n_features = featurizer.n_features_out_
    _require(type(n_features) is int and n_features > 0, f"n_features_out_ is {n_features!r}")


def _check_sides(shape):
    sides = isinstance(shape, tuple) and all(type(side) is int and side > 0 for side in shape)
    _require(sides and len(shape) == 2, f"a shape of patches is {shape!r}")


def _check_patches(patches):
    _check_sides(patches.shape)
    for name, most in (("mpp", 3), ("detail", 2)):
        value = getattr(patches, name)
        numbers = isinstance(value, tuple) and all(type(v) is float and v > 0 for v in value)
        _require(value is None or (numbers and len(value) == most), f"{name} is {value!r}")
    colours = patches.colours
    _require(isinstance(colours, np.ndarray) and colours.shape[1:] == (6,), "colours are no table")


def _check_stain(stain):
    reference = getattr(stain, "reference_", getattr(stain, "reference", None))
    shape = (2, 3) if stain.method == "reinhard" else (2, 4)
    known = reference is None or (reference.shape == shape and np.isfinite(reference).all())
    _require(known, f"the reference colours of {stain.method!r} are no array of shape {shape}")


def _check_members(members):
    width = members.linear.rotations_.shape[0]
    widths = {width, *(head.n_features_in_ for head in members.heads)}
    _require(len(widths) == 1, f"heads take {sorted(widths)} components")
    genes = {len(members.linear.loadings_), *(head.n_outputs_ for head in members.heads)}
    _require(len(genes) == 1, f"heads predict {sorted(genes)} genes")
    zeros = np.zeros((1, members.space.n_features_in_))
    made = np.asarray(members.space.transform(zeros)).shape[1]
    _require(made == width, f"space makes {made} components of {width}")


def _check_combination(combination):
    genes = len(combination.spread_.level_)
    quantiles, levels = combination.intervals_.quantiles_, combination.intervals_.levels_
    _require(quantiles.shape == (len(levels), genes), "intervals_ are of other genes than spread_")
    asked = {"search", "ranks", "mixing", "smoothing"}
    _require(set(combination.settings_) == asked, f"settings_ are not {sorted(asked)}")


def _check_ensemble(ensemble):
    if not hasattr(ensemble, "members_"):
        return
    for part in (ensemble.members_, *ensemble.own_members_.values()):
        _require(
            part.heads[0].n_outputs_ == ensemble.n_outputs_,
            f"members predict {part.heads[0].n_outputs_} genes of {ensemble.n_outputs_}",
        )
    for combination in (ensemble.new_, ensemble.known_):
        _require(len(combination.spread_.level_) == ensemble.n_outputs_, "errors of other genes")


_OF_CLASS = {
    "histoexpr.featurizers.TimmFeaturizer": _check_timm,
    "histoexpr.featurizers.TrainingPatches": _check_patches,
    "histoexpr.featurizers._resolve.BackboneSpec": _check_backbone,
    "histoexpr.methods.ContrastiveEnsemble": _check_ensemble,
    "histoexpr.methods._combination.Combination": _check_combination,
    "histoexpr.methods._members.Members": _check_members,
    "histoexpr.preprocessing.ExpressionTransformer": _check_expression,
    "histoexpr.preprocessing.StainNormalizer": _check_stain,
    "histoexpr.preprocessing._stain._StainMap": _check_stain,
    "histoexpr.retrieval.SpotRetriever": _check_retriever,
}
