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

import her2st_common as common
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from histoexpr import ExpressionTransformer, STco
from histoexpr.plotting import plot_genes


def methods(genes):
    """STco and what it is measured against, on frozen features."""
    expression = ExpressionTransformer(genes)
    stco = STco(featurizer=None, expression=expression, random_state=common.SEED)
    return {"STco": stco, **common.baselines(expression)}


def run(features, adata, genes):
    """A row for each protocol, method and held-out section; and STco's predictions."""
    rows, predictions = [], {}
    folds = common.protocols(adata.obs)
    plan = [(*fold, *model) for fold in folds for model in methods(genes).items()]
    for protocol, fold, train, test, name, model in tqdm(plan, desc="Fits", unit="fit"):
        seconds = common.fit(model, features, adata, train)
        truth, predicted, pcc = common.predict(model, features, adata, test)
        rows += common.make_rows(protocol, fold, name, pcc, seconds)
        if name == "STco" and protocol == common.SECTION_OUT:
            (section,) = pcc
            predictions[section] = (truth, predicted, test)
    return pd.DataFrame(rows), predictions


def draw_maps(predictions, adata, genes, out):
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
    args = common.make_parser(__doc__, out="her2st_output").parse_args()
    genes, images, adata, published = common.load(args)
    features = common.make_featurizer(args).fit_transform(images)
    results, predictions = run(features, adata, genes)
    results.to_csv(args.out / "scores.csv", index=False)
    print(f"\n{len(genes)} genes; log1p of counts per 10,000 over the panel, by spot.")
    common.print_tables(results, published)
    draw_maps(predictions, adata, genes, args.out)
    print(f"\nscores.csv and gene maps written to {args.out}")


if __name__ == "__main__":
    main()
