"""Two worker processes of dask: the numbers of one process, also when one of them is killed."""

import asyncio
import contextlib
import logging
import os
import signal

import anndata
import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from processes import forked
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score

from histoexpr import (
    ExpressionTargetRegressor,
    SpotFeatures,
    STco,
    StInfer,
    TextureFeaturizer,
    Trainer,
)
from histoexpr.datasets import make_spatial_expression
from histoexpr.metrics import pearson_scorer
from histoexpr.model_selection import SurvivingClient, benchmark
from histoexpr.slides import predict_slides

WORKER = "HISTOEXPR_TEST_WORKER"  # set in workers alone: nobody else is killed
MEASURED = ["seconds_fit", "seconds_predict", "peak_memory"]


def die_once(marker):
    """End this worker without a word, as a cluster may; the first that comes here, once."""
    if WORKER not in os.environ:
        return
    with contextlib.suppress(FileExistsError):
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        os.kill(os.getpid(), signal.SIGKILL)


class DyingScorer:
    def __init__(self, marker):
        self.marker = marker

    def __call__(self, model, X, y):
        die_once(self.marker)
        return pearson_scorer(model, X, y)


class DyingRidge(Ridge):
    def __init__(self, alpha=1.0, marker=None):
        super().__init__(alpha)
        self.marker = marker

    def fit(self, X, y):
        super().fit(X, y)
        die_once(self.marker)
        return self


class Counted(SpotFeatures):
    """Notes in a file each time that it is sent."""

    log = None

    def __reduce__(self):
        with open(self.log, "a") as file:
            file.write("sent\n")
        return SpotFeatures, (self.features, self.spatial, self.positions, self.section)


def serve(address, folder, n_threads):
    """Be a worker, one task at a time."""
    from distributed import Worker

    async def run():
        options = dict(nthreads=1, local_directory=folder, dashboard=False)
        async with Worker(address, **options, silence_logs=logging.CRITICAL) as worker:
            await worker.finished()

    os.environ[WORKER] = "1"
    torch.set_num_threads(n_threads)
    asyncio.run(run())


class Workers:
    """Processes that serve a scheduler."""

    def __init__(self, *arguments):
        self.arguments, self.processes = arguments, []

    def start(self):
        arguments = (*self.arguments, torch.get_num_threads())
        self.processes.append(forked().Process(target=serve, args=arguments, daemon=True))
        self.processes[-1].start()

    def killed(self):
        return sum(process.exitcode == -signal.SIGKILL for process in self.processes)

    def stop(self):
        for process in self.processes:
            process.kill()
            process.join()


@pytest.fixture
def cluster(tmp_path):
    """A client, and its two workers."""
    distributed = pytest.importorskip("distributed", reason="needs histoexpr[distributed]")
    import dask

    nobody = {"n_workers": 0, "host": "127.0.0.1", "dashboard_address": None}
    manager = "distributed.scheduler.active-memory-manager.interval"
    with (
        dask.config.set({manager: "10ms"}),  # drops at once what several workers have
        distributed.LocalCluster(**nobody, silence_logs=logging.CRITICAL) as scheduler,
        distributed.Client(scheduler, set_as_default=False) as client,
    ):
        workers = Workers(scheduler.scheduler_address, str(tmp_path / "workers"))
        try:
            workers.start()
            workers.start()
            client.wait_for_workers(2, timeout=120)
            yield client, workers
        finally:
            workers.stop()


def test_a_cluster_gives_the_numbers_of_one_process_and_survives_losses(cluster, tmp_path):
    # One test, because starting workers is what takes long.
    client, workers = cluster
    images, adata = make_spatial_expression(
        4, grid=(7, 7), n_genes=10, mpp=2.0, out_px=32, random_state=0
    )
    check_slides(client, images, adata, tmp_path)
    check_cross_validation(client, images, adata, tmp_path)
    assert workers.killed() == 1
    workers.start()
    client.wait_for_workers(2, timeout=120)
    check_benchmark(client, images, adata, tmp_path)
    assert workers.killed() == 2


def check_slides(client, images, adata, folder):
    model = StInfer(TextureFeaturizer()).fit(images, adata)
    paths = [folder / f"{name}.png" for name in ("A1", "B1", "C1")]
    for path in paths:
        Image.fromarray(images.section_images[path.stem].pixels()).save(path)
    options = dict(mpp=2.0, tissue=None)
    serial = predict_slides(model, paths, folder / "serial", **options)
    with joblib.parallel_config("dask", client=client):
        done = predict_slides(model, paths, folder / "out", **options)
    assert list(done) == paths
    for path in paths:
        expected, found = (anndata.read_h5ad(results[path]) for results in (serial, done))
        assert list(found.obs_names) == list(expected.obs_names)
        np.testing.assert_allclose(found.X, expected.X, atol=1e-5)


def check_cross_validation(client, images, adata, folder):
    features = np.tile(np.asarray(images).mean(axis=(1, 2)) / 255, (1, 400))
    X = Counted.of(images, features.astype(np.float64))
    assert X.features.nbytes > 2**20
    object.__setattr__(X, "log", str(folder / "sent.txt"))
    model = STco(None, trainer=Trainer(max_epochs=2), random_state=0)
    given = dict(groups=adata.obs["patient"], cv=LeaveOneGroupOut(), error_score="raise")
    serial = cross_val_score(model, X, adata, scoring=pearson_scorer, **given)
    with joblib.parallel_config("dask", client=SurvivingClient(client)):
        dying = DyingScorer(str(folder / "scored"))
        found = cross_val_score(model, X, adata, scoring=dying, **given)
    np.testing.assert_allclose(found, serial, atol=1e-5)
    sent = (folder / "sent.txt").read_text().splitlines()
    assert len(sent) < len(found), "X goes once to the workers, not with every task"


def check_benchmark(client, images, adata, folder):
    methods = {
        "STco": STco(None, trainer=Trainer(max_epochs=2)),
        "ridge": ExpressionTargetRegressor(DyingRidge(marker=str(folder / "fitted"))),
    }
    given = dict(featurizer=TextureFeaturizer(), controls=["kNN"], random_state=0)
    with joblib.parallel_config("dask", client=client):
        found = benchmark(methods, images, adata, out=folder / "fits", **given)
    expected = benchmark(methods, images, adata, **given)
    assert not found["error"].any()
    pd.testing.assert_frame_equal(
        found.drop(columns=MEASURED), expected.drop(columns=MEASURED), atol=1e-5, rtol=0
    )
    assert len(list((folder / "fits" / "fits").iterdir())) == 3 * 4
