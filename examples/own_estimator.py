"""The recommended estimator on real sections
==========================================

ContrastiveEnsemble beside a tuned ridge, kNN and published figures.

::

    python examples/own_estimator.py --weights WEIGHTS --root HER2ST --genes PANEL [--json FILE]
    python examples/own_estimator.py --weights WEIGHTS --root HER2ST --genes PANEL \
        --train B4 --test C2,C3,C4
    python examples/own_estimator.py --weights WEIGHTS \
        --train-h5ad A.h5ad --train-image A.jpg --test-h5ad B.h5ad --test-image B.jpg

The first predicts each section from all others, then each patient from all others. The second
predicts named sections from others; the third one section from another, e.g. of another animal.

Settings: a frozen backbone, every stage pooled, patches of 155 and 310 um, quarter turns averaged:
the same features for every row. Expression: the panel's genes, each spot scaled to 10,000 counts
over the panel, log1p; for the pair, the 500 genes most variable on the training section among
those seen in over 20 % of its spots, log1p of counts per 10,000 over all genes. PCC per gene
within each held-out section, mean over genes. Nothing is chosen on a test section: what the
estimators choose, they choose on groups of the training spots that they leave out. `ceiling` is
what counting noise leaves within reach, `coverage_90` the share of measured values (the noise of
counting is in them) that lie within 90 % intervals.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from histoexpr import (
    ContextFeaturizer,
    ContrastiveEnsemble,
    ExpressionTargetRegressor,
    ExpressionTransformer,
    LinearProbe,
    SpotFeatures,
    SpotRetriever,
    TimmFeaturizer,
)
from histoexpr.data import spot_pitch
from histoexpr.datasets import from_anndata, join_sections, load_her2st
from histoexpr.metrics import mean_pearson, noise_ceiling
from histoexpr.model_selection import PatientOut, SectionOut, TrainTest, published_scores
from histoexpr.utils import written_aside

SEED = 0
PATCH = {"patch_size": "155um", "out_px": 224}
OURS = "ContrastiveEnsemble"


def make_parser():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", required=True, help="weights of the backbone")
    parser.add_argument("--backbone", default="mobilenetv2_100", help="timm name")
    parser.add_argument("--json", type=Path, help="where to write the rows")
    cohort = parser.add_argument_group("sections of her2st")
    cohort.add_argument("--root", help="folder of the her2st data")
    cohort.add_argument("--genes", type=Path, help="one gene a line")
    cohort.add_argument("--train", help="sections to learn from, e.g. B4,C2")
    cohort.add_argument("--test", help="sections to predict")
    pair = parser.add_argument_group("one section from another")
    for side in ("train", "test"):
        pair.add_argument(f"--{side}-h5ad", help="counts, and spot centres in pixels")
        pair.add_argument(f"--{side}-image", help="the H&E image of the section")
    pair.add_argument("--pitch", type=float, default=200.0, help="um between spots (200)")
    return parser


def load_cohort(args):
    """Sections of her2st: images, counts, genes and the protocols to run."""
    genes = args.genes.read_text().split()
    images, adata = load_her2st(args.root, **PATCH)
    if args.train is None:
        return images, adata, ExpressionTransformer(genes), [SectionOut(), PatientOut()]
    protocol = TrainTest(args.train.split(","), args.test.split(","))
    return images, adata, ExpressionTransformer(genes), [protocol]


def load_pair(args):
    """Two sections, one h5ad and one image each."""
    parts = []
    for side in ("train", "test"):
        path = getattr(args, f"{side}_h5ad")
        adata = ad.read_h5ad(path)
        mpp = args.pitch / spot_pitch(adata.obsm["spatial"])
        patient = None if "patient" in adata.obs else f"{side}: {Path(path).stem}"
        image = getattr(args, f"{side}_image")
        parts.append(from_anndata(adata, image, mpp, side, patient, **PATCH))
    images, adata = join_sections(parts)
    train = (adata.obs["section"] == "train").to_numpy()
    expression = ExpressionTransformer(over="all").fit(adata[train])
    measured = expression.transform(adata[train])
    seen = (measured > 0).mean(axis=0) > 0.2
    ranked = np.argsort(-np.where(seen, measured.var(axis=0), -1.0), kind="stable")
    genes = adata.var_names[ranked[: min(500, seen.sum())]]
    expression = ExpressionTransformer(list(genes), over="all")
    return images, adata, expression, [TrainTest(["train"], ["test"])]


def estimators(expression):
    """Ours, and what it has to pass on the same features."""
    knn = SpotRetriever(None, weights="softmax", metric="cosine")
    return {
        OURS: ContrastiveEnsemble(None, expression=expression, random_state=SEED),
        "tuned ridge": LinearProbe(None, expression=expression, random_state=SEED),
        "kNN": ExpressionTargetRegressor(knn, expression),
    }


def score(name, model, features, adata, fold):
    """Fit, predict, and a row for each section that the fold holds out."""
    started = time.perf_counter()
    model.fit(features[fold.train], adata[fold.train])
    predicted = model.predict(features[fold.test])
    seconds = time.perf_counter() - started
    measured = model.expression_.transform(adata[fold.test])
    inside = None
    if name == OURS:
        lower, upper = model.predict_interval(features[fold.test], coverage=0.9)
        inside = (measured >= lower) & (measured <= upper)
    ceilings = noise_ceiling(adata[fold.test], model.expression_, random_state=SEED).mean(axis=1)
    section = adata.obs["section"].to_numpy()[fold.test]
    for each in dict.fromkeys(section):
        rows = section == each
        yield {
            "method": name,
            "ours": name == OURS,
            "protocol": fold.protocol,
            "section": str(each),
            "mean_pcc": mean_pearson(measured[rows], predicted[rows]),
            "ceiling": float(ceilings[each]),
            "coverage_90": None if inside is None else float(inside[rows].mean()),
            "seconds": seconds,
            "patient_in_training": bool(fold.shared_patients),
        }


def show(rows, protocol):
    """Print the table of a protocol: methods by sections."""
    part = rows[rows["protocol"] == protocol]
    table = part.pivot(index="method", columns="section", values="mean_pcc")
    table = table.loc[part["method"].unique()]
    ceiling = part.groupby("section")["ceiling"].first()
    share = (table.loc[[OURS]] / ceiling).rename(index={OURS: f"{OURS}, share of the ceiling"})
    coverage = part[part["ours"]].set_index("section")["coverage_90"]
    coverage = coverage.to_frame("90 % intervals hold")
    parts = [table, ceiling.to_frame("ceiling (counting noise)").T, share, coverage.T]
    published = published_scores().T.reindex(columns=table.columns)
    if protocol == "section-out" and published.notna().all(axis=None):
        parts.append(published)
    table = pd.concat(parts).rename_axis(index=None, columns=None)
    table["mean"] = table.mean(axis=1)
    table["s"] = part.groupby("method")["seconds"].mean().round(1)
    shared = part.loc[part["patient_in_training"], "section"].unique()
    print(f"\nMean PCC, {protocol}, seed {SEED}")
    if len(shared):
        print(f"(patient on both sides for {', '.join(shared)})")
    print(table.to_string(float_format="{:.3f}".format, na_rep=""))


def main():
    parser = make_parser()
    args = parser.parse_args()
    given = [args.train_h5ad, args.train_image, args.test_h5ad, args.test_image]
    if any(given) == bool(args.root) or (any(given) and not all(given)):
        parser.error(
            "give --root and --genes, or all of --train-h5ad, --train-image, --test-h5ad and "
            "--test-image"
        )
    if args.train_h5ad and (args.train or args.test):
        parser.error("--train and --test name sections of --root")
    if args.root and (args.genes is None or (args.train is None) != (args.test is None)):
        parser.error("--root needs --genes; --train and --test go together")
    started = time.perf_counter()
    images, adata, expression, protocols = load_cohort(args) if args.root else load_pair(args)
    backbone = TimmFeaturizer(args.backbone, checkpoint_path=args.weights, pooling="stages")
    featurizer = ContextFeaturizer(backbone, verbose=int(sys.stderr.isatty()))
    features = SpotFeatures.of(images, featurizer.fit_transform(images))
    print(f"{features}; features took {time.perf_counter() - started:.0f} s")
    rows = []
    for protocol in protocols:
        for fold in protocol.folds(features, adata):
            for name, model in estimators(expression).items():
                rows += score(name, model, features, adata, fold)
        show(pd.DataFrame(rows), protocol.name)
    print(f"\n{time.perf_counter() - started:.0f} s in all")
    if args.json is not None:
        with written_aside(args.json) as aside:
            aside.write_text(json.dumps({"rows": rows}, indent=1))


if __name__ == "__main__":
    main()
