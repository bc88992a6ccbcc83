"""Processes that know nothing of what the test did, and begin in milliseconds.

They are forked from a server that has imported the package and what stands under it, and has done
nothing else. One server serves all tests of a process, also those that kill (reliability/).
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import joblib

_PRELOADED = """torch timm scanpy skimage.feature h5py zarr tifffile pyarrow.parquet
    matplotlib.figure distributed histoexpr.methods histoexpr.slides histoexpr.io histoexpr.report
    histoexpr.cli._benchmark"""


def forked():
    """The context of multiprocessing, its server told what to import."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED.split())
    return context


def in_a_fresh_process(function, *args):
    """What a function of a module returns there, or raises."""
    with ProcessPoolExecutor(1, mp_context=forked()) as pool:
        return pool.submit(function, *args).result()


def forked_jobs():
    """A block in which the jobs of joblib are such processes; loky's import all anew, for seconds.

    conftest.py tells joblib to fork from the server.
    """
    forked()
    return joblib.parallel_config("multiprocessing")
