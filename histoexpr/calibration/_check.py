"""What the models of this folder are given: arrays of the same spots and genes."""

import numpy as np

from ..exceptions import InputError
from ..utils._sklearn import check_array


def check_same_shape(**arrays):
    """Finite float arrays of shape (n_spots, n_genes), all of one shape, in the order given."""
    checked = [
        check_array(values, dtype=[np.float64, np.float32], input_name=name)
        for name, values in arrays.items()
    ]
    shapes = {name: values.shape for name, values in zip(arrays, checked)}
    if len(set(shapes.values())) > 1:
        raise InputError(f"the arrays must be of the same spots and genes; got shapes {shapes}.")
    return checked


def check_genes(n_genes, fitted):
    """Refuse arrays of other genes than those of the fit."""
    if n_genes != fitted:
        raise InputError(f"got {n_genes} genes, but {fitted} were fitted.")
