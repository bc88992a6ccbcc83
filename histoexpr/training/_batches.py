"""How an epoch is cut into batches: spots drawn at random, or whole sections."""

from dataclasses import replace

import torch

from ..utils._torch import sent


class SpotBatches:
    """Spots in batches of a size, drawn anew each epoch.

    Parameters
    ----------
    data : SpotBatch
        All spots.
    batch_size : int
    """

    def __init__(self, data, batch_size):
        self.data = data
        self.batch_size = int(batch_size)  # torch splits by no integer of NumPy

    def __len__(self):
        return len(self.data)

    def epoch(self, generator):
        """Every spot once, in the order that a torch.Generator draws."""
        order = torch.randperm(len(self.data), generator=generator)
        tensors, images = replace(self.data, images=None), self.data.images
        indices = sent(order, tensors.features.device).split(self.batch_size)
        for index, rows in zip(indices, order.split(self.batch_size)):
            part = tensors[index]
            yield part if images is None else replace(part, images=images[rows])

    def take(self, index):
        """Those spots alone."""
        return SpotBatches(self.data[torch.as_tensor(index, dtype=torch.int64)], self.batch_size)

    def to(self, device):
        """The same on another device."""
        return SpotBatches(self.data.to(device), self.batch_size)

    def values(self):
        """All tensors and images, for a fingerprint of the data."""
        return _values(self.data)


class SectionBatches:
    """Sections (or tiles of large ones), each a batch, in a new order each epoch.

    Parameters
    ----------
    parts : list of SpotBatch
    """

    def __init__(self, parts):
        self.parts = list(parts)

    def __len__(self):
        return len(self.parts)

    def epoch(self, generator):
        """Every section once, in the order that a torch.Generator draws."""
        for index in torch.randperm(len(self.parts), generator=generator):
            yield self.parts[index]

    def take(self, index):
        """Those sections alone."""
        return SectionBatches([self.parts[i] for i in index])

    def to(self, device):
        """The same on another device."""
        return SectionBatches([part.to(device) for part in self.parts])

    def values(self):
        """All tensors and images, for a fingerprint of the data."""
        return [value for part in self.parts for value in _values(part)]


def _values(batch):
    return [value for value in vars(batch).values() if value is not None]
