"""Data that the tests of this folder share."""

import numpy as np
import pytest

from histoexpr import SpotFeatures


@pytest.fixture(scope="session")
def small():
    """Three patients, two sections each: images and counts."""
    from histoexpr.datasets import make_spatial_expression

    return make_spatial_expression(
        3, 2, grid=(8, 8), n_genes=12, mpp=2.0, out_px=32, random_state=0
    )


@pytest.fixture(scope="session")
def sampled(small):
    """The same, the mean colours of a patch for features."""
    images, adata = small
    colours = np.asarray(images).mean(axis=(1, 2)) / 255
    blurred = np.asarray(images)[:, 8:24, 8:24].std(axis=(1, 2)) / 255
    return SpotFeatures.of(images, np.hstack([colours, blurred])), adata
