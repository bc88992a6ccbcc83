"""All methods on real sections
============================

The methods of this library beside the controls and what papers report (her2st), and why the
numbers of different papers differ.

::

    python examples/her2st_methods.py --root HER2ST --weights WEIGHTS.safetensors \
        --genes PANEL.txt [--preset paper] [--jobs 2]

``--root`` is a copy of the her2st repository (Andersson et al. 2021), ``--genes`` a file with one
gene a line, ``--weights`` those of the backbone.

Settings: patches of 224 px at full resolution; one view of a frozen backbone; PCC per gene within
the held-out section, mean over genes, then over sections. Nothing is chosen on a test section.
``--preset quick`` ends within 15 minutes on two cores, ``--preset paper`` may take hours; what
quick makes smaller stands in the table. Each fit is kept in ``--out`` when it ends: a run that was
stopped goes on where it was.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from histoexpr import ExpressionTransformer, TimmFeaturizer
from histoexpr.datasets import load_her2st
from histoexpr.model_selection import benchmark, compare_protocols, published_scores, summarize
from histoexpr.plotting import plot_genes

SHOWN = 4  # genes on the maps


def compare(methods, images, adata, genes, out, **settings):
    """The tables of both protocols, why they differ, and the predictions of each section."""
    differ = compare_protocols(methods, images, adata, genes, out=out, **settings)
    settings = {"expression": ExpressionTransformer(genes), "out": out, **settings}
    # the fits are those that compare_protocols did: they are read
    by_section, predictions = benchmark(
        methods, images, adata, "section-out", return_predictions=True, **settings
    )
    by_patient = benchmark(methods, images, adata, "patient-out", **settings)
    return {"section-out": by_section, "patient-out": by_patient}, differ, predictions


def table(results, protocol):
    """Methods by sections, with the seconds of a fit; what papers report below."""
    scores = summarize(results).loc[protocol].rename_axis(None)
    fits = results.groupby(["method", "fold"])["seconds_fit"].first()
    scores["s/fit"] = fits.groupby("method").mean()
    if protocol == "section-out":
        sections = scores.columns.intersection(published_scores().index)
        published = published_scores().loc[sections].T
        published = published.assign(mean=published.mean(axis=1), undefined="", failed="")
        scores = pd.concat([scores, published])
    return scores


def notes(results):
    """A line for each row of which one has to know more."""
    told = results.attrs["settings"]["methods"]
    return [f"{row}: {settings['note']}" for row, settings in told.items() if settings["note"]]


def draw_maps(predictions, name, genes, out):
    """Measured and predicted maps of the genes that vary most in each section."""
    whole = predictions[name][:, genes]
    for section in whole.obs["section"].unique():
        predicted = whole[(whole.obs["section"] == section).to_numpy()].copy()
        measured = predicted.copy()
        measured.X = measured.layers["measured"]
        most = np.argsort(-measured.X.std(axis=0))[:SHOWN]
        axes = plot_genes({"measured": measured, name: predicted}, [genes[i] for i in most])
        axes[0, 0].figure.suptitle(f"{section}, predicted from the other sections")
        axes[0, 0].figure.savefig(out / f"genes_{section}.png", dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", required=True, help="folder of the her2st data")
    parser.add_argument("--weights", required=True, help="weights of the backbone")
    parser.add_argument("--genes", required=True, type=Path, help="one gene a line")
    parser.add_argument("--backbone", default="mobilenetv2_100", help="timm name")
    parser.add_argument("--preset", choices=["quick", "paper"], default="quick")
    parser.add_argument("--jobs", type=int, help="fits at a time")
    parser.add_argument("--out", type=Path, default=Path("her2st_output"), help="output folder")
    args = parser.parse_args()

    genes = args.genes.read_text().split()
    images, adata = load_her2st(args.root, patch_size="224px")
    results, differ, predictions = compare(
        "all",
        images,
        adata,
        genes,
        args.out,
        preset=args.preset,
        featurizer=TimmFeaturizer(args.backbone, checkpoint_path=args.weights, verbose=1),
        n_jobs=args.jobs,
        checkpoints=args.preset == "paper",
        verbose=1,
    )
    for protocol, scores in results.items():
        print(f"\nMean PCC, {protocol}; {scores['units'].iloc[0]}; seed {scores['seed'].iloc[0]}\n")
        print(table(scores, protocol).to_string(float_format="{:.3f}".format, na_rep=""))
    print("", *notes(results["section-out"]), sep="\n")
    print("\nWhy the numbers differ: mean PCC over the sections\n")
    print(differ.to_string(float_format="{:.3f}".format, na_rep=""))
    draw_maps(predictions, "STco", genes, args.out)
    print(f"\nGene maps and fits are in {args.out}")


if __name__ == "__main__":
    main()
