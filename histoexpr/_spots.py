"""Spots on their way into a module and out of it: what `base` does with arrays."""

import copy

import numpy as np
import torch

from ._types import SpotBatch

_BLOCK = 8192  # spots embedded at a time; rows do not depend on it


def spot_batch(features, images=None, **described):
    """Arrays as a SpotBatch."""
    features = np.ascontiguousarray(features, dtype=np.float32)
    return SpotBatch(
        torch.tensor(features),
        images=images,
        **{k: None if v is None else torch.tensor(v) for k, v in described.items()},
    )


def blocks(spots):
    """Spots in batches of bounded size, for what looks at each spot alone."""
    return [spots[i : i + _BLOCK] for i in range(0, len(spots), _BLOCK)]


@torch.no_grad()
def run(function, batches, rows=None):
    """What a function of a SpotBatch gives for all spots: ndarray, float32, in their order."""
    out = torch.cat([function(batch).float() for batch in batches]).numpy()
    if rows is None:
        return out
    in_order = np.empty_like(out)
    in_order[np.concatenate(rows)] = out
    return in_order


def exact(module):
    """A copy in float64: rounded to float32, what it gives does not depend on the batch.

    Products of matrices in float32 differ in their last digits with the number of rows.
    """
    return copy.deepcopy(module).double()


def grid_shape(positions):
    """Rows that the two position tables need: one more than the largest position."""
    return None if positions is None else tuple(int(n) + 1 for n in positions.max(axis=0))


def held_out_groups(target):
    """What early stopping holds out: patients, or sections when there is only one patient."""
    patient = target.patient
    return target.section if patient is None or len(np.unique(patient)) < 2 else patient


def seeded(collaborator, seed):
    """Give a collaborator, and what is inside it, the seed of the method where it has none."""
    parameters = collaborator.get_params() if hasattr(collaborator, "get_params") else {}
    unset = [
        name
        for name, value in parameters.items()
        if name.rpartition("__")[2] == "random_state" and value is None
    ]
    return collaborator.set_params(**dict.fromkeys(unset, seed)) if unset else collaborator
