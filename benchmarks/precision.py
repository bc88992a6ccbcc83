"""What bfloat16 changes in predictions on real sections.

    HISTOEXPR_SHARED=FOLDER python benchmarks/precision.py

Features of MobileNetV2 in float32 and in bfloat16, of patches of 224 px; each of the four her2st
sections is predicted from the other three, by the 200 nearest spots (cosine) and by a ridge whose
penalty is chosen among the training spots; 785 genes, each spot scaled to 10,000 counts over
them, log1p. PCC per gene within the section, mean over genes, then over sections.

Nothing is chosen here. The last line is one of JSON: the mean PCC of both estimators in both
precisions, and ``pcc_change``, the larger of the two changes. FOLDER holds data/her2st (Andersson
et al. 2021), data/panels/her2st_785.txt and weights/mobilenetv2_100_in1k.fp16.safetensors.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

from histoexpr import (
    ExpressionTargetRegressor,
    ExpressionTransformer,
    LinearProbe,
    SpotFeatures,
    SpotRetriever,
    TimmFeaturizer,
)
from histoexpr.datasets import load_her2st
from histoexpr.metrics import mean_pearson
from histoexpr.model_selection import SectionOut

FOLDER_VARIABLE = "HISTOEXPR_SHARED"
WEIGHTS = "mobilenetv2_100_in1k.fp16.safetensors"


def say(text):
    print(text, file=sys.stderr, flush=True)


def features_in(precision, images, weights):
    featurizer = TimmFeaturizer(
        "mobilenetv2_100", checkpoint_path=weights, precision=precision, device="cpu", cache=None
    ).fit(images)
    say(f"{precision}: {featurizer.precision_check_ or 'exact'}")
    return SpotFeatures.of(images, featurizer.transform(images))


def estimators(expression):
    knn = SpotRetriever(weights="uniform", metric="cosine")
    return {
        "knn": ExpressionTargetRegressor(knn, expression),
        "ridge": LinearProbe(None, expression=expression, random_state=0),
    }


def mean_pcc(model, features, adata):
    """Over the sections, each left out once."""
    found = []
    for fold in SectionOut().folds(features, adata):
        model.fit(features[fold.train], adata[fold.train])
        measured = model.expression_.transform(adata[fold.test])
        found.append(mean_pearson(measured, model.predict(features[fold.test])))
    say(f"  sections: {np.round(found, 4)}")
    return float(np.mean(found))


def main():
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    if not os.environ.get(FOLDER_VARIABLE):
        sys.exit(f"{FOLDER_VARIABLE} is not set, so there are no real sections: nothing measured.")
    folder = Path(os.environ[FOLDER_VARIABLE])
    images, adata = load_her2st(folder / "data" / "her2st", patch_size="224px")
    genes = (folder / "data" / "panels" / "her2st_785.txt").read_text().split()
    pcc = {}
    for precision in ("float32", "bfloat16"):
        features = features_in(precision, images, folder / "weights" / WEIGHTS)
        for name, model in estimators(ExpressionTransformer(genes)).items():
            pcc[f"{name}_{precision}"] = mean_pcc(model, features, adata)
    changes = [pcc[f"{name}_bfloat16"] - pcc[f"{name}_float32"] for name in ("knn", "ridge")]
    found = {name: round(value, 5) for name, value in pcc.items()}
    print(json.dumps({**found, "pcc_change": round(max(changes, key=abs), 5)}))


if __name__ == "__main__":
    main()
