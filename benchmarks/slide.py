"""Prediction over a large slide: memory, and how busy the network is kept.

    python benchmarks/slide.py

Draws a slide of 60,000 x 60,000 px (pyramidal tiled JPEG TIFF, about 220 MB, tile by tile),
predicts 100,000 spots with one of timm's test backbones and 5,000 with MobileNetV2 (random
weights: neither the network nor weights are needed, but the extra `slides`, for JPEG in TIFF), and
prints one line of JSON:

    {"peak_gb": resident memory at its highest until the 100,000 spots are written,
     "busy_share": share of the time of the 5,000 spots in which the network computes}

The network is busy while it computes; waiting for patches, finding tissue and writing are not.
"""

import argparse
import functools
import io
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import tifffile
from PIL import Image

from histoexpr import LinearProbe, TimmFeaturizer, load, save
from histoexpr.datasets import make_spatial_expression
from histoexpr.slides import predict_slide

SLIDE = "slide.tif"
SIZE, TILE, MPP = 60_000, 256, 0.5
DOWNSAMPLES = (1, 4, 16)
PERIOD = 7  # tiles after which the texture repeats
TISSUE = 3 * 4096, 11 * 4096  # px: the square in the middle that is tissue, the rest is glass


def say(text):
    print(text, file=sys.stderr, flush=True)


def draw_slide(path, texture):
    """Write the slide; `texture` is (PERIOD * TILE, PERIOD * TILE, 3), uint8."""

    @functools.cache
    def encoded(downsample, row, col):
        side = PERIOD * TILE // downsample
        small = Image.fromarray(texture).resize((side, side), Image.Resampling.BOX)
        rows, cols = (np.arange(TILE) + n * TILE for n in (row, col))
        return jpeg(np.asarray(small)[np.ix_(rows % side, cols % side)])

    def tiles(downsample):
        side = -(-SIZE // downsample // TILE)
        low, high = (edge // downsample // TILE for edge in TISSUE)
        for row in range(side):
            for col in range(side):
                inside = low <= row < high and low <= col < high
                yield encoded(downsample, row % PERIOD, col % PERIOD) if inside else glass

    glass = jpeg(np.full((TILE, TILE, 3), (243, 241, 244), np.uint8))
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for downsample in DOWNSAMPLES:
            tiff.write(
                tiles(downsample),
                shape=(SIZE // downsample, SIZE // downsample, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                subfiletype=int(downsample > 1),
                resolution=(1e4 / (MPP * downsample),) * 2,
                resolutionunit="CENTIMETER",
                metadata=None,
            )


def jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=70, subsampling="4:2:0")
    return file.getvalue()


class TimedFeaturizer(TimmFeaturizer):
    """Notes how long its network computes."""

    seconds = 0.0

    def _compute(self, patches):
        start = time.perf_counter()
        try:
            return super()._compute(patches)
        finally:
            TimedFeaturizer.seconds += time.perf_counter() - start


def prepare(folder):
    """Draw the slide, and fit both models on a small cohort."""
    images, adata = make_spatial_expression(
        2, grid=(9, 9), spot_distance=100, mpp=MPP, patch_size="112um", out_px=224, n_genes=200,
        random_state=0,
    )  # fmt: skip
    start = time.perf_counter()
    texture = images.section_images["A1"].pixels()[: PERIOD * TILE, : PERIOD * TILE]
    draw_slide(folder / SLIDE, texture)
    size = (folder / SLIDE).stat().st_size
    say(f"slide of {size / 1e6:.0f} MB drawn in {time.perf_counter() - start:.0f} s")
    # The test backbone stands for a fast one: what is measured is the memory around it.
    for name, options in {"test_resnet": {"input_size": 64}, "mobilenetv2_100": {}}.items():
        featurizer = TimedFeaturizer(name, pretrained=False, random_state=0, **options)
        save(LinearProbe(featurizer).fit(images, adata), folder / f"{name}.histoexpr")


def predict(folder, name, pitch):
    """Spots, seconds in all, seconds of the network, and GB of memory at the highest."""
    model, out = load(folder / f"{name}.histoexpr"), folder / f"{name}.h5ad"
    start = time.perf_counter()
    predict_slide(model, folder / SLIDE, out, pitch=pitch)
    seconds = time.perf_counter() - start
    with h5py.File(out) as file:
        n_spots = file["X"].shape[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_gb = peak * (1 if sys.platform == "darwin" else 1024) / 1e9
    say(f"{name}: {n_spots} spots in {seconds:.0f} s, of which the network computed for "
        f"{TimedFeaturizer.seconds:.0f} s; {peak_gb:.2f} GB at the highest")  # fmt: skip
    return n_spots, seconds, TimedFeaturizer.seconds, peak_gb


def in_a_process(function, *args):
    """Call it in a fresh process: memory is then its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args).result()


def main():
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        in_a_process(prepare, folder)
        _, _, _, peak_gb = in_a_process(predict, folder, "test_resnet", "44um")
        _, seconds, busy, _ = in_a_process(predict, folder, "mobilenetv2_100", "200um")
    print(json.dumps({"peak_gb": round(peak_gb, 3), "busy_share": round(busy / seconds, 3)}))


if __name__ == "__main__":
    main()
