"""Whether a network computes in bfloat16: a few patches show what it costs."""

import hashlib
import warnings
from collections import OrderedDict

import numpy as np

from ..data import SpotPatches
from ..utils._torch import computes_bfloat16
from ._inference import compute, inference_copy
from ._training_patches import MOST_SECTIONS, _evenly

MOST_ERROR, LEAST_COSINE = 0.06, 0.998  # of the worst patch
MOST_PATCHES = 8
_BLANK = 1e-3  # of the longest features, below which a patch has none to speak of
_MOST_KEPT = 256

_features = OrderedDict()  # of the patches seen in this process: in float32, and in bfloat16


def choose_precision(asked, backbone, X, device, weights_hash):
    """The precision to compute in, and what it was decided by.

    Parameters
    ----------
    asked : {"auto", "float32", "bfloat16"}
    backbone : Backbone
    X : SpotPatches or ndarray of shape (n_spots, height, width, 3), dtype uint8
    device : torch.device
    weights_hash : str

    Returns
    -------
    precision : {"float32", "bfloat16"}
    check : dict or None
        See TimmFeaturizer; None where nothing was to be decided.

    Warns
    -----
    UserWarning
        If bfloat16 is asked for, and moves features by more than "auto" takes.
    """
    if asked == "float32" or (asked == "auto" and not computes_bfloat16(device)):
        return "float32", None
    check = _measure(backbone, _sample(X), device, weights_hash)
    close = check["error"] <= MOST_ERROR and check["cosine"] >= LEAST_COSINE
    if asked == "bfloat16" and not close:
        warnings.warn(
            f"precision='bfloat16' was asked for, but of {check['n_patches']} patches it moves "
            f"features by up to {check['error']:.1%} of their norm, to a cosine of "
            f"{check['cosine']:.4f} with those in float32 ('auto' takes {MOST_ERROR:.0%} and "
            f"{LEAST_COSINE}). Use precision='float32', or 'auto', which takes float32 here.",
            stacklevel=6,
        )
    return "bfloat16" if close or asked == "bfloat16" else "float32", check


def compare(exact, rough):
    """How far features are from exact ones, of the worst patch.

    Parameters
    ----------
    exact, rough : ndarray of shape (n, n_features), dtype float32

    Returns
    -------
    dict
        ``error``, the norm of the difference over that of the exact features, and ``cosine``, of
        the worst of ``n_patches``: those whose exact features are not all but zero.
    """
    exact, rough = exact.astype(np.float64), rough.astype(np.float64)
    norm = np.linalg.norm(exact, axis=1)
    shown = norm > _BLANK * norm.max()
    if not (np.isfinite(rough).all() and shown.any()):
        return {"n_patches": int(shown.sum()), "error": np.inf, "cosine": 0.0}
    exact, rough, norm = exact[shown], rough[shown], norm[shown]
    error = np.linalg.norm(rough - exact, axis=1) / norm
    length = np.maximum(norm * np.linalg.norm(rough, axis=1), np.finfo(float).tiny)
    cosine = (exact * rough).sum(axis=1) / length
    return {
        "n_patches": len(norm), "error": float(error.max()), "cosine": float(cosine.min()),
    }  # fmt: skip


def _measure(backbone, patches, device, weights_hash):
    """`compare` of patches, each of which is computed once, alone: folds share most of theirs."""
    network = f"{weights_hash} {device.type} {backbone!r} {patches.shape[1:]}".encode()
    keys = [hashlib.sha256(network + patch.tobytes()).digest() for patch in patches]
    unknown = [row for row, key in enumerate(keys) if key not in _features]
    if unknown:
        exact, rough = (inference_copy(backbone, p).to(device) for p in ("float32", "bfloat16"))
        for row in unknown:
            patch = patches[row : row + 1]
            _features[keys[row]] = (
                compute(exact, patch, device, "float32")[0],
                compute(rough, patch, device, "bfloat16")[0],
            )
    exact, rough = (np.stack(rows) for rows in zip(*map(_features.get, keys)))
    while len(_features) > _MOST_KEPT:
        _features.popitem(last=False)
    return compare(exact, rough)


def _sample(X):
    """A few patches: one each of up to 8 sections, of fewer sections more."""
    section = X.section if isinstance(X, SpotPatches) else np.zeros(len(X))
    names = np.unique(section)
    names = names[_evenly(len(names), MOST_SECTIONS)]  # their images were read for their colours
    names = names[_evenly(len(names), MOST_PATCHES)]
    rows = []
    for name in names:
        mine = np.flatnonzero(section == name)
        n_rows = min(MOST_PATCHES // len(names), len(mine))
        rows.extend(mine[((np.arange(n_rows) + 0.5) * len(mine) / n_rows).astype(int)])
    return np.require(X[np.array(rows)], requirements="CW")
