"""TimmFeaturizer on timm's own tiny test models: no network, no weights but those made here."""

import json
import pickle
import random
import threading
import time
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import timm
import torch
from processes import in_a_fresh_process
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from histoexpr.data import SpotPatches
from histoexpr.featurizers import TextureFeaturizer, TimmFeaturizer, _hub, check_featurizer
from histoexpr.featurizers._backbone import Backbone

CONFIG = {
    "input_size": (3, 8, 8),
    "mean": (0.5, 0.5, 0.5),
    "std": (0.25, 0.25, 0.25),
    "interpolation": "bicubic",
}


def patches(n=5, size=160, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def X():
    return patches()


@pytest.fixture(scope="module")
def resnet():
    """A resnet with a classifier, to be found again in the features."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return timm.create_model("test_resnet").eval()


@pytest.fixture(scope="module")
def expected(resnet, X):
    """Features of the patches by timm alone."""
    pixels = torch.tensor(X).permute(0, 3, 1, 2) / 255
    mean = torch.tensor(resnet.pretrained_cfg["mean"]).reshape(1, 3, 1, 1)
    std = torch.tensor(resnet.pretrained_cfg["std"]).reshape(1, 3, 1, 1)
    with torch.inference_mode():
        maps = resnet.forward_features((pixels - mean) / std)
        return resnet.forward_head(maps, pre_logits=True).numpy()


@pytest.fixture
def checkpoint(resnet, tmp_path):
    path = tmp_path / "resnet.safetensors"
    save_file(resnet.state_dict(), path, metadata={"architecture": "test_resnet"})
    return path


def random_resnet(**params):
    return TimmFeaturizer("test_resnet", **{"pretrained": False, "random_state": 0, **params})


# --- features ---------------------------------------------------------------------------------


def test_features_are_those_of_timm(checkpoint, X, expected):
    model = TimmFeaturizer("test_resnet", checkpoint_path=checkpoint, precision="float32").fit(X)
    features = model.transform(X)
    np.testing.assert_allclose(features, expected, atol=1e-4, rtol=1e-4)
    assert features.dtype == np.float32 and features.flags.c_contiguous
    assert features.shape == (5, model.n_features_out_)
    assert list(model.get_feature_names_out()[:2]) == ["test_resnet_0", "test_resnet_1"]
    assert model.data_config_["input_size"] == (3, 160, 160)
    assert model.seed_ is None


def test_a_patch_does_not_depend_on_its_company(X):
    model = random_resnet(batch_size=3).fit(X)
    features = model.transform(X)
    other = X.copy()
    other[[0, 2]] = 255 - other[[0, 2]]
    np.testing.assert_array_equal(model.transform(other)[1], features[1])
    alone = random_resnet(batch_size=1).fit(X).transform(X)
    np.testing.assert_allclose(alone, features, atol=1e-5, rtol=1e-4)
    np.testing.assert_array_equal(model.transform(X), features)


def test_spot_patches_are_read_batch_by_batch(X, monkeypatch):
    features = random_resnet(batch_size=2).fit_transform(X)
    read = []
    inner = SpotPatches._read
    monkeypatch.setattr(
        SpotPatches, "_read", lambda self, rows: read.append(len(rows)) or inner(self, rows)
    )
    images = SpotPatches.from_arrays(X)
    model = random_resnet(batch_size=2).fit(images)
    read.clear()  # fit measures colours
    np.testing.assert_array_equal(model.transform(images), features)
    assert read == [2, 2, 1]


def test_whole_patches_are_resized_and_standardised():
    backbone = Backbone(torch.nn.Identity(), CONFIG)
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[:, :4] = 255  # the top eighth: one row after resizing, cut off by a centre crop
    pixels = backbone.preprocess(torch.tensor(image))
    assert pixels.shape == (1, 3, 8, 8)
    assert pixels[0, :, 0].min() > 1.5 and pixels[0, :, 2:].max() < -1.7
    assert pixels.max() <= 2.0 and pixels.min() >= -2.0  # (1 - 0.5) / 0.25: no overshoot
    np.testing.assert_array_equal(image[:, :4], 255)


def test_preprocessing_can_be_chosen(X):
    model = random_resnet(mean=0.0, std=[1, 1, 1.0], input_size=(64, 96)).fit(X)
    assert model.data_config_["mean"] == (0.0, 0.0, 0.0)
    assert model.data_config_["input_size"] == (3, 64, 96)
    assert not np.allclose(model.transform(X), random_resnet(input_size=(64, 96)).fit_transform(X))
    for wrong, message in [
        ({"std": 0.0}, "std must be .* above 0; got 0.0"),
        ({"mean": [0.5, 0.5]}, "mean must be a number or three"),
        ({"input_size": [3, 64, 64]}, "input_size must be an int or"),
        ({"input_size": [64.5, 64]}, "input_size must be an int or"),
        ({"mean": [0.5, 0.5, np.nan]}, "mean must be .* finite"),
        ({"std": ["a"]}, "std must be an array of float64"),
    ]:
        with pytest.raises(ValueError, match=message):
            random_resnet(**wrong).fit(X)


def test_pooling(X):
    vit = {"pretrained": False, "random_state": 0, "precision": "float32"}
    avg = TimmFeaturizer("test_vit", pooling="avg", **vit).fit_transform(X)
    cls = TimmFeaturizer("test_vit", pooling="cls", **vit).fit_transform(X)
    both = TimmFeaturizer("test_vit", pooling="cls+mean", **vit).fit_transform(X)
    np.testing.assert_array_equal(both, np.hstack([cls, avg]))
    np.testing.assert_allclose(TimmFeaturizer("test_vit", **vit).fit_transform(X), cls, atol=1e-5)
    np.testing.assert_allclose(
        random_resnet(pooling="avg", precision="float32").fit_transform(X),
        random_resnet(precision="float32").fit_transform(X),
        atol=1e-5,
    )
    with pytest.raises(ValueError, match="needs a class token, which ResNet"):
        random_resnet(pooling="cls").fit(X)
    with pytest.raises(ValueError, match="choose a pooling"):
        random_resnet(model_kwargs={"global_pool": ""}).fit(X)


# --- randomness -------------------------------------------------------------------------------


def test_random_weights_follow_the_seed(X):
    a, b = random_resnet().fit(X), random_resnet().fit(X)
    np.testing.assert_array_equal(a.transform(X), b.transform(X))
    assert a.weights_hash_ == b.weights_hash_ and a.seed_ == b.seed_
    c = random_resnet().set_params(random_state=1).fit(X)
    assert c.weights_hash_ != a.weights_hash_


def test_global_generators_are_left_alone(checkpoint, X):
    def states():
        return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()

    before = states()
    TimmFeaturizer("test_resnet", checkpoint_path=checkpoint).fit_transform(X)
    random_resnet().fit_transform(X)
    assert states() == before


# --- checkpoints ------------------------------------------------------------------------------


def test_metadata_sets_model_and_preprocessing(resnet, tmp_path, X):
    path = tmp_path / "w.safetensors"
    metadata = {
        "architecture": "test_resnet.r160_in1k", "mean": "0.5,0.5,0.5", "std": "0.25,0.5,1",
        "input": "96", "interpolation": "bilinear", "pool": "max", "note": "whatever",
    }  # fmt: skip
    save_file({k: v.half() for k, v in resnet.state_dict().items()}, path, metadata=metadata)
    model = TimmFeaturizer("test_resnet", checkpoint_path=path).fit(X)
    assert model.data_config_ == {
        "input_size": (3, 96, 96), "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.5, 1.0),
        "interpolation": "bilinear",
    }  # fmt: skip
    assert model._backbone.model.conv1[0].weight.dtype == torch.float32
    averaged = clone(model).set_params(model_kwargs={"global_pool": "avg"}).fit_transform(X)
    assert (averaged <= model.transform(X)).all() and (averaged < model.transform(X)).any()
    config = clone(model).set_params(mean=0.4, std=0.3, input_size=64).fit(X).data_config_
    assert config["mean"] == (0.4, 0.4, 0.4) and config["std"] == (0.3, 0.3, 0.3)
    assert config["input_size"] == (3, 64, 64)

    with pytest.raises(ValueError, match="holds 'test_resnet.r160_in1k' .* is 'test_vit'"):
        TimmFeaturizer("test_vit", checkpoint_path=path).fit(X)
    save_file(resnet.state_dict(), path, metadata={"mean": "0.5,high"})
    with pytest.raises(ValueError, match="says mean='0.5,high', which is not understood"):
        TimmFeaturizer("test_resnet", checkpoint_path=path).fit(X)


def test_torch_files_and_their_wrappers(resnet, tmp_path, X, expected):
    state = {f"module.{k}": v for k, v in resnet.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "w.pth")
    model = random_resnet(checkpoint_path=tmp_path / "w.pth", precision="float32")
    np.testing.assert_allclose(model.fit_transform(X), expected, atol=1e-4, rtol=1e-4)

    torch.save(resnet, tmp_path / "module.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0")
    torch.save([1, 2], tmp_path / "list.pth")
    for name, message in [
        ("module.pth", "could run code"),
        ("cut.safetensors", "cannot be read"),
        ("list.pth", "not a state dict"),
    ]:
        with pytest.raises(ValueError, match=message):
            clone(model).set_params(checkpoint_path=str(tmp_path / name)).fit(X)
    with pytest.raises(FileNotFoundError, match="no file at checkpoint_path="):
        clone(model).set_params(checkpoint_path=tmp_path / "none.pth").fit(X)
    with pytest.raises(OSError, match="local-dir:"):
        clone(model).set_params(checkpoint_path=tmp_path).fit(X)


def test_keys_must_fit(resnet, tmp_path, X):
    state = {k: v for k, v in resnet.state_dict().items() if k != "conv1.0.weight"}
    state["extra.weight"] = torch.zeros(2)
    path = tmp_path / "w.safetensors"
    save_file(state, path)
    model = TimmFeaturizer("test_resnet", checkpoint_path=path)
    with pytest.raises(ValueError, match=r"lacks 'conv1.0.weight'; has unknown 'extra.weight'\."):
        model.fit(X)
    assert not hasattr(model, "seed_") and "_spec" not in vars(model)
    save_file({**resnet.state_dict(), "conv1.0.weight": torch.zeros(1, 3, 3, 3)}, path)
    with pytest.raises(ValueError, match="another shape of 'conv1.0.weight'"):
        model.fit(X)


def test_position_embeddings_are_resized(tmp_path, X):
    path = tmp_path / "w.safetensors"
    save_file(timm.create_model("test_vit").state_dict(), path)
    model = TimmFeaturizer("test_vit", checkpoint_path=path, input_size=96).fit(X)
    assert model.data_config_["input_size"] == (3, 96, 96)
    assert np.isfinite(model.transform(X)).all()
    same = TimmFeaturizer("test_vit", checkpoint_path=path, model_kwargs={"img_size": 96})
    np.testing.assert_array_equal(same.fit_transform(X), model.transform(X))


def hub_folder(folder, resnet, **config):
    folder.mkdir(parents=True)
    pretrained_cfg = {
        "mean": [0.1, 0.1, 0.1], "std": [0.9, 0.9, 0.9], "input_size": [3, 64, 64],
        "num_classes": 1000, "classifier": "fc", "first_conv": "conv1.0", **config,
    }  # fmt: skip
    config = {"architecture": "test_resnet", "num_classes": 1000, "pretrained_cfg": pretrained_cfg}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(resnet.state_dict(), folder / "model.safetensors")
    return folder


def test_local_dir(resnet, tmp_path, X):
    folder = hub_folder(tmp_path / "local", resnet)
    model = TimmFeaturizer(f"local-dir:{folder}").fit(X)
    assert model.data_config_["mean"] == (0.1, 0.1, 0.1)
    features = model.transform(X)
    own = TimmFeaturizer(f"local-dir:{folder}", checkpoint_path=folder / "model.safetensors")
    np.testing.assert_array_equal(own.fit_transform(X), features)
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match="holds no weight files"):
        clone(model).fit(X)
    with pytest.raises(OSError, match="no config.json"):
        TimmFeaturizer(f"local-dir:{tmp_path}").fit(X)


# --- the hub ----------------------------------------------------------------------------------


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """An empty hub cache, and a hub that answers nothing; returns what it was asked for."""
    asked = []

    def refuse(url, **kwargs):
        asked.append(url)
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", refuse)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    return asked


def test_weights_that_cannot_be_had_are_an_error(no_hub, X):
    for name in ("test_resnet", "hf-hub:owner/name"):
        with pytest.raises(OSError, match="was not reached.*checkpoint_path=.*pretrained=False"):
            TimmFeaturizer(name).fit(X)
    assert len(no_hub) == 2
    with pytest.raises(OSError, match="timm knows of none"):
        TimmFeaturizer("nf_regnet_b2").fit(X)


def test_a_checkpoint_asks_no_hub(no_hub, checkpoint, resnet, tmp_path, X):
    TimmFeaturizer("hf-hub:owner/name", checkpoint_path=checkpoint).fit(X)
    folder = hub_folder(tmp_path / "download", resnet)
    model = TimmFeaturizer("hf-hub:owner/name", checkpoint_path=folder / "model.safetensors")
    assert model.fit(X).data_config_["input_size"] == (3, 64, 64)
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match="says its architecture on the hub, which is not asked"):
        model.fit(X)
    assert no_hub == []


def test_the_cache_of_the_hub_is_enough(no_hub, resnet, tmp_path, X, expected):
    for repo in ("timm--test_resnet.r160_in1k", "owner--name"):
        store = tmp_path / "cache" / f"models--{repo}"
        hub_folder(store / "snapshots" / "abc", resnet)
        (store / "refs").mkdir()
        (store / "refs" / "main").write_text("abc")
    features = TimmFeaturizer("test_resnet", precision="float32").fit_transform(X)
    np.testing.assert_allclose(features, expected, atol=1e-4, rtol=1e-4)
    named = TimmFeaturizer("hf-hub:owner/name").fit(X)
    assert named.data_config_["input_size"] == (3, 64, 64)
    assert no_hub == []
    loaded = pickle.loads(pickle.dumps(named))
    np.testing.assert_array_equal(loaded.transform(X), named.transform(X))


def test_a_gated_repository_says_so(no_hub, monkeypatch, X):
    class Refused(Exception):
        response = SimpleNamespace(status_code=403)

    def refuse(url, **kwargs):
        raise Refused("Access to model is restricted.")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", refuse)
    with pytest.raises(OSError, match="HTTP 403.*Accept its licence.*checkpoint_path="):
        TimmFeaturizer("hf-hub:owner/gated").fit(X)


def test_a_silent_hub_is_not_waited_for(no_hub, monkeypatch, X):
    release = threading.Event()
    monkeypatch.setattr(_hub, "PATIENCE", 0.2)
    monkeypatch.setattr(
        "huggingface_hub.get_hf_file_metadata", lambda url, **kwargs: release.wait(60)
    )
    start = time.monotonic()
    with pytest.raises(OSError, match="TimeoutError"):
        TimmFeaturizer("test_resnet").fit(X)
    release.set()
    assert time.monotonic() - start < 5


def test_unknown_names(X):
    for name, message in [
        ("densenet120", "knows no model 'densenet120'. Near it: .*'densenet121'"),
        ("densenet121.mine", "knows no 'densenet121.mine', but 'densenet121.ra_in1k'"),
        ("owner/name", "Is it 'hf-hub:owner/name' or 'local-dir:owner/name'"),
    ]:
        with pytest.raises(ValueError, match=message):
            TimmFeaturizer(name, pretrained=False).fit(X)


# --- scikit-learn and pickles -----------------------------------------------------------------


def test_pickles_are_small_and_the_network_comes_back(checkpoint, tmp_path, X):
    for model in (random_resnet(), TimmFeaturizer("test_resnet", checkpoint_path=checkpoint)):
        features = model.fit(X).transform(X)
        file = pickle.dumps(model)
        assert len(file) < 20_000
        again = pickle.dumps(pickle.loads(file))
        np.testing.assert_array_equal(pickle.loads(again).transform(X), features)
    moved = checkpoint.rename(tmp_path / "moved.safetensors")
    loaded = pickle.loads(file)
    with pytest.raises(FileNotFoundError, match="no file at checkpoint_path="):
        loaded.transform(X)
    np.testing.assert_array_equal(loaded.set_params(checkpoint_path=moved).transform(X), features)
    state = load_file(moved)
    state["conv1.0.weight"] += 1
    save_file(state, checkpoint)
    with pytest.raises(ValueError, match="resnet.safetensors.*are not the weights of fit"):
        pickle.loads(file).transform(X)


def test_weights_can_travel_in_the_pickle(checkpoint, X):
    params = {"checkpoint_path": checkpoint, "store_weights_in_pickle": True}
    model = TimmFeaturizer("test_resnet", **params).fit(X)
    checkpoint.unlink()
    file = pickle.dumps(pickle.loads(pickle.dumps(model)))  # never used in between
    assert len(file) > 1_000_000
    loaded = pickle.loads(file)
    np.testing.assert_array_equal(loaded.transform(X), model.transform(X))
    assert len(pickle.dumps(loaded)) == pytest.approx(len(file), rel=0.01)
    assert len(pickle.dumps(clone(model))) < 20_000


def load_and_compare(path, n_threads):
    torch.set_num_threads(n_threads)
    model, X, features = joblib.load(path)
    np.testing.assert_array_equal(model.transform(X), features)


def test_a_fresh_process_gives_the_same_to_the_bit(tmp_path, X):
    model = random_resnet().set_params(random_state=None).fit(X)
    joblib.dump((model, X, model.transform(X)), tmp_path / "model.joblib")
    in_a_fresh_process(load_and_compare, tmp_path / "model.joblib", torch.get_num_threads())


def test_refusals(X):
    model = random_resnet()
    with pytest.raises(NotFittedError):
        model.transform(X)
    with pytest.raises(ValueError, match="featurizer=None"):
        model.fit(np.zeros((4, 10)))
    with pytest.raises(ValueError, match="no patches"):
        model.fit(X[:0])
    with pytest.raises(ValueError, match="pooling"):
        model.set_params(pooling="best").fit(X)
    with pytest.raises(ValueError, match="device"):
        random_resnet(device="abacus").fit(X)
    fitted = random_resnet().fit(X)
    before = fitted.transform(X)
    with pytest.raises(ValueError, match="knows no model"):
        fitted.set_params(model_name="none").fit(X)
    np.testing.assert_array_equal(fitted.transform(X), before)


def test_in_scikit_learn(X, capsys):
    model = random_resnet(batch_size=2)
    assert clone(model).get_params() == model.get_params()
    reduced = make_pipeline(model, PCA(2)).fit_transform(X)
    assert reduced.shape == (5, 2)
    assert model.__sklearn_tags__().input_tags.two_d_array is False
    assert capsys.readouterr() == ("", "")
    random_resnet(verbose=1).fit_transform(X)
    assert "5/5" in capsys.readouterr().err


def test_check_featurizer():
    assert check_featurizer(None) is None
    assert check_featurizer("resnet18").model_name == "resnet18"
    given = TextureFeaturizer(levels=8)
    copy = check_featurizer(given)
    assert copy is not given and copy.levels == 8
    for wrong in (3, TimmFeaturizer, object()):
        with pytest.raises(TypeError, match="featurizer must be None .* got "):
            check_featurizer(wrong)


# --- real weights -----------------------------------------------------------------------------


def test_the_weights_of_the_shared_folder(shared, tmp_path):
    path = shared / "weights" / "mobilenetv2_100_in1k.fp16.safetensors"
    X = patches(2, size=224)
    settings = {"checkpoint_path": path, "precision": "float32"}
    model = TimmFeaturizer("mobilenetv2_100", **settings).fit(X)
    assert model.n_features_out_ == 1280
    assert model.data_config_["input_size"] == (3, 224, 224)
    own = timm.create_model("mobilenetv2_100", num_classes=0, pad_type="same").eval()
    own.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    with torch.inference_mode():
        expected = own(torch.tensor(X).permute(0, 3, 1, 2) / 127.5 - 1).numpy()
    np.testing.assert_allclose(model.transform(X), expected, atol=1e-4)
    padded = TimmFeaturizer("mobilenetv2_100", model_kwargs={"pad_type": ""}, **settings)
    assert not np.allclose(padded.fit_transform(X), expected, atol=1e-2)
