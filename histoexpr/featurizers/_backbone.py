"""A network with the preprocessing and the pooling that belong to it: uint8 in, features out."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..exceptions import InputError

POOLINGS = ("avg", "cls", "cls+mean", "stages")
_MOST_STAGES = 5  # of networks that give a map after every block, as many, evenly spaced


class Backbone(nn.Module):
    """A network together with the preprocessing and the pooling that belong to it.

    Parameters
    ----------
    model : Module
        A timm model without classifier.
    config : dict
        ``input_size`` (3, height, width), ``mean``, ``std`` (of pixels in 0..1) and
        ``interpolation``.
    pooling : {"avg", "cls", "cls+mean", "stages"} or None
        See TimmFeaturizer.
    """

    def __init__(self, model, config, pooling=None):
        super().__init__()
        self.model = model
        self.pooling = pooling
        self.size = tuple(config["input_size"][1:])
        self.mode = "bilinear" if config["interpolation"] == "bilinear" else "bicubic"
        for name in ("mean", "std"):  # of pixels in 0..255, so that scaling costs nothing
            values = 255 * torch.tensor(config[name], dtype=torch.float32)
            # One for each number of a row of pixels: six times as fast as three for each pixel.
            self.register_buffer(name, values.repeat(self.size[1]), persistent=False)

    def preprocess(self, images):
        """Resize whole patches to the network's size and standardise them.

        Parameters
        ----------
        images : Tensor of shape (n, height, width, 3), dtype uint8

        Returns
        -------
        Tensor of shape (n, 3, *size), dtype float32, channels last in memory
        """
        pixels = images.permute(0, 3, 1, 2).float()
        if pixels.shape[-2:] != self.size:
            pixels = F.interpolate(pixels, self.size, mode=self.mode, antialias=True)
            pixels = pixels.clamp_(0, 255)  # bicubic overshoots
        rows = pixels.permute(0, 2, 3, 1).flatten(2)
        rows = rows.sub_(self.mean).div_(self.std)
        return rows.unflatten(2, (-1, 3)).permute(0, 3, 1, 2)

    def forward(self, images):
        """Features, (n, n_features), of uint8 patches (n, height, width, 3)."""
        pixels = self.preprocess(images)
        if self.pooling is None:
            return self.model(pixels)
        if self.pooling == "stages":
            return self._every_stage(pixels)
        maps = self.model.forward_features(pixels)
        if maps.ndim == 4:
            return maps.mean((1, 2) if _channels_last(self.model) else (2, 3))
        own_norm = getattr(self.model, "fc_norm", None) or nn.Identity()
        patches = maps[:, getattr(self.model, "num_prefix_tokens", 0) :]
        parts = {"cls": maps[:, 0], "avg": patches.mean(1), "mean": patches.mean(1)}
        return torch.cat([own_norm(parts[name]) for name in self.pooling.split("+")], dim=1)

    def extra_repr(self):
        mean, std = self.mean[:3].tolist(), self.std[:3].tolist()
        return f"{self.size}, {self.mode}, mean={mean}, std={std}, pooling={self.pooling!r}"

    def _every_stage(self, pixels):
        """Mean and deviation of the map after each stage."""
        _, stages = self.model.forward_intermediates(pixels, output_fmt="NCHW")
        chosen = np.linspace(0, len(stages) - 1, min(len(stages), _MOST_STAGES)).round()
        parts = []
        for i in chosen:
            deviation, mean = torch.std_mean(stages[int(i)].float(), dim=(2, 3), correction=0)
            parts += [mean, deviation]
        return torch.cat(parts, dim=1)


def _channels_last(model):
    return str(getattr(model, "output_fmt", "NCHW")).endswith("NHWC")


def check_pooling(model, pooling):
    """Refuse a pooling for which a network lacks the class token, or the way to its stages."""
    if pooling == "stages" and not hasattr(model, "forward_intermediates"):
        raise InputError(
            f"pooling='stages' needs the maps between the stages, which timm does not give for "
            f"{type(model).__name__}; use pooling='avg' or None."
        )
    token = getattr(model, "has_class_token", getattr(model, "cls_token", None) is not None)
    if pooling in ("cls", "cls+mean") and not token:
        raise InputError(
            f"pooling={pooling!r} needs a class token, which {type(model).__name__} does not "
            "have; use pooling='avg' or None."
        )
