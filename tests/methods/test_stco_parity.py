"""STco against what the released layers give for the parameters and inputs of a file."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, safe_open

from histoexpr import SpotRetriever, STco
from histoexpr._types import SpotBatch

TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}

# The released layers' names, and ours.
NAMES = {
    "image_projection.projection": "image_encoder.projection",
    "image_projection.fc": "image_encoder.hidden",
    "image_projection.layer_norm": "image_encoder.norm",
    "spot_projection.projection": "spot_encoder.head.projection",
    "spot_projection.fc": "spot_encoder.head.hidden",
    "spot_projection.layer_norm": "spot_encoder.head.norm",
    "x_embed": "spot_encoder.position.col",
    "y_embed": "spot_encoder.position.row",
}


def parity_file():
    folder = os.environ.get("HISTOEXPR_PARITY")
    if folder is None and os.environ.get("HISTOEXPR_SHARED"):
        folder = Path(os.environ["HISTOEXPR_SHARED"]) / "parity"
    if folder is None:
        pytest.skip("parity files: set HISTOEXPR_SHARED or HISTOEXPR_PARITY to their folder")
    return Path(folder) / "stco.safetensors"


@pytest.fixture(scope="module")
def released():
    path = parity_file()
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
    return config, load_file(path)


@pytest.fixture(scope="module")
def module(released):
    config, tensors = released
    grid_shape = (len(tensors["param.x_embed.weight"]), len(tensors["param.y_embed.weight"]))
    stco = STco(
        featurizer=None,
        projection_dim=config["projection_dim"],
        temperature=config["temperature"],
    )
    module = stco._make_module(config["image_dim"], config["n_genes"], grid_shape).eval()
    own = {}
    for name, value in tensors.items():
        if name.startswith("param."):
            layer, _, kind = name.removeprefix("param.").rpartition(".")
            own[f"{NAMES[layer]}.{kind}"] = value
    module.load_state_dict(own, strict=True)
    return module


@pytest.fixture(scope="module")
def batch(released):
    _, tensors = released
    return SpotBatch(
        tensors["image_features"], tensors["expression"], tensors["position"].long()
    )


def test_parity_of_embeddings_and_loss(released, module, batch):
    _, tensors = released
    images = module.embed_image(batch).detach()
    spots = module.embed_spot(batch).detach()
    np.testing.assert_allclose(images, tensors["image_embedding"], **TOLERANCE)
    np.testing.assert_allclose(spots, tensors["spot_embedding"], **TOLERANCE)
    np.testing.assert_allclose(module(batch).loss.detach(), tensors["loss"][0], **TOLERANCE)
    queries = module.embed_image(SpotBatch(tensors["query_image_features"])).detach()
    np.testing.assert_allclose(queries, tensors["query_embedding"], **TOLERANCE)


def test_parity_of_retrieval(released, module, batch):
    config, tensors = released
    retriever = STco()._default_retriever().set_params(n_neighbors=config["k"])
    assert isinstance(retriever, SpotRetriever)
    retriever.fit(module.embed_spot(batch).detach().numpy(), tensors["expression"].numpy())
    queries = module.embed_image(SpotBatch(tensors["query_image_features"])).detach().numpy()
    neighbors = retriever.kneighbors(queries, return_distance=False)
    np.testing.assert_array_equal(neighbors, tensors["neighbors"])
    weights = tensors["weights"] / tensors["weights"].sum(1, keepdim=True)
    np.testing.assert_allclose(retriever.neighbor_weights(queries), weights, **TOLERANCE)
    np.testing.assert_allclose(retriever.predict(queries), tensors["predicted"], **TOLERANCE)
