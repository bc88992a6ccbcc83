"""A method of one's own, in 40 lines
==================================

::

    python examples/plot_new_method.py

A method is a torch module and its defaults; images, genes, training, search, files and
scikit-learn's rules come from the base. Here is a sixth one: as CLIP does, it compares embeddings
by their angle alone and learns the temperature of the loss. It is put through scikit-learn's own
checks, and compared with STco on a synthetic cohort, on patients that neither has seen.
"""

import argparse
import math
from collections import Counter
from numbers import Integral
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import Interval
from sklearn.utils.estimator_checks import check_estimator
from torch import nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from histoexpr import ExpressionTransformer, SpotRetriever, STco, TextureFeaturizer, Trainer
from histoexpr._types import LossOutput
from histoexpr.base import BaseExpressionRegressor, RetrievalMixin
from histoexpr.datasets import make_spatial_expression
from histoexpr.metrics import pearson_per_section
from histoexpr.nn import ProjectionHead, symmetric_info_nce
from histoexpr.plotting import plot_genes
from histoexpr.testing import expected_failed_checks

SEED = 0


class AngleEncoder(nn.Module):
    """Images and spots on one sphere."""

    def __init__(self, n_features, n_genes, projection_dim):
        super().__init__()
        self.image_head = ProjectionHead(n_features, projection_dim)
        self.spot_head = ProjectionHead(n_genes, projection_dim)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(0.07)))

    def embed_image(self, batch):
        return F.normalize(self.image_head(batch.features), dim=1)

    def embed_spot(self, batch):
        return F.normalize(self.spot_head(batch.expression), dim=1)

    def forward(self, batch):
        temperature = self.log_temperature.exp()
        loss = symmetric_info_nce(self.embed_spot(batch), self.embed_image(batch), temperature)
        return LossOutput(loss, {"temperature": temperature.detach()})


class AngleST(RetrievalMixin, BaseExpressionRegressor):
    """Contrastive learning on a sphere; prediction by the mean of the nearest training spots."""

    _parameter_constraints = {
        **BaseExpressionRegressor._parameter_constraints,
        **RetrievalMixin._parameter_constraints,
        "projection_dim": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, featurizer=None, projection_dim=256, expression=None, trainer=None,
                 retriever=None, random_state=None):  # fmt: skip
        self.featurizer = featurizer
        self.projection_dim = projection_dim
        self.expression = expression
        self.trainer = trainer
        self.retriever = retriever
        self.random_state = random_state

    def _make_module(self, n_features, n_genes, grid_shape):
        return AngleEncoder(n_features, n_genes, self.projection_dim)

    def _default_trainer(self):
        return Trainer(max_epochs=50, lr=1e-3)

    def _default_retriever(self):
        return SpotRetriever(50, weights="uniform", metric="cosine")


def compare(methods, features, adata):
    """Predictions of each patient by models of the others, beside what was measured: AnnData."""
    measured = adata.copy()
    measured.X = ExpressionTransformer().fit_transform(adata)
    maps = {"measured": measured}
    for name, method in tqdm(methods.items(), desc="Cross-validation", unit="method"):
        model = make_pipeline(StandardScaler(), method)
        groups = adata.obs["patient"].to_numpy()
        maps[name] = adata.copy()
        maps[name].X = cross_val_predict(
            model, features, adata, groups=groups, cv=LeaveOneGroupOut()
        )
    return maps


def score(maps, section):
    """Mean PCC over genes, for each method (row) and section (column)."""
    truth = maps["measured"].X
    return pd.DataFrame(
        {
            name: pearson_per_section(truth, adata.X, section).mean(axis=1)
            for name, adata in maps.items()
            if name != "measured"
        }
    ).T


def draw(maps, path, n_genes=3):
    """The genes that vary most in the other sections, on the last one."""
    sections = maps["measured"].obs["section"]
    last = (sections == sections.iloc[-1]).to_numpy()
    spread = np.std(maps["measured"].X[~last], axis=0)
    genes = list(maps["measured"].var_names[np.argsort(-spread)[:n_genes]])
    axes = plot_genes({name: adata[last] for name, adata in maps.items()}, genes)
    axes[0, 0].figure.suptitle(f"Section {sections.iloc[-1]}, predicted from other patients")
    axes[0, 0].figure.savefig(path, dpi=110)


def main(args=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("new_method.png"), help="the picture")
    parser.add_argument("--patients", type=int, default=4, help="patients of the cohort")
    parser.add_argument("--grid", type=int, default=18, help="rows and columns of spots")
    args = parser.parse_args(args)

    quick = AngleST(projection_dim=16, trainer=Trainer(max_epochs=2))
    checks = check_estimator(quick, expected_failed_checks=expected_failed_checks(quick))
    counts = Counter(check["status"] for check in checks)
    print("scikit-learn's checks:", ", ".join(f"{n} {status}" for status, n in counts.items()))

    grid = (args.grid, args.grid)
    images, adata = make_spatial_expression(args.patients, grid=grid, random_state=SEED)
    features = TextureFeaturizer().fit_transform(images)
    methods = {
        "AngleST": AngleST(random_state=SEED),
        "STco": STco(featurizer=None, random_state=SEED),
    }
    maps = compare(methods, features, adata)
    scores = score(maps, adata.obs["section"])
    print("\nMean PCC over genes, each patient predicted from the others; log1p, each spot")
    print(f"normalised; seed {SEED}\n")
    print(scores.assign(mean=scores.mean(axis=1)).to_string(float_format="{:.3f}".format))
    draw(maps, args.out)
    print(f"\n{args.out} written")
    return scores


if __name__ == "__main__":
    main()
