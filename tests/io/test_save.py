"""What is written, what is refused to be written, and where."""

import json
import warnings
import zipfile

import joblib
import numpy as np
import pytest
import torch
from sklearn import linear_model, preprocessing
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline

import histoexpr
from histoexpr import ExpressionTargetRegressor, STco, TimmFeaturizer, Trainer
from histoexpr.io import _classes
from histoexpr.io._archive import ARRAYS


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "model.histoexpr"


def test_a_person_can_read_what_is_in_the_file(fitted, path):
    model, _ = fitted["Pipeline"]
    histoexpr.save(model, path)
    assert [p.name for p in path.parent.iterdir()] == ["model.histoexpr"]
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        assert file.read("README.md").decode() == histoexpr.io.card(model)
        told = json.loads(file.read("manifest.json"))
    assert told["format_version"] == 1 and set(told["versions"]) >= {"histoexpr", "torch"}
    said = told["model"]
    assert said["class"] == "sklearn.pipeline.Pipeline"
    assert said["steps"][-1] == "histoexpr.methods.STco"
    assert said["parameters"]["stco__projection_dim"] == 256
    assert said["genes"] == model[-1].genes_.tolist() and "log1p" in said["units"]
    assert said["patches"] == {"shape": [32, 32], "mpp": 2.0, "width_um": 64.0}
    (backbone,) = said["backbones"]
    assert backbone["name"] == "test_resnet" and not backbone["trained"]
    assert backbone["weights_sha256"] == model[1].weights_hash_
    assert said["training"]["patients"] == ["A", "B", "C"]
    assert said["training"]["n_spots"] == model[-1].fitted_on_["n_spots"]


def test_arrays_are_there_for_any_program(fitted, path):
    from safetensors.numpy import load

    model, _ = fitted["StInfer"]
    histoexpr.save(model, path)
    with zipfile.ZipFile(path) as file:
        arrays = load(file.read(ARRAYS))
    np.testing.assert_array_equal(arrays["retriever_.embeddings_"], model.retriever_.embeddings_)


def test_equal_models_give_equal_bytes(retriever, path):
    histoexpr.save(retriever, path)
    first = path.read_bytes()
    histoexpr.save(retriever, path)
    assert path.read_bytes() == first


def test_estimators_save_themselves(fitted, path):
    model, X = fitted["StInfer"]
    model.save(path, card="# Mine\n")
    np.testing.assert_array_equal(histoexpr.load(path).predict(X), model.predict(X))
    with zipfile.ZipFile(path) as file:
        assert file.read("README.md") == b"# Mine\n"


def test_a_failed_save_leaves_the_earlier_file(retriever, path):
    histoexpr.save(retriever, path)
    before = path.read_bytes()
    retriever.broken_ = [object()]
    with pytest.raises(TypeError, match=r"model\.broken_\[0\]: a builtins\.object cannot"):
        histoexpr.save(retriever, path)
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def hooked():
    module = torch.nn.Linear(1, 1)
    module.register_forward_hook(lambda *args: None)
    return module


def in_a_circle():
    model = DummyRegressor()
    model.constant = [model]
    return model.constant


REFUSED = {
    "a function": (lambda x: x, "function"),
    "a builtin": (len, "builtin_function"),
    "a compiled tree": (
        RandomForestRegressor(1).fit([[0], [1]], [0, 1]),
        r"RandomForestRegressor cannot be written.*joblib",
    ),
    "code of the user's": (
        preprocessing.FunctionTransformer(np.log1p), "FunctionTransformer cannot be written"
    ),
    "a module with hooks": (hooked(), r"hooks \(_forward_hooks\) are code"),
    "a circle": (in_a_circle(), "leads back to an object that it is a part of"),
    "a masked array": (np.ma.array([1, 2], mask=[0, 1]), "MaskedArray cannot be written"),
    "a structured array": (np.zeros(2, "i4,f4"), "ndarray cannot be written"),
    "a lazy layer": (torch.nn.LSTM(1, 1), "LSTM cannot be written"),
    "a sparse tensor": (torch.eye(2).to_sparse(), "sparse_coo cannot be written"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_data_is_refused(what, path):
    value, message = REFUSED[what]
    model = DummyRegressor(constant={"inner": [0, value]})
    message = rf"^model\.constant\['inner'\]\[1\].*{message}"
    with pytest.raises((TypeError, ValueError), match=message):
        histoexpr.save(model, path)
    assert not path.parent.exists()


def test_augmentation_by_a_function_is_named(path):
    method = STco(TimmFeaturizer("test_resnet", trainable=True, augment=lambda images: images))
    with pytest.raises(TypeError, match=r"^model\.featurizer\.augment: a builtins\.function"):
        histoexpr.save(method, path)


def test_folders_of_the_writers_machine_stay_there(path, tmp_path):
    featurizer = TimmFeaturizer("test_resnet", cache=str(tmp_path / "secret"))
    model = make_pipeline(
        STco(featurizer, trainer=Trainer(checkpoint_dir=tmp_path / "secret")),
        memory=str(tmp_path / "secret"),
    )
    histoexpr.save(model, path)
    assert b"secret" not in path.read_bytes()
    loaded = histoexpr.load(path)
    assert loaded.memory is None and loaded[0].trainer.checkpoint_dir is None
    assert loaded[0].featurizer.cache == "memory" and model[0].featurizer.cache != "memory"


def listed():
    for module, names in _classes._CLASSES.items():
        if module.startswith("sklearn.") and "._" not in module:
            yield from ((module, name) for name in names.split())


SPECIAL = {
    "ColumnTransformer": lambda cls: cls([("a", preprocessing.StandardScaler(), [0, 2])]),
    "FeatureUnion": lambda cls: cls([("a", preprocessing.StandardScaler())]),
    "FrozenEstimator": lambda cls: cls(linear_model.Ridge().fit([[0.0] * 4], [0.0])),
    "MultiOutputRegressor": lambda cls: cls(linear_model.Ridge()),
    "Pipeline": lambda cls: cls([("a", preprocessing.StandardScaler())]),
    "RegressorChain": lambda cls: cls(linear_model.Ridge()),
    "SelectKBest": lambda cls: cls(_f_regression(), k=2),
    "SelectPercentile": lambda cls: cls(_f_regression(), percentile=50),
    "SparseRandomProjection": lambda cls: cls(2, random_state=0),
    "GaussianRandomProjection": lambda cls: cls(2, random_state=0),
    "QuantileTransformer": lambda cls: cls(n_quantiles=10),
    "TransformedTargetRegressor": lambda cls: cls(linear_model.Ridge(), transformer=_scaler()),
    "NMF": lambda cls: cls(2, random_state=0),
}


def _f_regression():
    from sklearn.feature_selection import f_regression

    return f_regression


def _scaler():
    return preprocessing.StandardScaler()


SINGLE = {"ARDRegression", "BayesianRidge", "ElasticNetCV", "HuberRegressor", "LassoCV"}
SINGLE |= {"SelectKBest", "SelectPercentile"}


@pytest.mark.parametrize("module, name", list(listed()), ids=lambda text: text)
def test_every_listed_estimator_of_scikit_learn_survives(module, name, path):
    """None is on the list whose state is more than data, or that would predict otherwise."""
    cls = getattr(__import__(module, fromlist=[name]), name)
    model = SPECIAL[name](cls) if name in SPECIAL else cls()
    if "random_state" in model.get_params():
        model.set_params(random_state=0)
    rng = np.random.default_rng(0)
    X, y, new = rng.random((30, 4)), rng.random((30, 2)), rng.random((9, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y[:, 0] if name in SINGLE else y)
    histoexpr.save(model, path)
    loaded = histoexpr.load(path)
    for method in ("predict", "transform", "kneighbors"):
        if hasattr(model, method):
            for one, other in zip(getattr(model, method)(new), getattr(loaded, method)(new)):
                np.testing.assert_array_equal(one, other)


def test_every_estimator_of_the_library_is_listed():
    listed = {n for m, names in _classes._CLASSES.items() for n in names.split() if "histo" in m}
    public = {
        name
        for name in histoexpr.__all__
        if isinstance(thing := getattr(histoexpr, name), type) and hasattr(thing, "get_params")
    }
    modules = {
        name
        for name in histoexpr.nn.__all__
        if isinstance(getattr(histoexpr.nn, name), type)
        and issubclass(getattr(histoexpr.nn, name), torch.nn.Module)
    }
    # A base has no instances; training alone knows EndToEnd.
    assert public | modules <= listed | {"BaseExpressionRegressor", "EndToEnd"}
    for module, names in _classes._CLASSES.items():
        for name in names.split():
            assert _classes.Known().find(f"{module}.{name}").__name__ == name


def test_what_could_not_be_read_again_is_not_written(path, monkeypatch):
    monkeypatch.setattr(histoexpr.io._archive, "_MOST_TEXT", 2000)
    with pytest.raises(ValueError, match="would have .* 2000 are the most that a reader takes"):
        histoexpr.save(DummyRegressor(constant=list(range(1000))), path)
    assert not path.parent.exists()


def test_joblib_writes_what_is_named_so_and_is_read_by_consent(tmp_path, retriever):
    path = tmp_path / "model.joblib"
    histoexpr.save(retriever, path)
    np.testing.assert_array_equal(joblib.load(path).embeddings_, retriever.embeddings_)
    with pytest.raises(ValueError, match="can run any code.*allow_pickle=True"):
        histoexpr.load(path)
    assert histoexpr.load(path, allow_pickle=True).n_features_in_ == 4
    retriever.broken = lambda: None
    with pytest.raises(Exception, match="pickle"):
        histoexpr.save(retriever, path)
    assert histoexpr.load(path, allow_pickle=True).n_features_in_ == 4
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="no readable model"):
        histoexpr.load(path, allow_pickle=True)
    joblib.dump({"a": 1}, path)
    with pytest.raises(ValueError, match="holds a dict, not an estimator"):
        histoexpr.load(path, allow_pickle=True)


def test_what_is_no_model(tmp_path):
    with pytest.raises(TypeError, match="must be an estimator; got dict"):
        histoexpr.save({}, tmp_path / "x.histoexpr")
    with pytest.raises(TypeError, match="card must be Markdown"):
        histoexpr.save(DummyRegressor(), tmp_path / "x.histoexpr", card=b"x")
    with pytest.raises(FileNotFoundError, match="no model file"):
        histoexpr.load(tmp_path / "x.histoexpr")
    (tmp_path / "table.csv").write_text("a,b\n")
    with pytest.raises(ValueError, match="is no model file of histoexpr"):
        histoexpr.load(tmp_path / "table.csv")


def test_scikit_learn_parts_go_through_skops(small):
    """skops asks for consent to the classes of this library, and to one scorer."""
    skops = pytest.importorskip("skops.io", reason="skops is not installed: pip install skops")
    _, features, adata = small
    scorer = {"sklearn.metrics._scorer._Scorer"}
    for model in (
        histoexpr.SpotRetriever(3).fit(features, adata),
        histoexpr.ExpressionTransformer().fit(adata),
        histoexpr.LinearProbe(featurizer=None, n_components=4, cv=2).fit(features, adata),
        ExpressionTargetRegressor(linear_model.Ridge()).fit(features, adata),
    ):
        data = skops.dumps(model)
        unknown = skops.get_untrusted_types(data=data)
        assert {name for name in unknown if not name.startswith("histoexpr.")} <= scorer, unknown
        loaded = skops.loads(data, trusted=unknown)
        method, given = ("predict", features) if hasattr(model, "predict") else ("transform", adata)
        expected = getattr(model, method)(given)
        np.testing.assert_array_equal(getattr(loaded, method)(given), expected)
