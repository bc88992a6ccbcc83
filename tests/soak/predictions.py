"""A hundred thousand spots at once: as good as in parts, and memory stays flat."""

import tempfile
import warnings
from pathlib import Path

import anndata
import numpy as np
from memory import Watch
from small_models import QUICK, timm
from writers import Colours

from histoexpr import (
    ContrastiveEnsemble,
    LinearProbe,
    MclSTExp,
    Reg2ST,
    SpotFeatures,
    SpotPatches,
    SpotRetriever,
    STco,
    StInfer,
    predict_slide,
)

N_SPOTS, N_TRAINING = 100_000, 1000
SECTION = 500  # spots
ROUNDS, WARM_UP = 6, 2
SIDE = 3200  # px of the slide, which gives a spot for each 10 x 10
TOLERANCE = 1e-5


def spots(n_spots, seed):
    """Features of sections of 25 x 20 spots."""
    rng = np.random.default_rng(seed)
    number = np.arange(n_spots)
    col, row = number % SECTION % 25, number % SECTION // 25
    features = rng.normal(size=(n_spots, 32)).astype(np.float32)
    section = [f"{seed}-{i:03d}" for i in number // SECTION]
    positions = np.stack([col, row], axis=1)
    return SpotFeatures(features, section=section, positions=positions, spatial=positions * 100.0)


def counts(n_spots, seed):
    """As many counts of 50 genes."""
    of_sections = spots(n_spots, seed)
    adata = anndata.AnnData(
        np.random.default_rng(seed).poisson(3, (n_spots, 50)).astype(np.float32)
    )
    adata.obs["section"] = of_sections.section
    adata.obs["array_col"], adata.obs["array_row"] = of_sections.positions.T
    return adata


def of_features():
    """Models of features, the bare search among them, and what each was fitted on."""
    X, adata = spots(N_TRAINING, 0), counts(N_TRAINING, 0)
    usual = dict(featurizer=None, trainer=QUICK, random_state=0)
    models = [
        STco(**usual),
        MclSTExp(n_heads=2, head_dim=8, **usual),
        StInfer(**usual),
        Reg2ST(hidden_dim=16, n_layers=1, n_heads=2, **usual),
        LinearProbe(None, cv=2, random_state=0),
        ContrastiveEnsemble(n_heads=1, cv=2, **usual),
        SpotRetriever(50),
    ]
    return {type(model).__name__: model.fit(X, adata) for model in models}


def in_parts(predict, X, size, whole, watch):
    """By how much predictions of `size` spots at a time, whole sections, differ from `whole`."""
    largest = 0.0
    for start in range(0, len(X), size):
        rows = slice(start, start + size)
        largest = np.maximum(largest, np.abs(whole[rows] - predict(X[rows])).max())  # NaN stays
        watch.look()
    return float(largest)


def found(whole, differences, watches):
    """What one kind of prediction gave."""
    memory = {kind: watch.found() for kind, watch in watches.items()}
    wrong = not all(difference <= TOLERANCE for difference in differences.values())
    wrong = wrong or not np.isfinite(whole).all()
    return {
        "lost": int(wrong) + sum(watched["grew_too_much"] for watched in memory.values()),
        "spots": len(whole),
        "largest_difference": differences,
        "memory": memory,
    }


def predict_features(model):
    """At once, again and again, and in parts."""
    X = spots(N_SPOTS, 1)
    again, small = Watch(WARM_UP), Watch(N_SPOTS // SECTION // 20)
    for _ in range(ROUNDS):
        whole = model.predict(X)
        again.look()
    difference = in_parts(model.predict, X, 2 * SECTION, whole, small)
    return found(whole, {"in parts": difference}, {"at once": again, "in parts": small})


def predict_images(featurizer):
    """The squares of a slide: over the slide, at once, and in parts."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 250, (SIDE // 16, SIDE // 16, 3), dtype=np.uint8)
    slide = np.ascontiguousarray(coarse.repeat(16, axis=0).repeat(16, axis=1))
    centres = rng.uniform(50, SIDE - 50, (500, 2))
    model = LinearProbe(featurizer, n_components=16, cv=2, random_state=0)
    model.fit(squares(slide, centres), rng.normal(size=(500, 50)))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "slide.h5ad"
        predict_slide(
            model, slide, out, mpp=1.0, pitch="10um", grid="square", patch_size="32um",
            out_px=32, tissue=None,
        )  # fmt: skip
        adata = anndata.read_h5ad(out)
    X, n_parts = squares(slide, adata.obsm["spatial"]), 50
    whole, watch = model.predict(X), Watch(n_parts // 10)
    differences = {
        "over a slide": float(np.abs(whole - adata.X).max()),
        "in parts": in_parts(model.predict, X, -(-len(X) // n_parts), whole, watch),
    }
    return found(whole, differences, {"in parts": watch})


def squares(slide, centres):
    return SpotPatches.from_images(slide, centres, mpp=1.0, patch_size="32um", out_px=32)


def run():
    """Predict with one kind of model after the other."""
    warnings.simplefilter("ignore")
    kinds = {name: predict_features(model) for name, model in of_features().items()}
    network = timm(cache=None, batch_size=256, precision="float32")
    kinds["squares of a slide, network"] = predict_images(network)
    kinds["squares of a slide, colours"] = predict_images(Colours())
    lost = sum(kind["lost"] for kind in kinds.values())
    return {"tried": len(kinds), "lost": lost, **kinds}
