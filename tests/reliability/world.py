"""What no call of the library may change: the state of the process, and what the caller gave."""

import contextlib
import dataclasses
import logging
import os
import random
import sys
import threading
import warnings
from collections.abc import Mapping

import anndata
import faiss
import matplotlib
import numpy as np
import pandas as pd
import scipy.sparse
import sklearn
import torch
from PIL import Image, ImageFile


@contextlib.contextmanager
def unchanged_world(*given, but=()):
    """Within this block, neither the state of the process changes nor an object that is given.

    ``but`` names what may. What the block raises comes through, once the comparison was made.
    """
    before, objects = state(), [frozen(each) for each in given]
    error = None
    try:
        yield
    except Exception as raised:
        error = raised
    after = state()
    for name, was in before.items():
        now = was if name in but else after[name]
        assert now == was, f"{name}: {_only(was, now)} became {_only(now, was)}"
    for each, was in zip(given, objects):
        assert frozen(each) == was, f"{type(each).__name__} was changed"
    if error is not None:
        raise error


def _only(one, other):
    """What is in one and not in the other, for a message."""
    if isinstance(one, dict):
        one, other = list(one.items()), list(other.items())
    if isinstance(one, list):
        one = [each for each in one if each not in other]
    return f"{one!r:.300}"


def state():
    """Everything global that the library could touch, as values that can be compared."""
    return {
        "random": random.getstate(),
        "NumPy's generator": repr(np.random.get_state(legacy=False)["state"]["key"].tobytes()),
        "place in it": np.random.get_state(legacy=False)["state"]["pos"],
        "torch's generator": torch.get_rng_state().numpy().tobytes(),
        "torch's threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "FAISS's threads": faiss.omp_get_max_threads(),
        "default dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul precision": torch.get_float32_matmul_precision(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "warnings filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "errors of floats": np.geterr(),
        "print options": repr(np.get_printoptions()),
        "pandas": repr(pd._config.config._global_config),
        "anndata": repr(anndata.settings),
        "scikit-learn": sklearn.get_config(),
        "environment": dict(os.environ),
        "working directory": os.getcwd(),
        "open files": open_files(),
        "threads": {thread.name for thread in threading.enumerate() if not thread.daemon},
        "Pillow": (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES),
        "matplotlib": drawing(),
        "logging": [
            (logger.level, logger.disabled, list(logger.handlers))
            for logger in (logging.getLogger(), logging.getLogger("histoexpr"))
        ],
    }


def drawing():
    """matplotlib's settings; to ask them for the backend would choose one."""
    settings = {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != "backend"}
    return settings | {"backend": matplotlib.get_backend(auto_select=False)}


def open_files():
    """Files, not pipes and devices, that the process holds open; empty where there is no /proc."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(f"/proc/self/fd/{number}"))
    installed = sys.prefix  # matplotlib keeps the files of its fonts open
    return sorted(n for n in found if os.path.isfile(n) and not n.startswith(installed))


def frozen(thing):
    """An object as nested tuples that are equal if nothing of it has changed."""
    if isinstance(thing, np.ndarray):
        flags = thing.flags.writeable, thing.flags.c_contiguous, thing.flags.f_contiguous
        values = tuple(thing.ravel().tolist()) if thing.dtype == object else thing.tobytes()
        return type(thing), thing.dtype.str, thing.shape, flags, values
    if scipy.sparse.issparse(thing):
        parts = ("data", "indices", "indptr", "row", "col")
        arrays = tuple(frozen(getattr(thing, p)) for p in parts if hasattr(thing, p))
        return type(thing), thing.shape, arrays
    if isinstance(thing, (pd.DataFrame, pd.Series)):
        table = thing.to_frame() if isinstance(thing, pd.Series) else thing
        columns = tuple(map(str, table.columns)), tuple(map(str, table.dtypes))
        return columns, tuple(table.index), table.to_csv()
    if isinstance(thing, anndata.AnnData):
        names = ("X", "obs", "var", "uns", "layers", "obsm", "varm", "obsp")
        return thing.is_view, tuple(frozen(getattr(thing, name)) for name in names)
    if isinstance(thing, Mapping):
        return tuple((str(k), frozen(thing[k])) for k in thing)
    if isinstance(thing, (list, tuple)):
        return type(thing), tuple(map(frozen, thing))
    if dataclasses.is_dataclass(thing):  # SpotPatches, SpotFeatures
        names = [field.name for field in dataclasses.fields(thing)]
        return tuple((name, frozen(getattr(thing, name))) for name in names)
    if isinstance(thing, sklearn.base.BaseEstimator):
        # Attributes with one underscore before them are the estimator's own business.
        return type(thing), frozen({k: v for k, v in vars(thing).items() if k[0] != "_"})
    if isinstance(thing, torch.nn.Module):
        weights = {k: v.numpy(force=True) for k, v in thing.state_dict().items()}
        return thing.training, frozen(weights)
    if isinstance(thing, np.random.RandomState):
        return repr(thing.get_state())
    return repr(thing)
