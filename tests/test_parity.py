"""Every method against what the released layers give for the parameters and inputs of a file.

HISTOEXPR_PARITY names the folder of files (default: ``parity`` in HISTOEXPR_SHARED). Sizes come
from each file's own config, so that files of other sizes, seeds and fusions go the same way.
"""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, safe_open

from histoexpr import GR2ST, MclSTExp, STco, StInfer
from histoexpr._types import SpotBatch
from histoexpr.nn import Reg2STModule, spatial_edges
from histoexpr.retrieval._weights import weighted_expression

TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}

HEAD = {"projection": "projection", "fc": "hidden", "layer_norm": "norm"}
DUAL = {
    **{f"image_projection.{old}": f"image_encoder.{new}" for old, new in HEAD.items()},
    **{f"spot_projection.{old}": f"spot_encoder.head.{new}" for old, new in HEAD.items()},
    "x_embed": "spot_encoder.position.col",
    "y_embed": "spot_encoder.position.row",
}
BLOCK = r"spot_encoder\.(\d+)\."
OWN_BLOCK = r"spot_encoder.context.blocks.\1."
LAYER = r"decoder\.layers\.(\d+)\."
OWN_LAYER = r"decoder.blocks.\1."

# The released layers' names (patterns) and ours, for each method; None takes no part.
NAMES = {
    "stco": DUAL,
    "mclstexp": {
        **DUAL,
        BLOCK + r"attn\.norm": OWN_BLOCK + "attention_norm",
        BLOCK + r"attn\.fn\.to_out\.0": OWN_BLOCK + "attention.output",
        BLOCK + r"ff\.norm": OWN_BLOCK + "feed_forward_norm",
        BLOCK + r"ff\.fn\.net\.0": OWN_BLOCK + "feed_forward.0",
        BLOCK + r"ff\.fn\.net\.3": OWN_BLOCK + "feed_forward.2",
    },
    "gr2st": {
        **DUAL,
        r"cell_type_embed\.0": "spot_encoder.cell_type.table",
        r"cell_type_embed\.1": "spot_encoder.cell_type.linear",
        r"cell_type_embed\.3": "spot_encoder.cell_type.norm",
        "dynamic_head_proj": "spot_encoder.functional_head",
        "dynamic_tail_proj": "spot_encoder.functional_tail",
        "spatial_proj": "spot_encoder.spatial_input",
        r"dynamic_gat\.lin": "spot_encoder.functional_graph.linear",
        r"dynamic_gat\.att_src": "spot_encoder.functional_graph.source",
        r"dynamic_gat\.att_dst": "spot_encoder.functional_graph.target",
        "dynamic_gat": "spot_encoder.functional_graph",
        r"spatial_gat\.lin": "spot_encoder.spatial_graph.linear",
        r"spatial_gat\.att_src": "spot_encoder.spatial_graph.source",
        r"spatial_gat\.att_dst": "spot_encoder.spatial_graph.target",
        "spatial_gat": "spot_encoder.spatial_graph",
        r"fusion_layer\.(\d)": r"spot_encoder.fused.\1",
    },
    "reg2st": {
        r"image_encoder\.(\d)": r"image_encoder.\1",
        r"gene_proj\.0": "image_projection.0",
        r"gene_proj\.2": "image_projection.3",
        r"gene_linear\.(\d)": r"gene_encoder.\1",
        r"gene_head\.(\d)": r"expression_head.\1",
        "logit_scale": "log_scale",
        "embed_x": "position.col",
        "embed_y": "position.row",
        LAYER + r"residual_block\.0\.norm": OWN_LAYER + "attention_norm",
        LAYER + r"residual_block\.1\.norm": OWN_LAYER + "feed_forward_norm",
        LAYER + r"cross_attention_block\.w_q": OWN_LAYER + "attention.query",
        LAYER + r"cross_attention_block\.w_k": OWN_LAYER + "attention.key",
        LAYER + r"cross_attention_block\.w_v": OWN_LAYER + "attention.value",
        LAYER + r"cross_attention_block\.w_o": OWN_LAYER + "attention.output",
        LAYER + r"feed_forward_block\.linear_1": OWN_LAYER + "feed_forward.0",
        LAYER + r"feed_forward_block\.linear_2": OWN_LAYER + "feed_forward.2",
        LAYER + r"attention_block_1\.w_.": None,
        r"decoder\.norm": "norm",
        r"graph_layer\._fc1\.0": "graph.input",
        r"graph_layer\.W_head": "graph.head",
        r"graph_layer\.W_tail": "graph.tail",
        r"graph_layer\.linear1": "graph.sum",
        r"graph_layer\.linear2": "graph.product",
        r"graph_layer\.norm": "graph.norm",
        r"graph_layer\.fc": "graph.output",
        r"graph_layer\.(gate_.|readout\..*)": None,
        r"mean\.0": "zinb_head.mean",
        r"disp\.0": "zinb_head.dispersion",
        r"pi\.0": "zinb_head.dropout",
    },
}

INPUTS = {
    "image_features",
    "query_image_features",
    "expression",
    "position",
    "cell_type",
    "counts",
    "size_factors",
    "spatial_edge_index",
}


class Released:
    """A file: its config, inputs and outputs, and which outputs were compared."""

    def __init__(self, path):
        with safe_open(path, "pt") as file:
            self.config = json.loads(file.metadata()["config"])
        self.tensors = load_file(path)
        self.parameters = {
            name.removeprefix("param."): self.tensors.pop(name)
            for name in list(self.tensors)
            if name.startswith("param.")
        }
        self.outputs = set(self.tensors) - INPUTS

    @property
    def method(self):
        """By what only its layers have: a file may have any name."""
        found = [
            method
            for method, layer in {
                "reg2st": "graph_layer.W_head.weight",
                "gr2st": "dynamic_gat.lin.weight",
                "mclstexp": "spot_encoder.0.attn.fn.to_qkv.weight",
                "stco": "spot_projection.fc.weight",
            }.items()
            if layer in self.parameters
        ]
        return found[0] if found else "stinfer"

    @property
    def grid_shape(self):
        names = ("embed_x", "embed_y") if self.method == "reg2st" else ("x_embed", "y_embed")
        return tuple(len(self.parameters[f"{name}.weight"]) for name in names)

    def batch(self):
        inputs = {name: self.tensors.get(name) for name in INPUTS}
        return SpotBatch(
            inputs["image_features"],
            inputs["expression"],
            inputs["position"].long(),
            inputs["cell_type"],
            inputs["counts"],
            inputs["size_factors"],
            inputs["spatial_edge_index"],
        )

    def load(self, module):
        """The module with the released parameters, each of which has its place in it."""
        own, state = module.state_dict(), {}
        for name, value in self._split(self.parameters).items():
            name = self._own_name(name)
            if name is not None:
                state[name] = value.reshape(own[name].shape)
        module.load_state_dict(state, strict=True)
        return module.eval()

    def _split(self, parameters):
        """Queries, keys and values, which mclSTExp holds in one matrix, one by one."""
        split = {}
        for name, value in parameters.items():
            block = re.fullmatch(BLOCK + r"attn\.fn\.to_qkv\.weight", name)
            if block is None:
                split[name] = value
            else:
                for part, rows in zip(("query", "key", "value"), value.chunk(3)):
                    split[block.expand(OWN_BLOCK + f"attention.{part}.weight")] = rows
        return split

    def _own_name(self, name):
        if name.startswith("spot_encoder.context."):
            return name
        for pattern, own in NAMES[self.method].items():
            match = re.fullmatch(rf"{pattern}(?P<kind>\.weight|\.bias)?", name)
            if match:
                return own and match.expand(own) + (match["kind"] or "")
        raise AssertionError(f"the parameter {name} has no place in our {self.method}")

    def check(self, name, value):
        expected = self.tensors[name]
        value = torch.as_tensor(value).detach().reshape(expected.shape).to(expected.dtype)
        torch.testing.assert_close(
            value, expected, **TOLERANCE, msg=lambda text: f"{name} differs. {text}"
        )
        self.outputs.remove(name)


def check_embeddings(released, module, batch):
    released.check("image_embedding", module.embed_image(batch))
    released.check("spot_embedding", module.embed_spot(batch))
    released.check("loss", module(batch).loss)


def check_retrieval(released, module, batch, retriever):
    retriever.set_params(n_neighbors=released.config["k"])
    retriever.fit(module.embed_spot(batch).detach().numpy(), batch.expression.numpy())
    queries = module.embed_image(SpotBatch(released.tensors["query_image_features"])).detach()
    released.check("query_embedding", queries)
    released.check("neighbors", retriever.kneighbors(queries.numpy(), return_distance=False))
    released.check("weights", retriever.neighbor_weights(queries.numpy()))
    released.check("predicted", retriever.predict(queries.numpy()))


def made_by(estimator, released):
    """The module that an estimator trains, with the released parameters."""
    sizes = released.config["image_dim"], released.config["n_genes"]
    return released.load(estimator._make_module(*sizes, released.grid_shape))


def check_stco(released):
    config, batch = released.config, released.batch()
    stco = STco(None, projection_dim=config["projection_dim"], temperature=config["temperature"])
    module = made_by(stco, released)
    check_embeddings(released, module, batch)
    check_retrieval(released, module, batch, stco._default_retriever())


def check_mclstexp(released):
    config, batch = released.config, released.batch()
    mclstexp = MclSTExp(
        None,
        projection_dim=config["projection_dim"],
        n_layers=config["layers"],
        n_heads=config["heads"],
        head_dim=config["head_dim"],
        temperature=config["temperature"],
    )
    module = made_by(mclstexp, released)
    check_embeddings(released, module, batch)
    check_retrieval(released, module, batch, mclstexp._default_retriever())


def lengths(edges, positions):
    """(spot, squared length) of each edge, sorted."""
    squares = (positions[edges[0]] - positions[edges[1]]).square().sum(dim=1)
    return sorted(zip(edges[0].tolist(), squares.tolist()))


def check_gr2st(released):
    config, batch = released.config, released.batch()
    gr2st = GR2ST(
        None,
        projection_dim=config["projection_dim"],
        n_heads=config["heads"],
        graph_neighbors=config["dynamic_topk"],
        fusion=config["fusion"],
        temperature=config["temperature"],
    )
    gr2st.cell_types_ = range(config["n_cell_types"])  # what fit reads from the data
    module = made_by(gr2st, released)
    edges = module.spot_encoder.functional_edges(batch)
    assert set(map(tuple, edges.T.tolist())) == set(
        map(tuple, released.tensors["dynamic_edge_index"].T.tolist())
    )
    released.outputs.remove("dynamic_edge_index")
    # which of several equally near spots is taken differs; how near they are does not
    own = spatial_edges(batch.positions, config["spatial_topk"])
    assert lengths(own, batch.positions) == lengths(batch.edges, batch.positions)
    check_embeddings(released, module, batch)
    check_retrieval(released, module, batch, gr2st._default_retriever())


def check_reg2st(released):
    config, batch = released.config, released.batch()
    # made here and not by the estimator, which leaves two of the widths as they are
    module = released.load(
        Reg2STModule(
            config["image_dim"],
            config["n_genes"],
            released.grid_shape,
            config["hidden_dim"],
            n_layers=config["decoder_layers"],
            n_heads=config["decoder_heads"],
            feed_forward_dim=config["decoder_mlp_dim"],
            gene_dim=len(released.parameters["gene_linear.0.bias"]),
            n_partners=config["wikg_topk"],
        )
    )
    released.check("image_encoding", module.encode_image(batch))
    released.check("image_projection", module.embed_image(batch))
    released.check("spot_embedding", module.embed_spot(batch))
    released.check("logits_per_image", module.contrastive_logits(batch))
    released.check("predicted", module.decode(batch))
    zinb = module.zinb(batch)
    released.check("zinb_mean", zinb.mean)
    released.check("zinb_dispersion", zinb.dispersion)
    released.check("zinb_dropout", zinb.dropout_logits.sigmoid())
    output = module(batch)
    released.check("loss", output.loss)
    for name, term in output.terms.items():
        released.check(f"loss_{name}", term)


def check_stinfer(released):
    retriever = StInfer()._default_retriever().set_params(n_neighbors=released.config["k"])
    retriever.fit(released.tensors["image_features"], released.tensors["expression"])
    queries = released.tensors["query_image_features"]
    distances, neighbors = retriever.kneighbors(queries)
    # The release's sum is over all queries, which makes a prediction depend on its company.
    pooled = (1 - distances / distances.sum()) / distances.shape[1]
    released.check("predicted", weighted_expression(retriever.targets_, neighbors, pooled))
    # Ours is the same formula a query at a time, renormalised.
    own = 1 - distances / distances.sum(axis=1, keepdims=True)
    own /= own.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(retriever.neighbor_weights(queries), own, **TOLERANCE)


CHECKS = {
    "stco": check_stco,
    "mclstexp": check_mclstexp,
    "gr2st": check_gr2st,
    "reg2st": check_reg2st,
    "stinfer": check_stinfer,
}


def cases():
    """The files, one case each; a single case without a file when there are none."""
    folder, shared = os.environ.get("HISTOEXPR_PARITY"), os.environ.get("HISTOEXPR_SHARED")
    if not folder and shared:
        folder = Path(shared, "parity")
    files = sorted(Path(folder).glob("*.safetensors")) if folder else []
    return [pytest.param(file, id=file.stem) for file in files] or [
        pytest.param(None, id="no-files")
    ]


@pytest.mark.parametrize("file", cases())
def test_parity(file):
    if file is None:
        named = os.environ.get("HISTOEXPR_PARITY")
        if named:
            pytest.fail(f"HISTOEXPR_PARITY={named} holds no .safetensors file")
        pytest.skip("parity files: set HISTOEXPR_SHARED, or HISTOEXPR_PARITY to their folder")
    released = Released(file)
    CHECKS[released.method](released)
    assert not released.outputs, f"{sorted(released.outputs)} of {file.name} were not compared"
