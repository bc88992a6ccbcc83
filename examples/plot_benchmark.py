"""Methods compared fairly
=======================

::

    python examples/plot_benchmark.py

Methods and controls on the same spots, genes and folds of a synthetic cohort, each patient
predicted from the others: the scores of all genes, whether differences are more than chance, and
which training patches a prediction was made of.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from histoexpr import LinearProbe, STco, StInfer, TextureFeaturizer
from histoexpr.datasets import make_spatial_expression
from histoexpr.model_selection import benchmark, compare_methods, summarize
from histoexpr.plotting import plot_neighbors, plot_scores

SEED = 0
SHOWN = 3  # spots whose neighbours are drawn


def run(images, adata):
    """One row a method, patient, section and gene; and the predictions, by method."""
    methods = {
        "STco": STco(featurizer=None),
        "StInfer": StInfer(featurizer=None),
        "linear probe": LinearProbe(featurizer=None),
    }
    return benchmark(
        methods,
        images,
        adata,
        "patient-out",
        featurizer=make_pipeline(TextureFeaturizer(), StandardScaler()),
        controls=["mean", "shuffled"],
        random_state=SEED,
        return_predictions=True,
    )


def draw(results, predicted, images, path):
    """Scores above; below, spots of the last patient and the training patches found for them."""
    figure = Figure(figsize=(9, 8), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(2, 3))
    controls = results.loc[results["control"], "method"].unique()
    plot_scores(results, controls=controls, ax=above.subplots())
    spots = np.linspace(predicted.n_obs - 60, predicted.n_obs - 1, SHOWN).astype(int)
    rows = predicted.obs["row"].to_numpy()[spots]
    neighbors = predicted.obsm["neighbors"][spots]
    plot_neighbors(images[rows], images, neighbors, axes=below.subplots(SHOWN, 6))
    figure.savefig(path, dpi=110)


def main(args=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmark.png"), help="the picture")
    parser.add_argument("--patients", type=int, default=4, help="patients of the cohort")
    parser.add_argument("--grid", type=int, default=16, help="rows and columns of spots")
    args = parser.parse_args(args)

    grid = (args.grid, args.grid)
    images, adata = make_spatial_expression(args.patients, grid=grid, random_state=SEED)
    results, predictions = run(images, adata)
    table = summarize(results)
    print("Mean PCC over genes, each patient predicted from the others; log1p, each spot")
    print(f"normalised; seed {SEED}\n")
    print(table.to_string(float_format="{:.3f}".format))
    print("\nPairwise, against the linear probe\n")
    compared = compare_methods(results, reference="linear probe")
    columns = ["method", "unit", "n", "median_difference", "effect_size", "p_holm"]
    print(compared[columns].to_string(index=False, float_format="{:.3g}".format))
    draw(results, predictions["STco"], images, args.out)
    print(f"\n{args.out} written")
    return table


if __name__ == "__main__":
    main()
