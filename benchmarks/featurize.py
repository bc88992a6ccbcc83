"""Featurising: patches a second, beside the plain way and beside the network alone.

    python benchmarks/featurize.py

For three backbones with random weights (neither the network nor weights are needed), patches of
224 px around the spots of a section image; each way three times, in turn, the best counts:

plain
    As the methods' released scripts do: a crop by Pillow, `ToTensor`, standardised, float32,
    a DataLoader without workers, the network as timm builds it, `eval` and `no_grad`.
bare
    The network alone, as `TimmFeaturizer` prepares it (channels last, BatchNorm merged, bfloat16
    where the processor has it), on standardised patches that are ready in memory, in batches of
    8 or of 32, whichever are faster.
ours
    `TimmFeaturizer(cache=None).transform` of the `SpotPatches`.

The section image is decoded beforehand for all of them. The last line is one of JSON: patches a
second of ours over those of the plain way, and over those of the bare network.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image

from histoexpr import TimmFeaturizer
from histoexpr.data import SpotPatches
from histoexpr.featurizers._inference import inference_copy
from histoexpr.utils._torch import autocast

N_PATCHES = {"mobilenetv2_100": 128, "densenet121": 64, "resnet50": 64}
PATCH, BATCH, ROUNDS = 224, 32, 3
SIDE = 2500  # of the section image, in pixels
CPU = torch.device("cpu")


def say(text):
    print(text, file=sys.stderr, flush=True)


def draw_section(path):
    """A picture with structure of many sizes, as JPEG."""
    rng, picture = np.random.default_rng(0), np.zeros((SIDE, SIDE, 3), np.float32)
    for cells in (8, 64, 512):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        picture += np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / 3
    Image.fromarray(picture.astype(np.uint8)).save(path, quality=90)


class Crops(torch.utils.data.Dataset):
    """What the plain way reads."""

    def __init__(self, path, centres, config):
        with Image.open(path) as image:
            self.image = image.convert("RGB")
        self.centres = centres
        self.mean, self.std = (
            torch.tensor(config[name]).reshape(3, 1, 1) for name in ("mean", "std")
        )

    def __len__(self):
        return len(self.centres)

    def __getitem__(self, index):
        left, top = (int(side) - PATCH // 2 for side in self.centres[index])
        crop = np.array(self.image.crop((left, top, left + PATCH, top + PATCH)))
        pixels = torch.from_numpy(crop).permute(2, 0, 1).contiguous().float().div(255)
        return (pixels - self.mean) / self.std


def plain_way(name, crops):
    model = timm.create_model(name, pretrained=False, num_classes=0).eval()
    loader = torch.utils.data.DataLoader(crops, batch_size=BATCH, num_workers=0)

    def featurise():
        with torch.no_grad():
            return torch.cat([model(pixels) for pixels in loader]).numpy()

    return featurise


def bare_way(featurizer, images, batch):
    """The network that the featurizer computes with, on patches that are ready."""
    network = inference_copy(featurizer._backbone, featurizer.precision_)
    pixels = network.preprocess(torch.from_numpy(np.asarray(images)))
    pixels = pixels.to(getattr(torch, featurizer.precision_))

    def featurise():
        with torch.no_grad(), autocast(CPU, featurizer.precision_):
            return torch.cat([network.model(part) for part in pixels.split(batch)]).float().numpy()

    return featurise


def patches_per_second(ways, n_patches):
    """The best of some rounds, in which the ways take turns."""
    seconds = dict.fromkeys(ways, np.inf)
    for _ in range(ROUNDS):
        for way, featurise in ways.items():
            start = time.perf_counter()
            featurise()
            seconds[way] = min(seconds[way], time.perf_counter() - start)
    return {way: n_patches / best for way, best in seconds.items()}


def measure(name, path):
    n_patches = N_PATCHES[name]
    centres = np.random.default_rng(1).integers(PATCH, SIDE - PATCH, (n_patches, 2)).astype(float)
    images = SpotPatches.from_images(path, centres, patch_size=f"{PATCH}px", out_px=PATCH)
    settings = {"pretrained": False, "random_state": 0, "device": "cpu", "cache": None}
    featurizer = TimmFeaturizer(name, batch_size=BATCH, **settings).fit(images)
    ways = {
        "plain": plain_way(name, Crops(path, centres, featurizer.data_config_)),
        "bare, 8": bare_way(featurizer, images, 8),
        f"bare, {BATCH}": bare_way(featurizer, images, BATCH),
        "ours": lambda: featurizer.transform(images),
    }
    np.testing.assert_allclose(ways["bare, 8"](), ways["ours"](), rtol=1e-3, atol=1e-3)
    rates = patches_per_second(ways, n_patches)
    found = ", ".join(f"{way} {rate:.1f}" for way, rate in rates.items())
    say(f"{name} in {featurizer.precision_}, patches/s: {found}")
    bare = max(rate for way, rate in rates.items() if way.startswith("bare"))
    return {"plain": rates["ours"] / rates["plain"], "bare": rates["ours"] / bare}


def main():
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    say(f"torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{torch.backends.cpu.get_cpu_capability()}")  # fmt: skip
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "section.jpg"
        draw_section(path)
        for name in N_PATCHES:
            for way, ratio in measure(name, path).items():
                found[f"{name}_vs_{way}"] = round(ratio, 2)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
