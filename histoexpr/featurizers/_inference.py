"""A backbone as it computes fastest: the same features, and nothing to train."""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn.utils import fuse_conv_bn_weights

from ..utils._torch import autocast, sent

# Pixels computed at once by a processor, e.g. 8 patches of 224 px in bfloat16: so many keep its
# threads busy, while the maps between the layers mostly stay in its cache. Memory of more than
# 32 MB is asked of the system anew for each map, which takes longer than many a layer.
_PIXELS_AT_ONCE = {"bfloat16": 8 * 224**2, "float32": 4 * 224**2}
_FEW_WEIGHTS = 32  # of a channel: their errors do not average out
_SCALES = torch.linspace(1, 2, 65)[:-1]
_ROUNDING = 1e-4  # by which float32 features may move, in parts of their norm, on the way


def inference_copy(backbone, precision):
    """A copy of a backbone that computes the same features, faster, and cannot be trained.

    Maps lie in memory with channels last. In float32, BatchNorm layers become a part of the
    convolutions before them. In bfloat16 they stay, and compute in float32, which is worth more
    than it costs: the shift of a channel, rounded, would move all of its map. Weights are
    converted once, those that autocast would convert for every batch.

    Parameters
    ----------
    backbone : Backbone
    precision : {"float32", "bfloat16"}

    Returns
    -------
    Backbone
        On the CPU, in evaluation mode, to be run by `compute`.
    """
    ready = copy.deepcopy(backbone).cpu().eval().requires_grad_(False)
    if precision == "float32":
        return _with_pairs(_merge, ready).to(memory_format=torch.channels_last)
    ready = _with_pairs(_rescale, ready).to(memory_format=torch.channels_last)
    for layer in ready.modules():
        if type(layer) in (*_convolutions(), nn.Linear):  # others may reckon with their weights
            layer.to(torch.bfloat16)
    return ready


def compute(backbone, patches, device, precision):
    """Features of patches that are in memory.

    Parameters
    ----------
    backbone : Backbone
        As `inference_copy` gives it, on the device.
    patches : ndarray of shape (n, height, width, 3), dtype uint8
        Writable.
    device : torch.device
    precision : {"float32", "bfloat16"}

    Returns
    -------
    ndarray of shape (n, n_features), dtype float32
        Those of a patch do not depend on the others: in float32 up to rounding, in bfloat16 to
        the bit (seen with 1, 2 and 16 threads, and with AVX-512 and AVX2, for convolutional
        networks and transformers), so batches need not be filled up.
    """
    n_at_once = len(patches)
    if device.type == "cpu":
        n_at_once = _PIXELS_AT_ONCE[precision] // (backbone.size[0] * backbone.size[1])
        n_at_once = max(n_at_once, torch.get_num_threads())
    with torch.no_grad(), autocast(device, precision):
        parts = torch.from_numpy(patches).split(n_at_once)
        return torch.cat([backbone(sent(part, device)).float().cpu() for part in parts]).numpy()


def _with_pairs(change, backbone):
    """A backbone with its pairs of convolution and BatchNorm changed; as it was, if it must be."""
    norms = _batch_norms()
    if not any(type(layer) in norms for layer in backbone.modules()):
        return backbone
    changed = copy.deepcopy(backbone)
    noise = np.random.default_rng(0).integers(0, 256, (1, *backbone.size, 3), dtype=np.uint8)
    with torch.no_grad():
        expected, pairs = _follow(changed, torch.from_numpy(noise))
        names = {layer: name for name, layer in changed.named_modules()}
        for convolution, norm in pairs:
            parent, _, own = names[norm].rpartition(".")
            setattr(changed.get_submodule(parent), own, change(convolution, norm))
        # A map may go elsewhere, too, before it is normalised; then features are others.
        deviation = (changed(torch.from_numpy(noise)) - expected).norm()
    return changed if deviation <= _ROUNDING * expected.norm() else backbone


def _follow(backbone, images):
    """Features, and pairs of a convolution and the BatchNorm that is given what it made."""
    convolutions, norms = _convolutions(), _batch_norms()
    made, pairs = {}, []

    def note(layer, given, output):
        if type(layer) in convolutions:
            made[id(output)] = layer, output  # kept, so that no other map takes its id
        elif type(layer) in norms and layer.track_running_stats and id(given[0]) in made:
            pairs.append((made[id(given[0])][0], layer))

    hooks = [layer.register_forward_hook(note) for layer in backbone.modules()]
    try:
        return backbone(images), pairs
    finally:
        for hook in hooks:
            hook.remove()


def _merge(convolution, norm):
    """Let a convolution normalise, too; what is left of the norm is its activation."""
    statistics = norm.running_mean, norm.running_var, norm.eps
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, *statistics, norm.weight, norm.bias
    )
    return getattr(norm, "act", nn.Identity())


def _rescale(convolution, norm):
    """Scale the few weights of each channel so that rounding changes them least.

    The norm takes the scales back. What counts is each weight, and their sum: maps are smooth.
    """
    weights = convolution.weight.flatten(1)
    if weights.shape[1] > _FEW_WEIGHTS or norm.weight is None:
        return norm
    scaled = weights * _SCALES.reshape(-1, 1, 1)
    errors = scaled.bfloat16().float() / _SCALES.reshape(-1, 1, 1) - weights
    scale = _SCALES[(errors.square().sum(2) + errors.sum(2).square()).argmin(0)]
    convolution.weight.mul_(scale.reshape(-1, 1, 1, 1))
    if convolution.bias is not None:
        convolution.bias.mul_(scale)
    norm.running_mean.mul_(scale)
    norm.weight.div_(scale)
    return norm


def _convolutions():
    """Types of convolutions that use their weights as they are."""
    from timm.layers import Conv2dSame

    return nn.Conv2d, Conv2dSame


def _batch_norms():
    """Types of BatchNorm layers that do nothing else, except for an activation ``act``."""
    from timm.layers import BatchNormAct2d

    return nn.BatchNorm2d, BatchNormAct2d
