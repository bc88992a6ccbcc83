"""A search over a frozen method: what features cost when each is computed once.

    python benchmarks/cross_validate.py

Draws 8 sections of 8 patients into files, and searches over 4 settings of STco with a frozen
MobileNetV2 (random weights: neither the network nor weights are needed) in 8 folds by patient:
32 fits, each with a clone of the featurizer. Prints one line of JSON:

    {"search_vs_one_pass": time of the search over that of one pass of featurising and the same
         search on features that are ready,
     "search_vs_one_pass_2_processes": the same with n_jobs=2 and the cache in a folder, over one
         pass with all threads and the search on ready features with n_jobs=2}

Pass and search begin without features and, in this process, without decoded images; workers
are there already. Each is the best of two.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from joblib import Parallel, delayed
from PIL import Image
from sklearn.model_selection import GridSearchCV, GroupKFold

from histoexpr import STco, SpotPatches, TimmFeaturizer, Trainer
from histoexpr.data import clear_image_cache
from histoexpr.datasets import make_spatial_expression
from histoexpr.featurizers import clear_feature_cache
from histoexpr.metrics import pearson_scorer

N_PATIENTS, GRID, MPP, OUT_PX, N_GENES = 8, (20, 20), 1.0, 224, 200
SETTINGS = {"projection_dim": [64, 256], "trainer__lr": [1e-3, 1e-4]}
EPOCHS, REPEATS = 4, 2


def say(text):
    print(text, file=sys.stderr, flush=True)


def draw_cohort(folder):
    """Section images in files, and their spots."""
    images, adata = make_spatial_expression(
        N_PATIENTS, grid=GRID, spot_distance=60, mpp=MPP, patch_size="112um", out_px=OUT_PX,
        n_genes=N_GENES, random_state=0,
    )  # fmt: skip
    paths = {}
    for name, image in images.section_images.items():
        paths[name] = folder / f"{name}.jpg"
        Image.fromarray(image.pixels()).save(paths[name], quality=90)
    return SpotPatches.from_images(
        paths, images.spatial, section=images.section, patient=images.patient, mpp=MPP,
        patch_size="112um", out_px=OUT_PX,
    ), adata  # fmt: skip


def featurizer(cache):
    return TimmFeaturizer("mobilenetv2_100", pretrained=False, random_state=0, cache=cache)


def forget():
    clear_image_cache()
    clear_feature_cache()


def search(X, adata, used, n_jobs):
    """Seconds of 32 fits, and the scores of the settings."""
    trainer = Trainer(max_epochs=EPOCHS, batch_size=128)
    model = STco(used, trainer=trainer, random_state=0)
    found = GridSearchCV(
        model, SETTINGS, scoring=pearson_scorer, cv=GroupKFold(N_PATIENTS), refit=False,
        n_jobs=n_jobs, error_score="raise",
    )  # fmt: skip
    start = time.perf_counter()
    found.fit(X, adata, groups=adata.obs["patient"])
    return time.perf_counter() - start, found.cv_results_["mean_test_score"]


def one_pass(images):
    """Seconds of one transform, and the features."""
    fitted = featurizer(cache=None).fit(images)
    forget()
    start = time.perf_counter()
    features = fitted.transform(images)
    return time.perf_counter() - start, features


def best(function, *args):
    """The least seconds, and what came with them."""
    return min((function(*args) for _ in range(REPEATS)), key=lambda pair: pair[0])


def compare(images, adata, passed, n_jobs, make_cache):
    """Time of the search over that of one pass and the search on ready features."""

    def searched():
        forget()
        return search(images, adata, featurizer(make_cache()), n_jobs)

    pass_seconds, features = passed
    # Workers are there, and have loaded what they need: a search is not about starting them.
    Parallel(n_jobs)(delayed(one_pass)(images[:64]) for _ in range(n_jobs))
    ready_seconds, expected = best(search, features, adata, None, n_jobs)
    seconds, scores = best(searched)
    say(f"{n_jobs} process(es): search {seconds:.1f} s, on ready features {ready_seconds:.1f} s; "
        f"scores differ by {abs(scores - expected).max():.0e}")  # fmt: skip
    return round(seconds / (pass_seconds + ready_seconds), 3)


def main():
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images, adata = draw_cohort(folder)
        passed = best(one_pass, images)
        say(f"{len(images)} patches in one pass of {passed[0]:.1f} s")
        folders = (folder / f"features{number}" for number in range(REPEATS))
        one = compare(images, adata, passed, 1, lambda: "memory")
        two = compare(images, adata, passed, 2, lambda: next(folders))
    print(json.dumps({"search_vs_one_pass": one, "search_vs_one_pass_2_processes": two}))


if __name__ == "__main__":
    main()
