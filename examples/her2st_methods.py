"""All five methods in one table, beside ridge, kNN and mean, on real sections (her2st).

    python examples/her2st_methods.py --root HER2ST --weights WEIGHTS.safetensors \
        --genes PANEL.txt --published FOLDER [--preset paper]

``--root``, ``--genes``, ``--published``: as for ``her2st_patients.py``.

``--preset quick`` ends within 15 minutes on two cores, ``--preset paper`` may take hours; what
quick makes smaller stands in the table. Each fit is written to ``fits.jsonl`` in ``--out`` when it
ends, and a fit that is there, of the same settings on the same data, is not done again: a run that
was stopped goes on where it was, Reg2ST within its fit. The features are kept there, too.

Settings: patches of 224 px at full resolution; one view of a frozen backbone, its features as they
are (ridge alone standardises them); the panel's genes, each spot scaled to 10,000 counts over the
panel, log1p, for all rows (Reg2ST's paper has log10, which is the same but for a factor); PCC per
gene within the held-out section, mean over genes. Each row is one estimator, and nothing is chosen
on a test section. Reg2ST is fitted once, and predicts by its decoder and by retrieval.
"""

import json
import shutil
from pathlib import Path

import her2st_common as common
import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone
from tqdm.auto import tqdm

import histoexpr
from histoexpr import (
    GR2ST,
    ExpressionTransformer,
    MclSTExp,
    Reg2ST,
    SpotFeatures,
    STco,
    StInfer,
    Trainer,
)
from histoexpr.utils import written_aside

# What quick makes smaller, and what the paper has. Fewer steps go with a larger learning rate: of
# 1e-4, 3e-4 and 1e-3 the one that served an unseen patient of the synthetic cohort best.
SMALLER = {
    "Reg2ST": {
        "hidden_dim": (256, 1024),
        "n_layers": (2, 6),
        "trainer__max_epochs": (100, 400),
        "trainer__lr": (1e-3, 1e-4),
    },
}
PREDICT_BY = {"Reg2ST": ("decoder", "retrieval")}


def methods(genes, preset):
    """The five methods and what they are measured against, on frozen features."""
    expression = ExpressionTransformer(genes)
    given = {"featurizer": None, "expression": expression, "random_state": common.SEED}
    models = {
        "STco": STco(**given),
        "MclSTExp": MclSTExp(**given),
        "GR2ST": GR2ST(**given),
        "StInfer, retrieval": StInfer(**given),
        "StInfer, regression": StInfer(predict_by="regression", **given),
        "Reg2ST": Reg2ST(trainer=Trainer(), **given),
    }
    if preset == "quick":
        for name, smaller in SMALLER.items():
            models[name].set_params(**{key: value for key, (value, _) in smaller.items()})
    return {**models, **common.baselines(expression)}


def describe(preset):
    """For each row of the table, how the method departs from its paper's size."""
    names = [name for model in methods([], preset) for name in row_names(model)]
    settings = dict.fromkeys(names, "as its paper")
    settings.update(dict.fromkeys(common.baselines(None), ""))
    for name, smaller in SMALLER.items() if preset == "quick" else ():
        changed = [
            f"{key.rpartition('__')[2]} {value:g} ({paper:g})"
            for key, (value, paper) in smaller.items()
        ]
        words = f"smaller than its paper (in brackets): {', '.join(changed)}"
        settings.update(dict.fromkeys(row_names(name), words))
    return settings


def row_names(method):
    """A method's rows in the table: one for each way in which it predicts."""
    return [f"{method}, {by}" for by in PREDICT_BY.get(method, ())] or [method]


class Fits:
    """The fits that are done, in a file of JSON lines that is whole at any time."""

    def __init__(self, path):
        self.path = Path(path)

    def read(self):
        """From key to fit."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return {entry["key"]: entry for entry in map(json.loads, lines)}

    def add(self, entry):
        """Add a fit to those in the file."""
        entries = [*self.read().values(), entry]
        with written_aside(self.path) as aside:
            aside.write_text("".join(f"{json.dumps(each)}\n" for each in entries))


def run(models, features, adata, data_hash, fits, checkpoints=None):
    """A row for each protocol, method and held-out section; fits that are done are read."""
    rows = []
    folds = common.protocols(adata.obs)
    plan = [(*fold, *model) for fold in folds for model in models.items()]
    for protocol, fold, train, test, name, model in tqdm(plan, desc="Fits", unit="fit"):
        # Protocols that have a fold in common share its fit.
        key = joblib.hash([name, model, data_hash, train, test, histoexpr.__version__])
        entry = fits.read().get(key)
        if entry is None:
            entry = {
                "key": key,
                "method": name,
                "settings": repr(model),
                "seed": common.SEED,
                "test": adata.obs["section"][test].unique().tolist(),
                **fit_and_score(name, model, features, adata, train, test, checkpoints),
            }
            fits.add(entry)
            if checkpoints is not None:
                shutil.rmtree(checkpoints, ignore_errors=True)
        for row, pcc in entry["mean_pcc"].items():
            rows += common.make_rows(protocol, fold, row, pcc, entry["seconds"])
    return pd.DataFrame(rows)


def fit_and_score(name, model, features, adata, train, test, checkpoints):
    """Fit a model; its seconds, and for each row of the table the mean PCC of each section."""
    model = clone(model)
    if name == "Reg2ST":
        model.set_params(trainer__checkpoint_dir=checkpoints, trainer__verbose=1)
    seconds = common.fit(model, features, adata, train)
    # A fit that goes on from a checkpoint has epochs of an earlier run.
    seconds = max(seconds, sum(epoch["seconds"] for epoch in getattr(model, "history_", [])))
    mean_pcc = {}
    for row, by in zip(row_names(name), PREDICT_BY.get(name, [None])):
        if by is not None:
            model.set_params(predict_by=by)
        *_, mean_pcc[row] = common.predict(model, features, adata, test)
    return {"seconds": seconds, "mean_pcc": mean_pcc}


def keep_features(args, images, data_hash):
    """Features with the places of their spots, computed once for all runs into a folder."""
    path = args.out / f"features_{data_hash}.npy"
    if not path.exists():
        features = common.make_featurizer(args).fit_transform(images)
        with written_aside(path) as aside:
            np.save(aside, features)
    return SpotFeatures.of(images, np.load(path))


def main():
    parser = common.make_parser(__doc__, out="her2st_methods_output")
    parser.add_argument("--preset", choices=["quick", "paper"], default="quick")
    args = parser.parse_args()
    genes, images, adata, published = common.load(args)
    data_hash = joblib.hash([images, adata, args.backbone, Path(args.weights).read_bytes()])
    features = keep_features(args, images, data_hash)
    # A quick fit is done again in less time than its checkpoints take to write.
    checkpoints = args.out / "checkpoints" if args.preset == "paper" else None
    fits = Fits(args.out / "fits.jsonl")
    results = run(methods(genes, args.preset), features, adata, data_hash, fits, checkpoints)
    results.to_csv(args.out / f"scores_{args.preset}.csv", index=False)
    print(
        f"\nPreset {args.preset}: {len(genes)} genes; log1p of counts per 10,000 over the panel, "
        "by spot.\nWhere a patient has one section, both protocols share the fit that predicts it."
    )
    with pd.option_context("display.max_colwidth", None):
        common.print_tables(results, published, describe(args.preset))
    print(f"\nfits.jsonl and scores_{args.preset}.csv written to {args.out}")


if __name__ == "__main__":
    main()
