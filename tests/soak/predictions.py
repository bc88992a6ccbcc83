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

N_SPOTS, N_TRAINING = 100_000, 2000
SECTION = 1000  # spots
ROUNDS, WARM_UP = 8, 3
TOLERANCE = 1e-5


def spots(n_spots, seed):
    """Features of sections of 25 x 40 spots."""
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


def in_parts(predict, X, size, watch):
    """Predictions of `size` spots at a time, whole sections."""
    parts = []
    for start in range(0, len(X), size):
        parts.append(predict(X[start : start + size]))
        watch.look()
    return np.concatenate(parts)


def compare(name, whole, parts, watches):
    """What one kind of prediction gave."""
    difference = float(np.abs(whole - parts).max())
    memory = {kind: watch.found() for kind, watch in watches.items()}
    wrong = not np.isfinite(whole).all() or difference > TOLERANCE
    return {
        "lost": int(wrong) + sum(found["grew_too_much"] for found in memory.values()),
        "spots": len(whole),
        "largest_difference": difference,
        **memory,
    }


def predict_features(name, model):
    X = spots(N_SPOTS, 1)
    again, small = Watch(WARM_UP), Watch(10)
    for _ in range(ROUNDS):
        whole = model.predict(X)
        again.look()
    parts = in_parts(model.predict, X, 2 * SECTION, small)
    return compare(name, whole, parts, {"whole": again, "parts": small})


def predict_images(featurizer):
    """The squares of a slide of 3,200 px: over a slide, at once, and in parts."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 250, (200, 200, 3), dtype=np.uint8)
    slide = np.ascontiguousarray(coarse.repeat(16, axis=0).repeat(16, axis=1))
    centres = rng.uniform(50, 3150, (500, 2))
    model = LinearProbe(featurizer, n_components=16, cv=2, random_state=0)
    model.fit(squares(slide, centres), rng.normal(size=(500, 50)))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "slide.h5ad"
        predict_slide(
            model, slide, out, mpp=1.0, pitch="10um", grid="square", patch_size="32um",
            out_px=32, tissue=None,
        )  # fmt: skip
        adata = anndata.read_h5ad(out)
    X, watch = squares(slide, adata.obsm["spatial"]), Watch(10)
    whole, parts = model.predict(X), in_parts(model.predict, X, 2000, watch)
    found = compare(type(featurizer).__name__, whole, parts, {"parts": watch})
    found["largest_difference_over_a_slide"] = difference = float(np.abs(whole - adata.X).max())
    found["lost"] += difference > TOLERANCE
    return found


def squares(slide, centres):
    return SpotPatches.from_images(slide, centres, mpp=1.0, patch_size="32um", out_px=32)


def run():
    """Predict with one kind of model after the other."""
    warnings.simplefilter("ignore")
    found = {name: predict_features(name, model) for name, model in of_features().items()}
    found["squares of a slide, network"] = predict_images(timm(cache=None))
    found["squares of a slide, colours"] = predict_images(Colours())
    lost = sum(entry["lost"] for entry in found.values())
    return {"tried": len(found), "lost": lost, **found}
