"""Between the spots
=================

Every second spot of a real section is hidden, and predicted from its image.

::

    python examples/finer_grid.py --root HER2ST --weights WEIGHTS.safetensors \
        --genes PANEL.txt --out MAP.png

``--root`` is a copy of the her2st repository (Andersson et al. 2021), ``--genes`` a file with one
gene a line. ``--out``, optional, is a picture: genes of the section as measured, interpolated,
and predicted on a grid four times as fine.

Of section C2 the spots with an odd (even) sum of array column and row are hidden, like the black
fields of a chessboard. A hidden spot is predicted from its own patch, by models fitted on the
spots shown; on C3, C4 and B4 in full; or on both. It is compared with what needs no image:
linear interpolation between the spots shown (nearest outside their hull), and the mean of the 12
nearest.

Settings: patches of 224 px; one view of a frozen backbone; the panel's genes, each spot scaled to
10,000 counts over the panel, log1p; PCC per gene over the hidden spots, mean over genes. Nothing
is chosen on hidden spots: the methods have their papers' settings, other numbers of neighbours
have rows of their own.
"""

import argparse
import logging
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy.interpolate import griddata
from scipy.spatial import cKDTree
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

import histoexpr
from histoexpr import (
    ExpressionTargetRegressor,
    ExpressionTransformer,
    SpotRetriever,
    STco,
    StInfer,
    TimmFeaturizer,
    finer_grid,
)
from histoexpr.metrics import mean_pearson
from histoexpr.plotting import plot_genes

SEED = 0
SECTION, OTHERS = "C2", ["C3", "C4", "B4"]
FACTOR = 4


def methods(genes):
    """The methods that are shown, on frozen features."""
    expression = ExpressionTransformer(genes)
    ridge = make_pipeline(StandardScaler(), PCA(0.99), RidgeCV(np.logspace(0, 6, 13)))
    return {
        "StInfer": StInfer(featurizer=None, expression=expression),
        **{
            f"StInfer, {k} neighbours": StInfer(
                featurizer=None, expression=expression, retriever=SpotRetriever(k)
            )
            for k in (10, 50)
        },
        "STco": STco(featurizer=None, expression=expression, random_state=SEED),
        "ridge": ExpressionTargetRegressor(ridge, expression),
    }


def interpolate(spatial, expression, at):
    """Linear between the spots, and that of the nearest spot outside their hull."""
    linear = griddata(spatial, expression, at, "linear")
    return np.where(np.isnan(linear), griddata(spatial, expression, at, "nearest"), linear)


def score_hidden(features, adata, hidden, genes):
    """Mean PCC over genes at the hidden spots, by method and training spots."""
    mine = (adata.obs["section"] == SECTION).to_numpy()
    shown = mine & ~hidden
    truth = ExpressionTransformer(genes).fit(adata[shown]).transform(adata)
    spatial = adata.obsm["spatial"]
    nearest = KNeighborsRegressor(12).fit(spatial[shown], truth[shown])
    predicted = {
        ("linear interpolation", "shown"): interpolate(
            spatial[shown], truth[shown], spatial[hidden]
        ),
        ("mean of the 12 nearest", "shown"): nearest.predict(spatial[hidden]),
    }
    training = {"shown": shown, "others": ~mine, "shown and others": ~hidden}
    plan = [(*model, *rows) for model in methods(genes).items() for rows in training.items()]
    for name, model, trained_on, train in tqdm(plan, desc="Fits", unit="fit"):
        if getattr(model, "retriever", None) and model.retriever.n_neighbors > train.sum():
            continue
        model.fit(features[train], adata[train])
        predicted[name, trained_on] = model.predict(features[hidden])
    return pd.Series({key: mean_pearson(truth[hidden], p) for key, p in predicted.items()})


def score_virtual(featurizer, images, adata, features, hidden, genes):
    """The same at the virtual spots of `finer_grid` that coincide with hidden ones."""
    shown = (images.section == SECTION) & ~hidden
    finer = finer_grid(images[shown], 2)
    virtual = finer[int(shown.sum()) :]
    distances, nearest = cKDTree(virtual.spatial).query(images.spatial[hidden])
    pitch = np.median(cKDTree(images.spatial[shown]).query(images.spatial[shown], k=2)[0][:, 1])
    found = distances < pitch / 4
    model = methods(genes)["StInfer"].fit(features[~hidden], adata[~hidden])
    truth = model.expression_.transform(adata)
    own = model.predict(features[hidden][found])
    at_virtual = model.predict(featurizer.transform(virtual[nearest[found]]))
    linear = interpolate(images.spatial[shown], truth[shown], virtual.spatial[nearest[found]])
    scores = [mean_pearson(truth[hidden][found], p) for p in (own, at_virtual, linear)]
    print(
        f"\nfiner_grid of the {shown.sum()} spots shown has {len(virtual)} virtual spots; "
        f"{found.sum()} of the {hidden.sum()} hidden spots\nlie within a quarter of the pitch of "
        f"one, {np.median(distances[found]):.0f} px from it. There StInfer has {scores[0]:.3f} "
        f"from the hidden\nspot's own patch, {scores[1]:.3f} from the virtual spot's, and linear "
        f"interpolation {scores[2]:.3f}."
    )


def draw_map(featurizer, images, adata, features, hidden, genes, path):
    """Measured everywhere; interpolated and predicted on a finer grid of the spots shown."""
    mine = images.section == SECTION
    shown = mine & ~hidden
    finer = finer_grid(images[shown], FACTOR)
    model = methods(genes)["STco"].fit(features[~hidden], adata[~hidden])
    truth = model.expression_.transform(adata)
    predicted = model.predict(featurizer.transform(finer))
    maps = {
        "measured": (truth[mine], images.spatial[mine]),
        "shown": (truth[shown], images.spatial[shown]),
        f"interpolated, {FACTOR}x": (
            interpolate(images.spatial[shown], truth[shown], finer.spatial),
            finer.spatial,
        ),
        f"STco, {FACTOR}x": (predicted, finer.spatial),
    }
    maps = {
        name: anndata.AnnData(
            values, var=pd.DataFrame(index=model.genes_), obsm={"spatial": spatial}
        )
        for name, (values, spatial) in maps.items()
    }
    # Chosen on the other sections: what varies most there.
    order = np.argsort(-truth[~mine].std(axis=0))
    axes = plot_genes(maps, list(model.genes_[order[:4]]))
    axes[0, 0].figure.savefig(path, dpi=90)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="folder of the her2st data")
    parser.add_argument("--weights", required=True, help="weights of the backbone")
    parser.add_argument("--genes", required=True, type=Path, help="one gene a line")
    parser.add_argument("--backbone", default="mobilenetv2_100", help="timm name")
    parser.add_argument("--out", type=Path, help="picture to write")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")

    genes = args.genes.read_text().split()
    images, adata = histoexpr.datasets.load_her2st(
        args.root, [SECTION, *OTHERS], patch_size="224px"
    )
    featurizer = TimmFeaturizer(args.backbone, checkpoint_path=args.weights, verbose=1)
    features = featurizer.fit_transform(images)
    mine = images.section == SECTION
    odd = images.positions.sum(axis=1) % 2 == 1
    halves = {"odd hidden": mine & odd, "even hidden": mine & ~odd}
    table = pd.DataFrame(
        {name: score_hidden(features, adata, hidden, genes) for name, hidden in halves.items()}
    ).rename_axis(["method", "fitted on"])
    table["mean"] = table.mean(axis=1)
    n_hidden = " and ".join(str(hidden.sum()) for hidden in halves.values())
    print(f"\nMean PCC over {len(genes)} genes at the hidden spots of {SECTION} ({n_hidden}),")
    print(f"others: {', '.join(OTHERS)}; log1p of counts per 10,000 over the panel; seed {SEED}\n")
    print(table.to_string(float_format="{:.3f}".format, sparsify=False))
    hidden = halves["odd hidden"]
    score_virtual(featurizer, images, adata, features, hidden, genes)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        draw_map(featurizer, images, adata, features, hidden, genes, args.out)
        print(f"\n{args.out} written")


if __name__ == "__main__":
    main()
