"""What the examples on her2st share: options, data, folds, baselines, scores and tables."""

import argparse
import logging
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from histoexpr import ExpressionTargetRegressor, SpotRetriever, TimmFeaturizer
from histoexpr.datasets import load_her2st
from histoexpr.metrics import mean_pearson

SEED = 0
PATIENT_OUT, SECTION_OUT = "leave one patient out", "leave one section out"
PUBLISHED = {
    "reg2st_mean_pcc": "Reg2ST as published",
    "hggep_best_on_test_mean_pcc": "HGGEP as published",
}


def make_parser(doc, out):
    """The options that the examples on her2st have in common."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="folder of the her2st data")
    parser.add_argument("--weights", required=True, help="weights of the backbone")
    parser.add_argument("--genes", required=True, type=Path, help="one gene a line")
    parser.add_argument("--published", type=Path, help="folder with published figures")
    parser.add_argument("--backbone", default="mobilenetv2_100", help="timm name")
    parser.add_argument("--out", type=Path, default=Path(out), help="output folder")
    return parser


def load(args):
    """The panel, the patches and counts, and the published figures or None."""
    args.out.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    genes = args.genes.read_text().split()
    images, adata = load_her2st(args.root, patch_size="224px")
    print(images)
    published = args.published and pd.read_csv(args.published / "her2st_section_mean_pcc.csv")
    return genes, images, adata, published


def make_featurizer(args):
    """One view of a frozen backbone."""
    return TimmFeaturizer(args.backbone, checkpoint_path=args.weights, verbose=1)


def baselines(expression):
    """What every method is measured against, on the same frozen features."""
    regressors = {
        "ridge": make_pipeline(StandardScaler(), PCA(256), RidgeCV(np.logspace(0, 6, 13))),
        "kNN": SpotRetriever(200, weights="uniform", metric="cosine"),
        "mean": DummyRegressor(),
    }
    return {name: ExpressionTargetRegressor(r, expression) for name, r in regressors.items()}


def protocols(obs):
    """Train and test spots, one entry a fit: (protocol, who from whom, train mask, test mask)."""
    patients = obs["patient"].unique()
    for test in patients if len(patients) > 1 else []:
        train = " and ".join(p for p in patients if p != test)
        held_out = (obs["patient"] == test).to_numpy()
        yield PATIENT_OUT, f"patient {train} to {test}", ~held_out, held_out
    for test in obs["section"].unique():
        held_out = (obs["section"] == test).to_numpy()
        yield SECTION_OUT, f"all others to {test}", ~held_out, held_out


def fit(model, features, adata, train):
    """Fit a model in place; the seconds it took."""
    started = time.perf_counter()
    model.fit(features[train], adata[train])
    return time.perf_counter() - started


def predict(model, features, adata, test):
    """What was measured, what is predicted, and the mean PCC of each section."""
    predicted = model.predict(features[test])
    truth = model.expression_.transform(adata[test])
    sections = adata.obs["section"][test].to_numpy()
    pcc = {
        section: mean_pearson(truth[sections == section], predicted[sections == section])
        for section in np.unique(sections).tolist()
    }
    return truth, predicted, pcc


def make_rows(protocol, fold, method, pcc, seconds):
    """A row of the results for each section that a fit has predicted."""
    return [
        {
            "protocol": protocol,
            "fold": fold,
            "method": method,
            "section": section,
            "mean_pcc": value,
            "seconds": seconds,
        }
        for section, value in pcc.items()
    ]


def print_tables(results, published, settings=None):
    """One table a protocol: methods by sections, published rows below.

    ``settings``, a dict from method to words, makes a last column.
    """
    for protocol, part in results.groupby("protocol", sort=False):
        table = part.pivot(index="method", columns="section", values="mean_pcc")
        table = table.loc[part["method"].unique()]
        if protocol == SECTION_OUT and published is not None:
            rows = published.set_index("section")[list(PUBLISHED)].rename(columns=PUBLISHED).T
            table = pd.concat([table, rows.reindex(columns=table.columns)])
        table = table.rename_axis(index=None, columns=None)
        table["mean"] = table.mean(axis=1)
        fits = part.drop_duplicates(["fold", "method"])
        table["s/fit"] = fits.groupby("method")["seconds"].mean().round(1)
        if settings is not None:
            words = pd.Series(table.index.map(settings), table.index).fillna("")
            table["settings"] = words.str.ljust(words.str.len().max())
        folds = f" ({', '.join(part['fold'].unique())})" if protocol == PATIENT_OUT else ""
        print(f"\nMean PCC, {protocol}{folds}, seed {SEED}\n")
        formatters = {"s/fit": "{:.1f}".format}
        print(table.to_string(float_format="{:.3f}".format, formatters=formatters, na_rep=""))
