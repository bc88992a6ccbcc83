"""Small fitted models of every kind, and the data that they predict from."""

import numpy as np
import pytest
from small_models import data, of_features, of_images

from histoexpr import SpotRetriever


@pytest.fixture(scope="session")
def small():
    """Images, features that know their spots, and counts of three small sections."""
    return data()


@pytest.fixture(scope="session")
def fitted(small):
    """Each kind of model, fitted, and the X of its predictions."""
    images, features, adata = small
    models = {name: (m.fit(features, adata), features) for name, m in of_features().items()}
    return models | {name: (m.fit(images, adata), images) for name, m in of_images().items()}


@pytest.fixture
def retriever():
    """The smallest model with arrays, fitted."""
    rng = np.random.default_rng(0)
    return SpotRetriever(3).fit(rng.normal(size=(8, 4)), rng.normal(size=(8, 2)))
