"""A backbone in training: images in, the loss of a method out."""

import contextlib
import dataclasses
import math
import os
from collections import deque
from collections.abc import Iterator
from itertools import chain, islice

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from .._types import LossOutput, SpotBatch
from ..exceptions import InputError
from ..utils import computed_ahead
from ..utils._torch import sent

_MOST_THREADS = 8  # that read for a GPU


class EndToEnd(nn.Module):
    """A method's module behind the backbone that its features come from.

    Its batches hold images; the features of the batch are replaced by those of the images.

    Parameters
    ----------
    backbone : Module
        Maps uint8 images (n_spots, height, width, 3) to features (n_spots, n_features).
    module : Module
        Called with a SpotBatch, it returns a LossOutput.
    lr_scale : float, default=1.0
        Learning rate of the backbone over that of the module.
    freeze_batch_norm : bool, default=True
        Keep BatchNorm layers in evaluation mode: their statistics stay as they are.
    augment : callable, default=None
        Maps uint8 images (n, 3, height, width) to such images; in training mode only. Its
        draws are from torch's default generators.
    grad_checkpointing : bool, default=False
        Compute a batch in chunks, whose activations are computed again in the backward pass:
        memory is that of one chunk.
    chunk_size : int, default=32
        Images of a chunk. It bounds the memory in evaluation mode, too.
    """

    def __init__(
        self,
        backbone,
        module,
        *,
        lr_scale=1.0,
        freeze_batch_norm=True,
        augment=None,
        grad_checkpointing=False,
        chunk_size=32,
    ):
        super().__init__()
        self.backbone = backbone
        self.module = module
        self.lr_scale = lr_scale
        self.freeze_batch_norm = freeze_batch_norm
        self.augment = augment
        self.augment_name = repr(augment)  # in plain text: Trainer tells checkpoints apart by it
        self.grad_checkpointing = grad_checkpointing
        self.chunk_size = chunk_size

    def parameter_groups(self):
        """Parameters for an optimiser, those of the backbone with their ``lr_scale``."""
        return [
            {"params": list(self.module.parameters())},
            {"params": list(self.backbone.parameters()), "lr_scale": self.lr_scale},
        ]

    def read_ahead(self, batches):
        """The same batches, whose patches are read in threads while the network computes.

        One thread reads for a CPU, which has other work, several for a GPU; each is two chunks
        ahead at most. Nothing is drawn there, so results are, to the bit, those of batches that
        are read when they are computed.

        Parameters
        ----------
        batches : iterable of SpotBatch
            As `forward` takes them.

        Yields
        ------
        SpotBatch
            To be computed before the next is asked for; its patches can be had once.
        """
        waiting = deque()

        def parts():
            for batch in batches:
                chunks = self._chunks(len(batch))
                waiting.append((batch, len(chunks)))
                yield from ((batch.images, rows) for rows in chunks)

        on_gpu = next(self.parameters()).is_cuda
        n_threads = min(os.cpu_count() or 1, _MOST_THREADS) if on_gpu else 1
        ahead = computed_ahead(
            lambda part: _pixels(*part, pin=on_gpu),
            parts(),
            n_ahead=2 * n_threads,
            n_threads=n_threads,
        )
        with contextlib.closing(ahead) as pixels:
            for first in pixels:
                batch, n_chunks = waiting.popleft()
                images = chain([first], islice(pixels, n_chunks - 1))
                yield dataclasses.replace(batch, images=images)

    def forward(self, batch: SpotBatch) -> LossOutput:
        """The loss of a batch of images."""
        features = self._compute(batch)
        return self.module(dataclasses.replace(batch, features=features, images=None))

    def _compute(self, batch):
        device, sizes = batch.features.device, [len(rows) for rows in self._chunks(len(batch))]
        recompute = self.grad_checkpointing and torch.is_grad_enabled()
        chunks = self._read(batch.images, device)
        if self.training and not self.grad_checkpointing:
            chunks, sizes = [torch.cat(list(chunks))], [len(batch)]
        # Statistics of one image are none: a last feature map of one pixel has no deviation.
        learn = self.training and not self.freeze_batch_norm and min(sizes) > 1
        for layer in _batch_norms(self.backbone):
            layer.train(learn)
        features = []
        for pixels in map(self._change, chunks):
            features.append(
                checkpoint(self.backbone, pixels, use_reentrant=False, context_fn=self._contexts)
                if recompute
                else self.backbone(pixels)
            )
        return torch.cat(features).float()

    def _chunks(self, n_images):
        """Rows of the chunks that a batch is read in."""
        return np.array_split(np.arange(n_images), math.ceil(n_images / self.chunk_size))

    def _read(self, images, device):
        """Chunks of images as uint8 Tensors (n, height, width, 3) on the device."""
        begun = isinstance(images, Iterator)
        chunks = images if begun else (_pixels(images, rows) for rows in self._chunks(len(images)))
        return (sent(pixels, device) for pixels in chunks)

    def _change(self, pixels):
        """Images of a chunk, changed at random in training."""
        if self.augment is None or not self.training:
            return pixels
        pixels = pixels.permute(0, 3, 1, 2)
        changed = self.augment(pixels)
        if changed.dtype != torch.uint8 or changed.shape[:2] != pixels.shape[:2]:
            raise InputError(
                f"augment={self.augment!r} must return images like those it is given, "
                f"{tuple(pixels.shape)} uint8; it returned {tuple(changed.shape)} {changed.dtype}."
            )
        return changed.permute(0, 2, 3, 1)

    def _contexts(self):
        """For the first computation of a chunk, and for the second, in the backward pass."""
        return contextlib.nullcontext(), _no_statistics(self.backbone)


def _pixels(images, rows, pin=False):
    """Patches as a uint8 Tensor (n, height, width, 3); pinned, a GPU copies them by itself."""
    pixels = torch.from_numpy(np.require(np.asarray(images[rows]), requirements="W"))
    return pixels.pin_memory() if pin else pixels


def _batch_norms(backbone):
    return [layer for layer in backbone.modules() if isinstance(layer, _BatchNorm)]


@contextlib.contextmanager
def _no_statistics(backbone):
    """Let BatchNorm layers compute without counting what they see a second time."""
    layers = [m for m in _batch_norms(backbone) if m.training and m.track_running_stats]
    before = [(layer.momentum, layer.num_batches_tracked.clone()) for layer in layers]
    for layer in layers:
        layer.momentum = 0.0  # without running statistics, fewer tensors would be saved
    try:
        yield
    finally:
        for layer, (momentum, n_batches) in zip(layers, before):
            layer.momentum = momentum
            layer.num_batches_tracked.copy_(n_batches)
