"""Training: heads against a per-item Dataset and a bare loop, a backbone against a bare loop.

    python benchmarks/train.py

Heads: STco's module on 10,000 spots, features 1,024 wide (DenseNet-121's), 785 genes, batches of
128. "Per item" is how the released scripts feed it: a Dataset that gives a spot as a dict of
tensors, a DataLoader that stacks them, torch's Adam as it comes. "Bare" cuts batches out of
tensors by their index and uses the fused Adam. End to end: MobileNetV2 (random weights) and STco's
heads, patches of 224 px cut from squares of 280 px of an image file, batches of 16; "bare" has all
patches standardised in memory, channels last. All ways train the same modules by the same loss;
each is run three times, in turns, and counts by its best. On a machine with CUDA the second part
is done there, too, in bfloat16 and batches of 128. The last line is JSON:

    {"per_item_vs_ours": seconds of an epoch per item over those of Trainer,
     "ours_vs_bare_heads": seconds of an epoch of Trainer over those of the bare loop,
     "ours_vs_bare_end_to_end": patches/s of Trainer over those of the bare loop,
     "ours_vs_bare_end_to_end_cuda": the same on a GPU, where there is one}
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, Dataset

from histoexpr import PatchAugment, SpotPatches, STco, TimmFeaturizer, Trainer
from histoexpr._types import SpotBatch

N_SPOTS, N_GENES, N_FEATURES, ARRAY = 10_000, 785, 1024, 100
BATCH, EPOCHS, ROUNDS = 128, 3, 3
LEARNING = {"lr": 1e-4, "weight_decay": 1e-3}  # STco's
BACKBONE = "mobilenetv2_100"


def say(text):
    print(text, file=sys.stderr, flush=True)


def draw_spots(n_spots, n_features):
    """Spots as a fit has them: features, log counts per 10,000 and places on the array."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(0.5, 1.0, (n_spots, N_GENES))) + 0.0
    expression = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    return SpotBatch(
        torch.tensor(rng.gamma(0.5, 1.0, (n_spots, n_features)), dtype=torch.float32),
        torch.tensor(expression, dtype=torch.float32),
        torch.tensor(rng.integers(0, ARRAY, (n_spots, 2))),
    )


def stco_module(n_features):
    torch.manual_seed(0)
    return STco(None)._make_module(n_features, N_GENES, (ARRAY, ARRAY))


def best_of(ways):
    """Seconds of each way at its best; they take turns."""
    seconds = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            seconds[name].append(way())
    return {name: min(values) for name, values in seconds.items()}


# --- heads --------------------------------------------------------------------------------------


class SpotDataset(Dataset):
    """A spot at a time, as a dict of tensors."""

    def __init__(self, spots):
        self.features = spots.features.numpy()
        self.expression = spots.expression.numpy()
        self.positions = spots.positions.numpy()

    def __len__(self):
        return len(self.features)

    def __getitem__(self, i):
        return {
            "features": torch.tensor(self.features[i]).float(),
            "expression": torch.tensor(self.expression[i]).float(),
            "positions": torch.tensor(self.positions[i]).long(),
        }


def per_item(spots):
    module = stco_module(N_FEATURES).train()
    optimizer = torch.optim.Adam(module.parameters(), **LEARNING)
    loader = DataLoader(SpotDataset(spots), batch_size=BATCH, shuffle=True, num_workers=0)
    started = time.perf_counter()
    for _ in range(EPOCHS):
        total = 0.0
        for batch in loader:
            loss = module(SpotBatch(**batch)).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch["features"])
    return (time.perf_counter() - started) / EPOCHS


def bare(spots):
    module = stco_module(N_FEATURES).train()
    optimizer = torch.optim.Adam(module.parameters(), **LEARNING, fused=True)
    started = time.perf_counter()
    for _ in range(EPOCHS):
        for index in torch.randperm(len(spots)).split(BATCH):
            batch = spots.features[index], spots.expression[index], spots.positions[index]
            loss = module(SpotBatch(*batch)).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (time.perf_counter() - started) / EPOCHS


def ours(spots):
    module = stco_module(N_FEATURES)
    trainer = Trainer(EPOCHS, BATCH, **LEARNING, device="cpu", random_state=0)
    started = time.perf_counter()
    trainer.fit(module, spots)
    return (time.perf_counter() - started) / EPOCHS


def heads():
    spots = draw_spots(N_SPOTS, N_FEATURES)
    found = best_of({
        "per item": lambda: per_item(spots),
        "bare": lambda: bare(spots),
        "ours": lambda: ours(spots),
    })  # fmt: skip
    say("an epoch of heads: " + ", ".join(f"{k} {v:.3f} s" for k, v in found.items()))
    return {
        "per_item_vs_ours": found["per item"] / found["ours"],
        "ours_vs_bare_heads": found["ours"] / found["bare"],
    }


# --- end to end ---------------------------------------------------------------------------------


def draw_patches(folder, n_patches):
    """Patches of an image file."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    path = folder / "section.png"
    Image.fromarray(small).resize((2400, 2400)).save(path, compress_level=1)
    images = SpotPatches.from_images(
        path, rng.uniform(0, 2400, (n_patches, 2)), patch_size="280px", out_px=224
    )
    np.asarray(images[:1])  # the file is decoded once per process
    return images


def network(images, device, augment=None):
    """The backbone with STco's heads."""
    featurizer = TimmFeaturizer(
        BACKBONE, pretrained=False, random_state=0, trainable=True, augment=augment, device=device
    ).build(images)
    return featurizer.end_to_end(stco_module(featurizer.n_features_out_))


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def bare_end_to_end(images, spots, device, batch_size):
    joint = network(images, device).to(device).train()
    for layer in joint.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval()  # as Trainer does: statistics stay as they are
    with torch.no_grad():
        pixels = torch.tensor(np.asarray(images)).to(device)
        pixels = joint.backbone.preprocess(pixels)
    spots = SpotBatch(spots.features, spots.expression, spots.positions).to(device)
    optimizer = torch.optim.Adam(joint.parameters(), **LEARNING, fused=True)
    synchronize(device)
    started = time.perf_counter()
    for start in range(0, len(spots), batch_size):
        part = slice(start, start + batch_size)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            features = joint.backbone.model(pixels[part]).float()
            batch = SpotBatch(features, spots.expression[part], spots.positions[part])
            loss = joint.module(batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    synchronize(device)
    return time.perf_counter() - started


def our_end_to_end(images, spots, device, batch_size, augment=None):
    joint = network(images, device, augment)
    trainer = Trainer(1, batch_size, **LEARNING, device=device, random_state=0)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    synchronize(device)
    started = time.perf_counter()
    trainer.fit(joint, SpotBatch(**{**vars(spots), "images": images}))
    return time.perf_counter() - started


def end_to_end(device, n_patches, batch_size):
    """Patches/s of Trainer over those of the bare loop."""
    spots = draw_spots(n_patches, 1280)
    with tempfile.TemporaryDirectory() as folder:
        images = draw_patches(Path(folder), n_patches)
        given = images, spots, device, batch_size
        bare_end_to_end(images[:batch_size], spots[:batch_size], device, batch_size)  # warm
        found = best_of({
            "bare": lambda: bare_end_to_end(*given),
            "ours": lambda: our_end_to_end(*given),
            "ours with PatchAugment": lambda: our_end_to_end(*given, PatchAugment()),
        })  # fmt: skip
    say(f"{BACKBONE}, batches of {batch_size} on {device}, patches/s: "
        + ", ".join(f"{k} {n_patches / v:.1f}" for k, v in found.items()))  # fmt: skip
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
        say(f"device memory of Trainer at the highest: {peak / 1e9:.2f} GB")
    return found["bare"] / found["ours"]


def main():
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    say(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    ratios = heads()
    ratios["ours_vs_bare_end_to_end"] = end_to_end("cpu", n_patches=96, batch_size=16)
    if torch.cuda.is_available():
        ratios["ours_vs_bare_end_to_end_cuda"] = end_to_end("cuda", 4096, batch_size=128)
    print(json.dumps({name: round(ratio, 3) for name, ratio in ratios.items()}))


if __name__ == "__main__":
    main()
