"""Real sections: one patient from another, and each section from the others (her2st).

    python examples/her2st_patients.py --root HER2ST --weights WEIGHTS.safetensors \
        --genes PANEL.txt --published FOLDER

``--root`` is a copy of the her2st repository (Andersson et al. 2021), ``--genes`` a file with one
gene a line, ``--published`` a folder with published mean PCC per section
(``her2st_section_mean_pcc.csv``), shown beside ours.

Settings: patches of 224 px at full resolution; one view of a frozen backbone; the panel's genes,
each spot scaled to 10,000 counts over the panel, log1p; PCC per gene within the held-out section,
mean over genes (genes that do not vary there left out). Nothing is chosen on a test section.
"""

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
from tqdm.auto import tqdm

import histoexpr
from histoexpr import (
    ExpressionTargetRegressor,
    ExpressionTransformer,
    SpotRetriever,
    STco,
    TimmFeaturizer,
)
from histoexpr.metrics import mean_pearson
from histoexpr.plotting import plot_genes

SEED = 0
PUBLISHED = {
    "reg2st_mean_pcc": "Reg2ST as published",
    "hggep_best_on_test_mean_pcc": "HGGEP as published",
}


def methods(genes):
    """STco and what it is measured against, on frozen features."""
    expression = ExpressionTransformer(genes)

    def baseline(regressor):
        return ExpressionTargetRegressor(regressor, expression)

    ridge = make_pipeline(StandardScaler(), PCA(256), RidgeCV(np.logspace(0, 6, 13)))
    return {
        "STco": STco(featurizer=None, expression=expression, random_state=SEED),
        "ridge": baseline(ridge),
        "kNN": baseline(SpotRetriever(200, weights="uniform", metric="cosine")),
        "mean": baseline(DummyRegressor()),
    }


def protocols(obs):
    """Train and test sections: (protocol, train mask, test mask), one entry a fit."""
    patients = obs["patient"].unique()
    for test in patients if len(patients) > 1 else []:
        train = " and ".join(p for p in patients if p != test)
        yield f"patient {train} to {test}", obs["patient"] != test, obs["patient"] == test
    for test in obs["section"].unique():
        yield "leave one section out", obs["section"] != test, obs["section"] == test


def run(features, adata, genes):
    """A row for each protocol, method and held-out section; and STco's predictions."""
    rows, predictions = [], {}
    plan = [
        (protocol, train.to_numpy(), test.to_numpy(), name, model)
        for protocol, train, test in protocols(adata.obs)
        for name, model in methods(genes).items()
    ]
    for protocol, train, test, name, model in tqdm(plan, desc="Fits", unit="fit"):
        started = time.perf_counter()
        model.fit(features[train], adata[train])
        predicted = model.predict(features[test])
        seconds = time.perf_counter() - started
        truth = model.expression_.transform(adata[test])
        sections = adata.obs["section"][test].to_numpy()
        for section in np.unique(sections):
            rows_of = sections == section
            pcc = mean_pearson(truth[rows_of], predicted[rows_of])
            rows.append((protocol, name, section, pcc, seconds))
        if name == "STco" and protocol == "leave one section out":
            predictions[sections[0]] = (truth, predicted, test)
    columns = ["protocol", "method", "section", "mean_pcc", "seconds"]
    return pd.DataFrame(rows, columns=columns), predictions


def print_tables(results, published):
    """One table a protocol: methods by sections, published rows below."""
    kinds = results["protocol"].str.replace(r"patient .*", "leave one patient out", regex=True)
    for kind, part in results.groupby(kinds, sort=False):
        table = part.pivot(index="method", columns="section", values="mean_pcc")
        table = table.loc[part["method"].unique()]
        if kind == "leave one section out" and published is not None:
            rows = published.set_index("section")[list(PUBLISHED)].rename(columns=PUBLISHED).T
            table = pd.concat([table, rows.reindex(columns=table.columns)])
        table["mean"] = table.mean(axis=1)
        seconds = part.drop_duplicates(["protocol", "method"] + ["seconds"])
        table["s/fit"] = seconds.groupby("method")["seconds"].mean()
        runs = ", ".join(part["protocol"].unique()) if kind == "leave one patient out" else ""
        print(f"\nMean PCC, {kind}{f' ({runs})' if runs else ''}, seed {SEED}\n")
        print(table.to_string(float_format="{:.3f}".format, na_rep=""))


def draw_maps(predictions, images, adata, genes, out):
    """Measured and predicted maps of the genes that vary most in the training sections."""
    for section, (truth, predicted, test) in predictions.items():
        training = ExpressionTransformer(genes).fit_transform(adata[~test])
        shown = [genes[i] for i in np.argsort(-training.std(axis=0))[:4]]
        maps = {}
        for name, values in (("measured", truth), ("STco", predicted)):
            maps[name] = adata[test][:, genes].copy()
            maps[name].X = values
        axes = plot_genes(maps, shown)
        axes[0, 0].figure.suptitle(f"{section}, predicted from the other sections")
        axes[0, 0].figure.savefig(out / f"genes_{section}.png", dpi=110)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="folder of the her2st data")
    parser.add_argument("--weights", required=True, help="weights of the backbone")
    parser.add_argument("--genes", required=True, type=Path, help="one gene a line")
    parser.add_argument("--published", type=Path, help="folder with published figures")
    parser.add_argument("--backbone", default="mobilenetv2_100", help="timm name")
    parser.add_argument("--out", type=Path, default=Path("her2st_output"), help="output folder")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")

    genes = args.genes.read_text().split()
    images, adata = histoexpr.datasets.load_her2st(args.root, patch_size="224px")
    print(images)
    featurizer = TimmFeaturizer(args.backbone, checkpoint_path=args.weights, verbose=1)
    features = featurizer.fit_transform(images)
    results, predictions = run(features, adata, genes)
    results.to_csv(args.out / "scores.csv", index=False)
    published = args.published and pd.read_csv(args.published / "her2st_section_mean_pcc.csv")
    print(f"\n{len(genes)} genes; log1p of counts per 10,000 over the panel, by spot.")
    print_tables(results, published)
    draw_maps(predictions, images, adata, genes, args.out)
    print(f"\nscores.csv and gene maps written to {args.out}")


if __name__ == "__main__":
    main()
