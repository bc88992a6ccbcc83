"""The main job on embedded data
=============================

What ``make demo`` runs. A synthetic cohort of patients is drawn. STco and three baselines are
compared by cross-validation that leaves one patient out at a time; then STco is fitted on all
patients but one, saved, loaded, and predicts the one it has not seen.
"""

import argparse
import logging
import time
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

import histoexpr
from histoexpr import (
    ExpressionTargetRegressor,
    ExpressionTransformer,
    STco,
    TextureFeaturizer,
    Trainer,
)
from histoexpr.metrics import mean_pearson, pearson_scorer
from histoexpr.plotting import plot_genes

SEED = 0


def methods():
    """STco and what it is measured against; all take standardised features."""
    baselines = {
        "ridge": make_pipeline(PCA(0.99), RidgeCV(np.logspace(-1, 4, 11))),
        "kNN": KNeighborsRegressor(100, metric="cosine"),
        "mean": DummyRegressor(),
    }
    return {
        "STco": make_pipeline(StandardScaler(), STco(featurizer=None, random_state=SEED)),
        **{
            name: make_pipeline(StandardScaler(), ExpressionTargetRegressor(regressor))
            for name, regressor in baselines.items()
        },
    }


def cross_validate(features, adata):
    """Mean PCC over genes for each method (row) and held-out patient (column)."""
    patients = adata.obs["patient"]
    folds = LeaveOneGroupOut()
    scores = {}
    for name, model in tqdm(methods().items(), desc="Cross-validation", unit="method"):
        scores[name] = cross_val_score(
            model, features, adata, groups=patients, cv=folds, scoring=pearson_scorer
        )
    table = pd.DataFrame(scores, index=np.unique(patients)).T
    table["mean"] = table.mean(axis=1)
    return table


def predict_unseen_patient(images, adata, out):
    """Fit on all patients but the last, save, load, predict the last; return its mean PCC."""
    unseen = (adata.obs["patient"] == adata.obs["patient"].iloc[-1]).to_numpy()
    train, test = np.flatnonzero(~unseen), np.flatnonzero(unseen)
    model = STco(
        featurizer=make_pipeline(TextureFeaturizer(), StandardScaler()),
        trainer=Trainer(verbose=1),
        random_state=SEED,
    )
    model.fit(images[train], adata[train])
    histoexpr.save(model, out / "stco.histoexpr")
    model = histoexpr.load(out / "stco.histoexpr")
    predicted = model.predict_adata(images[test])
    predicted.write_h5ad(out / "predicted.h5ad")

    measured = adata[test].copy()
    measured.X = model.expression_.transform(measured)
    draw(measured, predicted, images[test], genes_to_show(adata[train]), out / "genes.png")
    return mean_pearson(measured.X, predicted.X, section=predicted.obs["section"].to_numpy())


def genes_to_show(adata):
    """Three genes, chosen on the training patients: the most expressed of three programmes."""
    expressed = ExpressionTransformer().fit_transform(adata).mean(axis=0)
    order = np.argsort(-expressed)
    return list(adata.var_names[order][~adata.var["program"].iloc[order].duplicated()][:3])


def draw(measured, predicted, images, genes, path):
    """The H&E of a section, and genes on it: measured above, predicted below."""
    section = predicted.obs["section"].iloc[0]
    rows = (predicted.obs["section"] == section).to_numpy()
    tissue = images.section_images[section].pixels()
    figure = Figure(figsize=(13, 6), layout="constrained")
    axes = figure.subplots(2, 1 + len(genes))
    plot_genes(
        {"measured": measured[rows], "predicted": predicted[rows]},
        genes,
        image=tissue,
        axes=axes[:, 1:],
    )
    axes[0, 0].imshow(tissue)
    axes[0, 0].set(title=f"H&E of {section}", xticks=[], yticks=[])
    axes[1, 0].set_axis_off()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="output folder")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    started = time.perf_counter()

    images, adata = histoexpr.datasets.make_spatial_expression(random_state=SEED)
    print(images, adata, sep="\n")
    features = TextureFeaturizer(verbose=1).fit_transform(images)
    table = cross_validate(features, adata)
    pcc = predict_unseen_patient(images, adata, out)

    print("\nMean Pearson correlation over genes, per section; each patient predicted from the")
    print("others; log1p of counts per 10,000 over all genes, each spot normalised.\n")
    print(table.to_string(float_format="{:.3f}".format))
    print(f"\nSTco, fitted, saved, loaded; the last patient from the others: {pcc:.3f}")
    print(f"{out}/predicted.h5ad, {out}/genes.png and {out}/stco.histoexpr written")
    print(f"{time.perf_counter() - started:.0f} seconds")


if __name__ == "__main__":
    main()
