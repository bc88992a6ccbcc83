"""SurvivingClient: what is large is kept by the scheduler, what is small goes with its task."""

import asyncio

import joblib
import numpy as np
import pytest

from histoexpr import SpotFeatures
from histoexpr.data import SpotPatches
from histoexpr.model_selection import SurvivingClient
from histoexpr.utils._dask import surviving, within_task

pytest.importorskip("dask", reason="needs histoexpr[distributed]")


class Client:
    """Stands for dask's; its futures are what they are to come to."""

    loop = "its loop"

    def submit(self, function, *args, pure):
        assert not pure  # no time goes into hashes of what is large
        return "future", function(*args)


def test_what_is_large_is_kept_by_the_scheduler():
    client, large = SurvivingClient(Client()), np.zeros(2**17)
    assert client.loop == "its loop"
    kind, data = asyncio.run(client.scatter(large, asynchronous=True, hash=False))
    assert kind == "future" and data is large
    small = np.zeros(2**17 - 100)
    assert asyncio.run(client.scatter(small, asynchronous=True, hash=False)) is small
    ((kind, data),) = client.scatter([small], broadcast=True)
    assert kind == "future" and data is small


@pytest.mark.parametrize(
    "X",
    [
        SpotPatches.from_arrays(np.zeros((400, 32, 32, 3), np.uint8)),
        SpotPatches.from_images(np.zeros((600, 600, 3), np.uint8), [[9.0, 9.0]], out_px=16),
        SpotFeatures(np.zeros((300, 500))),
    ],
    ids=["patches", "an image in memory", "features"],
)
def test_the_size_of_X_is_that_of_what_is_sent(X):
    from dask.sizeof import sizeof

    assert 2**20 < sizeof(X) < 2**21


def test_an_image_of_a_file_is_not_sent(tmp_path):
    from dask.sizeof import sizeof
    from PIL import Image

    Image.fromarray(np.zeros((900, 900, 3), np.uint8)).save(tmp_path / "section.png")
    X = SpotPatches.from_images(tmp_path / "section.png", [[9.0, 9.0]], out_px=16)
    assert sizeof(X) < 2**12


def test_other_backends_are_left_alone():
    with joblib.parallel_config("threading", n_jobs=3):
        before = joblib.parallel.get_active_backend()
        with surviving(np.zeros(3)), within_task():
            assert joblib.parallel.get_active_backend() == before
