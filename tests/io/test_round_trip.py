"""What is saved and loaded again: every model, every kind of value, to the bit."""

import collections
import random
import subprocess
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from safetensors import numpy as safetensors
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyRegressor
from small_models import of_features, of_images

import histoexpr
from histoexpr.io._archive import as_json, from_json
from histoexpr.io._classes import Known
from histoexpr.io._graph import Reader, Writer

NAMES = [*of_features(), *of_images()]


@pytest.fixture(scope="module")
def files(fitted, tmp_path_factory):
    """All models in files, and what they predicted before, in a file beside them."""
    folder = tmp_path_factory.mktemp("models")
    for name, (model, X) in fitted.items():
        np.save(folder / f"{name}.npy", model.predict(X))
        histoexpr.save(model, folder / f"{name}.histoexpr")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_predicts_the_same_to_the_bit(name, fitted, files, tmp_path):
    model, X = fitted[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = histoexpr.load(files / f"{name}.histoexpr")
    assert type(loaded) is type(model)
    np.testing.assert_array_equal(loaded.predict(X), np.load(files / f"{name}.npy"))
    histoexpr.save(loaded, tmp_path / "again.histoexpr")
    first, again = files / f"{name}.histoexpr", tmp_path / "again.histoexpr"
    assert first.read_bytes() == again.read_bytes()


def test_a_fresh_process_predicts_the_same(files, small, tmp_path):
    """Featurizers are built again, in a process that knows nothing of the fit."""
    joblib.dump(small, tmp_path / "data.joblib")
    # An interpreter that has imported nothing: files say by themselves what they need.
    code = (
        "import sys, joblib, numpy as np, histoexpr\n"
        "from pathlib import Path\n"
        "images, features, _ = joblib.load(sys.argv[2])\n"
        "paths = sorted(Path(sys.argv[1]).glob('*.histoexpr'))\n"
        "for path in paths:\n"
        "    X = images if path.stem in sys.argv[3:] else features\n"
        "    predicted = histoexpr.load(path).predict(X)\n"
        "    assert np.array_equal(predicted, np.load(path.with_suffix('.npy'))), path\n"
        "print(len(paths))\n"
    )
    command = [sys.executable, "-c", code, files, tmp_path / "data.joblib", *of_images()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.strip() == str(len(NAMES)), done.stderr


def test_what_a_model_shares_it_shares_again(fitted, files):
    ensemble = histoexpr.load(files / "ContrastiveEnsemble.histoexpr")
    assert fitted["ContrastiveEnsemble"][0].new_ is fitted["ContrastiveEnsemble"][0].known_
    assert ensemble.new_ is ensemble.known_
    stco = histoexpr.load(files / "STco.histoexpr")
    assert stco.expression_ is stco.retriever_.expression_
    assert stco.embedded_expression_ is not stco.expression_


def test_an_ensemble_keeps_its_uncertainty(fitted, files):
    model, X = fitted["ContrastiveEnsemble"]
    loaded = histoexpr.load(files / "ContrastiveEnsemble.histoexpr")
    for one, other in zip(model.predict_interval(X), loaded.predict_interval(X)):
        np.testing.assert_array_equal(one, other)
    pd.testing.assert_series_equal(model.gene_reliability_, loaded.gene_reliability_)
    pd.testing.assert_frame_equal(model.new_.cv_scores_, loaded.new_.cv_scores_)


def test_a_loaded_model_can_be_fitted_and_cloned_again(fitted, files, small):
    from sklearn.base import clone

    _, features, adata = small
    loaded = histoexpr.load(files / "STco.histoexpr")
    again = clone(loaded).fit(features, adata)
    np.testing.assert_array_equal(again.predict(features), loaded.predict(features))


def test_global_state_stays_as_it_was(files):
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1], random.getstate()
    settings = torch.get_default_dtype(), torch.get_num_threads(), list(warnings.filters)
    for name in ("STco", "Reg2ST", "Pipeline"):
        histoexpr.load(files / f"{name}.histoexpr")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1]) and random.getstate() == before[2]
    assert settings == (torch.get_default_dtype(), torch.get_num_threads(), warnings.filters)


def round_trip(value):
    writer = Writer()
    writer.write([value])  # what is itself a scalar has no node
    nodes = from_json(as_json(writer.nodes), "")
    arrays = safetensors.load(safetensors.save(writer.arrays))
    return Reader(arrays, Known(), 2**20).read(nodes)[0]


VALUES = {
    "scalars": [None, True, False, 0, -(2**70), 1.5, -0.0, 1e-320, "é\ud800\n", ""],
    "floats": [float("inf"), float("-inf")],
    "tuples": (1, (2, ("a",)), ()),
    "dicts": {"a": {1: [2]}, 3: None, None: 4, 2.5: 5, np.str_("b"): 6},
    "ordered": collections.OrderedDict(b=1, a=2),
    "sets": [{"b", "a", "c"}, frozenset({1, 2}), set()],
    "bytes": b"\x00\xff",
    "slices": [slice(None), slice(1, None, -2)],
    "paths": Path("a") / "b",
    "types": [np.float32, np.float64, float],
    "dtypes": [np.dtype("float32"), np.dtype(">i2")],
    "torch": [torch.float32, torch.bfloat16, torch.device("cuda:1")],
}


@pytest.mark.parametrize("name", VALUES)
def test_plain_values(name):
    again = round_trip(VALUES[name])
    assert again == VALUES[name] and repr(again) == repr(VALUES[name])


ARRAYS = {
    "C": np.arange(6.0).reshape(2, 3),
    "F": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(12)[::2],
    "scalar": np.array(2.5),
    "empty": np.empty((0, 3), np.float32),
    "bool": np.array([True, False]),
    "half": np.array([1, np.nan, -np.inf], np.float16),
    "big endian": np.arange(3, dtype=">f4"),
    "complex": np.array([[1 + 2j, 3]], np.complex128),
    "dates": np.array(["2020-01-01", "NaT"], "M8[D]"),
    "uint64": np.array([2**64 - 1], np.uint64),
    "strings": np.array([["a", "bcd"], ["", "é"]]),
    "no strings": np.array([], dtype=str),
    "objects": np.array(["a", None, 3, 2.5], dtype=object),
    "numpy scalars": np.array([np.float32(1.5), np.str_("x")], dtype=object),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name):
    array = ARRAYS[name]
    again = round_trip(array)
    np.testing.assert_array_equal(again, array, strict=True)
    assert again.flags.writeable and np.isfortran(again) == np.isfortran(array)
    for one, other in zip(again.ravel().tolist(), array.ravel().tolist()):
        assert type(one) is type(other)


@pytest.mark.parametrize("value", [np.float32(1.1), np.int64(3), np.bool_(True), np.str_("gene")])
def test_numpy_scalars(value):
    again = round_trip(value)
    assert again == value and type(again) is type(value)
    assert np.isnan(round_trip(np.float64("nan")))


def test_a_file_mapped_into_memory_becomes_an_array(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(5))
    again = round_trip(np.load(tmp_path / "a.npy", mmap_mode="r"))
    assert type(again) is np.ndarray and again.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("layout", ["csr", "csc", "coo"])
@pytest.mark.parametrize("kind", ["matrix", "array"])
def test_sparse_matrices(layout, kind):
    dense = np.array([[0, 1.5, 0], [2, 0, 0]], np.float32)
    matrix = getattr(scipy.sparse, f"{layout}_{kind}")(dense)
    again = round_trip(matrix)
    assert type(again) is type(matrix) and again.dtype == matrix.dtype
    np.testing.assert_array_equal(again.toarray(), dense)


@pytest.mark.parametrize(
    "table",
    [
        pd.Series([1.0, np.nan], index=["a", "b"], name="x"),
        pd.Series(["u", None], dtype="string"),
        pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=pd.Index(["r", "s"], name="row")),
        pd.DataFrame(np.eye(2), columns=["same", "same"]),
        pd.DataFrame(index=range(3)),
    ],
    ids=str,
)
def test_tables(table):
    check = pd.testing.assert_series_equal
    if isinstance(table, pd.DataFrame):
        check = pd.testing.assert_frame_equal
    check(round_trip(table), table)


def test_indexes():
    for index in (pd.RangeIndex(2, 9, 3, name="n"), pd.Index([1.5, 2]), pd.Index(["a"], name="g")):
        pd.testing.assert_index_equal(round_trip(index), index, exact=True)


def test_random_states_go_on_where_they_were():
    random_state = np.random.RandomState(5)
    random_state.normal(size=7)  # an odd number: one is kept for later
    again = round_trip(random_state)
    np.testing.assert_array_equal(again.normal(size=700), random_state.normal(size=700))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_tensors(dtype):
    tensor = torch.arange(6).reshape(2, 3).to(dtype).T
    again = round_trip(tensor)
    assert torch.equal(again, tensor) and again.dtype == dtype
    assert torch.equal(round_trip(torch.tensor(1, dtype=dtype)), torch.tensor(1, dtype=dtype))


def test_modules_with_weights_they_share_and_buffers_they_do_not_store():
    linear = torch.nn.Linear
    module = torch.nn.Sequential(linear(3, 3), torch.nn.BatchNorm1d(3), linear(3, 3))
    module[2].weight = module[0].weight
    module[0].bias.requires_grad_(False)
    module.register_buffer("scratch", torch.ones(2), persistent=False)
    module.eval()
    again = round_trip(module)
    assert again[2].weight is again[0].weight and not again[0].bias.requires_grad
    assert list(again.state_dict()) == list(module.state_dict()) and "scratch" in again._buffers
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(x), module(x)) and not again.training


class Mine(BaseEstimator):
    """An estimator that this library does not know."""

    def __init__(self, inner=None):
        self.inner = inner

    def fit(self, X, y):
        self.inner_ = DummyRegressor().fit(X, y)
        self.module_ = MyModule()
        return self

    def predict(self, X):
        return self.inner_.predict(X)


class MyModule(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)


def test_own_classes_are_loaded_where_they_are_trusted(tmp_path):
    path = tmp_path / "mine.histoexpr"
    histoexpr.save(Mine().fit([[0], [1]], [1, 3]), path)
    with pytest.raises(ValueError, match=r"MyModule'.*not among.*trusted=\[\.\.\.\]"):
        histoexpr.load(path, trusted=[Mine])
    loaded = histoexpr.load(path, trusted=[Mine, MyModule])
    assert loaded.predict([[5]]) == [2] and loaded.module_.linear.weight.shape == (1, 2)
    for wrong in (["Mine"], None, 3):
        with pytest.raises(TypeError, match="trusted= takes classes"):
            histoexpr.load(path, trusted=wrong)
