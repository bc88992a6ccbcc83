"""Everything of the library that writes files, as pairs of functions of a folder.

``write(folder, version)`` writes version 0 or 1; ``read(folder)`` fails on anything that is not one
of the two as a whole, and returns which.
"""

import itertools
import json
from dataclasses import dataclass
from functools import cache, partial
from typing import Callable

import anndata
import numpy as np
import pandas as pd
import torch
from PIL import Image

from histoexpr import LinearProbe, SpotRetriever, load, save
from histoexpr.cli._benchmark import write_results
from histoexpr.cli._run_folder import claim
from histoexpr.model_selection._store import Store
from histoexpr.slides import predict_slide, write_gene_maps
from histoexpr.slides._blocks import Blocks
from histoexpr.training._run import Run


@dataclass(frozen=True)
class Writer:
    write: Callable
    read: Callable
    seconds: float = 0.05  # that writing takes about


def write_forever(begin, name, folder):
    """Write one version after the other."""
    begin()
    for number in itertools.count(1):
        WRITERS[name].write(folder, number % 2)


def _version(values):
    """0 or 1, which is all that an array holds."""
    found = np.unique(np.asarray(values).round(3))
    assert found.tolist() in ([0], [1]), found
    return int(found[0])


# models ------------------------------------------------------------------------------------------


@cache
def _model(version):
    X = np.random.default_rng(0).normal(size=(300, 64))
    return SpotRetriever(n_neighbors=1).fit(X, np.full((300, 100), float(version)))


def _write_model(folder, version):
    save(_model(version), folder / "model.histoexpr")


def _read_model(folder):
    return _version(load(folder / "model.histoexpr").predict(np.ones((5, 64))))


# trainings ---------------------------------------------------------------------------------------


def _run():
    settings = {"optimizer": "adam", "lr": 0.1, "weight_decay": 0.0}
    return Run(torch.nn.Linear(300, 300), settings, seed=0)


def _write_checkpoint(folder, version):
    run = _run()
    with torch.no_grad():
        for weight in run.module.parameters():
            weight.fill_(version)
    run.history.append({"epoch": version})
    run.save(folder / "run.pt")


def _read_checkpoint(folder):
    run = _run()
    with torch.random.fork_rng():
        run.load(folder / "run.pt")
    weights = torch.cat([weight.flatten() for weight in run.module.parameters()])
    assert _version(weights.detach()) == run.history[-1]["epoch"]
    return run.history[-1]["epoch"]


# a benchmark -------------------------------------------------------------------------------------


def _scores(version):
    n_genes = 2000
    return pd.DataFrame(
        {"gene": [f"gene{i}" for i in range(n_genes)], "pearson": float(version), "rmse": 0.5}
    )


def _write_fit(folder, version):
    predictions = anndata.AnnData(np.full((400, 100), version, np.float32))
    entry = {"scores": _scores(version), "predictions": predictions, "seconds": 1.5}
    Store(folder).write("0fit", entry)


def _read_fit(folder):
    entry = Store(folder).read("0fit", with_predictions=True)
    _version(entry["predictions"].X)  # replaced after the other file: another version is right
    return _version(entry["scores"]["pearson"])


def _write_features(folder, version):
    (folder / "features" / "key.npy").unlink(missing_ok=True)
    Store(folder).features("key", lambda: np.full((1000, 500), float(version)))


def _read_features(folder):
    return _version(Store(folder).features("key", lambda: np.zeros((1000, 500))))


def _results(version):
    row = {"protocol": "p", "method": "ridge", "control": False, "fold": "A", "section": "A1",
           "patient": "A", "patient_in_training": False, "mae": 0.4, "units": "u", "n_train": 9,
           "n_spots": 9, "seconds_fit": 1.0, "seconds_predict": 1.0, "peak_memory": 1, "seed": 0,
           "error": "", "fit": "0"}  # fmt: skip
    return pd.DataFrame({**row, **_scores(version).to_dict("list")})


def _write_table(folder, version):
    write_results(_results(version), folder)


def _read_table(folder):
    assert len(pd.read_csv(folder / "summary.csv")) == 1
    table = pd.read_parquet(folder / "results.parquet")
    assert len(table) == 2000
    return _version(table["pearson"])


def _write_report(folder, version):
    from histoexpr.report import write_report

    write_report(_results(version), folder / "report.html", title=f"Version {version}")


def _read_report(folder):
    page = (folder / "report.html").read_text(encoding="utf-8").strip()
    assert page.endswith("</html>")
    return 0 if "Version 0" in page else 1


def _write_settings(folder, version):
    words = {f"option {i}": str(version) for i in range(2000)}
    claim(folder / "run", "settings.json", words, (), overwrite=True)


def _read_settings(folder):
    words = json.loads((folder / "run" / "settings.json").read_text())
    assert len(words) == 2000
    return _version([float(value) for value in words.values()])


# slides ------------------------------------------------------------------------------------------


def _write_block(folder, version):
    blocks = Blocks([np.arange(4000)], folder / "blocks", "key")
    blocks.put(0, np.full((4000, 200), version, np.float32))


def _read_block(folder):
    return _version(Blocks([np.arange(4000)], folder / "blocks", "key").read(0, 4000))


class Colours:
    """A featurizer in no time."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.asarray(X)[:, ::8, ::8].mean(axis=(1, 2))

    def get_params(self, deep=True):
        return {}


@cache
def _slide_model(version):
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 255, (12, 32, 32, 3), dtype=np.uint8)
    return LinearProbe(Colours(), cv=2).fit(patches, np.full((12, 300), float(version)))


def _write_slide(suffix, folder, version):
    slide = np.full((640, 640, 3), 180, np.uint8)
    predict_slide(
        _slide_model(version), slide, folder / f"slide{suffix}", mpp=1.0, pitch="20um",
        patch_size="32um", out_px=32, tissue=None, n_threads=1,
    )  # fmt: skip


def _read_slide(suffix, folder):
    path = folder / f"slide{suffix}"
    read = anndata.read_zarr if suffix == ".zarr" else anndata.read_h5ad
    adata = read(path)
    assert adata.n_obs > 900 and adata.n_vars == 300
    return _version(adata.X)


def _predicted(version):
    adata = anndata.AnnData(np.full((100, 3), float(version), np.float32))
    adata.var_names = ["A", "B", "C"]
    adata.obs["section"] = "s"
    adata.obsm["spatial"] = np.stack(np.divmod(np.arange(100), 10), axis=1) * 20.0 + 10
    factors = {"tissue_hires_scalef": 1.0, "spot_diameter_fullres": 18.0}
    image = np.full((200, 200, 3), 230, np.uint8)
    adata.uns["spatial"] = {"s": {"images": {"hires": image}, "scalefactors": factors}}
    adata.uns["histoexpr"] = {"units": "u", "pitch_um": 20.0, "mpp": 1.0}
    return adata


def _write_maps(kind, folder, version):
    write_gene_maps(_predicted(version), folder, genes=["A"], kind=kind)


def _read_png(folder):
    with Image.open(folder / "s_A.png") as image:
        image.load()
    return 0  # a picture shows no number: that it is whole is all that can be told


def _read_ome(folder):
    import tifffile

    return _version(tifffile.imread(folder / "s.ome.tiff"))


WRITERS = {
    "model": Writer(_write_model, _read_model),
    "checkpoint": Writer(_write_checkpoint, _read_checkpoint),
    "fit of a benchmark": Writer(_write_fit, _read_fit),
    "features of a benchmark": Writer(_write_features, _read_features),
    "results": Writer(_write_table, _read_table),
    "report": Writer(_write_report, _read_report, 0.3),
    "settings of a command": Writer(_write_settings, _read_settings),
    "block of a slide": Writer(_write_block, _read_block),
    "slide as h5ad": Writer(partial(_write_slide, ".h5ad"), partial(_read_slide, ".h5ad"), 0.2),
    "slide as zarr": Writer(partial(_write_slide, ".zarr"), partial(_read_slide, ".zarr"), 0.6),
    "gene map as PNG": Writer(partial(_write_maps, "png"), _read_png, 0.2),
    "gene maps as OME-TIFF": Writer(partial(_write_maps, "ome.tiff"), _read_ome),
}
