"""In which precision TimmFeaturizer computes, how it reads, and what it leaves behind."""

import copy
import pickle
import threading
import warnings

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from sklearn.base import clone
from torch import nn

from histoexpr import STco, Trainer
from histoexpr.data import SpotPatches
from histoexpr.datasets import make_spatial_expression
from histoexpr.featurizers import TimmFeaturizer, _network, _precision
from histoexpr.featurizers._backbone import Backbone
from histoexpr.featurizers._inference import _batch_norms, _rescale, compute, inference_copy
from histoexpr.featurizers._weights import hash_state
from histoexpr.utils._torch import computes_bfloat16, isolated_seed

CPU = torch.device("cpu")


def featurizer(name="test_resnet", **settings):
    settings = {"input_size": 64, "random_state": 0, "device": "cpu", "cache": None, **settings}
    return TimmFeaturizer(name, pretrained=False, **settings)


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).integers(0, 256, (18, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def native(monkeypatch):
    """A processor with bfloat16, on which nothing was measured yet; without, if it is told so."""

    def set_native(has_bfloat16):
        monkeypatch.setattr(_precision, "computes_bfloat16", lambda device: has_bfloat16)

    monkeypatch.setattr(_precision, "_features", type(_precision._features)())
    set_native(True)
    return set_native


@pytest.fixture
def contrast_only(tmp_path):
    """A network and patches for which bfloat16 will not do: small differences of large numbers."""
    with isolated_seed(0):
        state = timm.create_model("test_resnet").state_dict()
    first = state["conv1.0.weight"]
    state["conv1.0.weight"] = first - first.mean(dim=(1, 2, 3), keepdim=True)
    save_file(state, tmp_path / "w.safetensors")
    patches = np.random.default_rng(0).integers(250, 253, (9, 64, 64, 3), dtype=np.uint8)
    own = {"checkpoint_path": tmp_path / "w.safetensors", "mean": 0.0, "std": 0.0037}
    return featurizer(**own), patches


# --- the choice -------------------------------------------------------------------------------


def test_auto_takes_bfloat16_where_it_is_native_and_close(native, X):
    model = featurizer().fit(X)
    assert model.precision_ == "bfloat16"
    assert model.precision_check_["n_patches"] == 8
    assert 0 < model.precision_check_["error"] < 0.06
    assert 0.998 < model.precision_check_["cosine"] < 1
    asked = featurizer(precision="bfloat16").fit(X)
    np.testing.assert_array_equal(model.transform(X), asked.transform(X))
    exact = featurizer(precision="float32").fit(X)
    assert exact.precision_ == "float32" and exact.precision_check_ is None
    found = _precision.compare(exact.transform(X), model.transform(X))
    assert 0 < found["error"] < 0.06 and model.transform(X).dtype == np.float32


def test_auto_takes_float32_elsewhere(native, X, monkeypatch):
    native(False)
    monkeypatch.setattr(_precision, "_sample", None)  # no patch is looked at
    model = featurizer().fit(X)
    assert (model.precision_, model.precision_check_) == ("float32", None)
    np.testing.assert_array_equal(
        model.transform(X), featurizer(precision="float32").fit_transform(X)
    )


def test_bfloat16_that_moves_features_is_not_taken_unless_asked_for(native, contrast_only):
    model, patches = contrast_only
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(patches)
    assert model.precision_ == "float32"
    assert model.precision_check_["error"] > 0.06 or model.precision_check_["cosine"] < 0.998
    asked = clone(model).set_params(precision="bfloat16")
    with pytest.warns(UserWarning, match="asked for, but of 8 patches it moves features by up to"):
        asked.fit(patches)
    assert asked.precision_ == "bfloat16" and asked.precision_check_ == model.precision_check_
    found = _precision.compare(model.transform(patches), asked.transform(patches))
    assert found["error"] > 0.06


def test_an_unknown_precision_is_refused(X):
    with pytest.raises(ValueError, match="The 'precision' parameter"):
        featurizer(precision="float16").fit(X)


def test_which_processors_have_it(monkeypatch):
    for found, expected in [
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"avx512_bf16": False, "avx2": True}, False),
        ({}, False),
    ]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
        assert computes_bfloat16(CPU) is expected
    assert not computes_bfloat16(torch.device("mps"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert not computes_bfloat16(torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert computes_bfloat16(torch.device("cuda"))


def test_what_was_measured_once_is_known(native, X, monkeypatch):
    calls = []
    monkeypatch.setattr(
        _precision, "compute", lambda *args: calls.append(args[-1]) or compute(*args)
    )
    first = featurizer().fit(X)
    assert featurizer().fit(X).precision_check_ == first.precision_check_
    assert calls == ["float32", "bfloat16"] * 8
    one_other = SpotPatches.from_arrays(X, section=np.arange(len(X)) // 2)
    featurizer().fit(one_other[2:])
    del calls[:]
    assert featurizer().fit(one_other[:-2]).precision_check_["n_patches"] == 8
    assert len(calls) < 16  # but for the one section, its patches were seen
    del calls[:]
    featurizer().fit(255 - X)
    featurizer(mean=0.4).fit(X)
    featurizer(random_state=1).fit(X)
    featurizer(pooling="avg").fit(X)
    assert len(calls) == 64


def test_few_patches_and_blank_ones(native, X):
    assert featurizer().fit(X[:1]).precision_check_["n_patches"] == 1
    white = np.full_like(X, 255)
    assert np.isfinite(featurizer().fit(white).transform(white)).all()


def test_how_far_features_are():
    exact = np.array([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]], np.float32)
    found = _precision.compare(exact, exact + np.float32([0, 0.1]))
    assert found == {
        "n_patches": 2,
        "error": pytest.approx(0.05),
        "cosine": pytest.approx(0.99987, abs=1e-4),
    }
    for rough in (exact * np.nan, exact + np.inf):
        assert _precision.compare(exact, rough)["error"] == np.inf
    assert _precision.compare(0 * exact, 0 * exact)["error"] == np.inf  # shows nothing


def test_patches_are_of_as_many_sections_as_can_be():
    images, _ = make_spatial_expression(5, grid=(4, 4), out_px=32, random_state=0)
    found = _precision._sample(images)
    section = {patch.tobytes(): name for patch, name in zip(np.asarray(images), images.section)}
    assert sorted(section[patch.tobytes()] for patch in found) == sorted(set(images.section))
    one = images[images.section == images.section[0]]
    assert len({patch.tobytes() for patch in _precision._sample(one)}) == 8


# --- what it is kept in -----------------------------------------------------------------------


def test_a_pickle_keeps_the_precision(native, X):
    for settings in ({}, {"store_weights_in_pickle": True}, {"precision": "float32"}):
        native(True)
        model = featurizer(**settings).fit(X)
        features = model.transform(X)
        native(False)
        loaded = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(model))))
        assert loaded.precision_ == model.precision_
        assert loaded.precision_check_ == model.precision_check_
        np.testing.assert_array_equal(loaded.transform(X), features)
        np.testing.assert_array_equal(loaded.set_params(precision="auto").transform(X), features)


def test_a_trained_network_is_looked_at_again(native):
    images, adata = make_spatial_expression(2, grid=(5, 5), out_px=32, n_genes=20, random_state=0)
    backbone = featurizer(trainable=True, input_size=32)
    model = STco(backbone, trainer=Trainer(max_epochs=1, lr=1e-3), random_state=0)
    trained = model.fit(images, adata).featurizer_
    assert trained.precision_ == "bfloat16" and trained.precision_check_["n_patches"] == 8
    features = trained.transform(images)
    loaded = pickle.loads(pickle.dumps(trained))
    np.testing.assert_array_equal(loaded.transform(images), features)
    assert trained._seen is None  # the images need not stay in memory
    exact = compute(
        inference_copy(trained._backbone, "float32"), np.asarray(images), CPU, "float32"
    )
    assert _precision.compare(exact, features)["error"] < 0.06


# --- the same features, faster ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_a_patch_does_not_depend_on_its_company_in_bfloat16(name, X):
    settings = {"precision": "bfloat16", "input_size": 160 if name == "test_vit" else 64}
    model = featurizer(name, **settings).fit(X)
    features = model.transform(X)
    for batch_size in (1, 5, 64):
        found = clone(model).set_params(batch_size=batch_size).fit(X).transform(X)
        np.testing.assert_array_equal(found, features)
    np.testing.assert_array_equal(model.transform(X[::-1])[::-1], features)
    np.testing.assert_array_equal(model.transform(X[3:4]), features[3:4])
    other = 255 - X
    other[7] = X[7]
    np.testing.assert_array_equal(model.transform(other)[7], features[7])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext"])
def test_the_copy_that_computes_gives_the_same_features(name, precision, X):
    model = featurizer(name, precision="float32").fit(X)
    with torch.no_grad(), isolated_seed(0):
        for layer in model._backbone.modules():
            if type(layer) in _batch_norms():  # as if it were trained
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2)
                layer.weight.uniform_(0.5, 2)
    weights = hash_state(model._backbone.state_dict())
    ready = inference_copy(model._backbone, precision)
    found = compute(ready, X, CPU, precision)
    assert not any(parameter.requires_grad for parameter in ready.parameters())
    assert hash_state(model._backbone.state_dict()) == weights
    with torch.no_grad():
        exact = model._backbone(torch.from_numpy(X)).numpy()
    if precision == "float32":
        assert not any(type(layer) in _batch_norms() for layer in ready.modules())
        np.testing.assert_allclose(found, exact, atol=1e-4, rtol=1e-4)
        return
    assert 0 < _precision.compare(exact, found)["error"] < 0.06


def test_depthwise_convolutions_lose_less_than_by_rounding():
    rng = torch.Generator().manual_seed(0)
    convolution = nn.Conv2d(64, 64, 3, groups=64, bias=False).requires_grad_(False)
    convolution.weight.normal_(generator=rng)
    norm = nn.BatchNorm2d(64).eval().requires_grad_(False)
    norm.running_mean.normal_(generator=rng)
    norm.weight.uniform_(0.5, 2, generator=rng)
    # smooth maps: what the nine weights of a channel see hardly differs
    maps = 3 + torch.rand((4, 64, 8, 8), generator=rng)
    expected = norm(convolution(maps))

    def error():
        rounded = copy.deepcopy(convolution)
        rounded.weight.copy_(rounded.weight.bfloat16())
        return (norm(rounded(maps)) - expected).norm()

    before = error()
    _rescale(convolution, norm)
    torch.testing.assert_close(norm(convolution(maps)), expected, rtol=1e-4, atol=1e-4)
    assert error() < 0.5 * before


class Forked(nn.Module):
    """The map before BatchNorm goes elsewhere, too."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.norm.running_mean.fill_(1.0)

    def forward(self, pixels):
        made = self.convolution(pixels)
        return (made + self.norm(made)).mean((2, 3))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_map_that_is_used_twice_stays_what_it_is(precision, X):
    config = {"input_size": (3, 64, 64), "mean": (0.5,) * 3, "std": (0.2,) * 3}
    backbone = Backbone(Forked(), {**config, "interpolation": "bicubic"}).eval()
    with torch.no_grad():
        expected = backbone(torch.from_numpy(X)).numpy()
    found = compute(inference_copy(backbone, precision), X, CPU, precision)
    np.testing.assert_allclose(found, expected, atol=1e-5 if precision == "float32" else 0.02)


# --- reading ----------------------------------------------------------------------------------


def threads_of_ours():
    return [t.name for t in threading.enumerate() if t.name.startswith("histoexpr")]


def damaged(patches, spots):
    if spots.section[0] == "b":
        raise OSError("the file is gone")
    return patches


def test_an_error_of_reading_is_raised_and_no_thread_stays(X):
    names = np.repeat(["a", "b", "c"], 6)
    good = SpotPatches.from_arrays(X, section=names)
    model = featurizer(batch_size=4).fit(good)
    features = model.transform(good)
    with pytest.raises(OSError, match="the file is gone"):
        model.transform(good.map(damaged))
    assert threads_of_ours() == []
    np.testing.assert_array_equal(model.transform(good), features)


def test_an_error_of_computing_stops_reading(X, monkeypatch):
    read = []
    images = SpotPatches.from_arrays(X).map(lambda patches, spots: read.append(1) or patches)
    model = featurizer(batch_size=1).fit(X)

    def broken(*args):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(_network, "compute", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        model.transform(images)
    assert threads_of_ours() == [] and len(read) <= 3


def test_patches_are_read_while_others_are_computed(X, monkeypatch):
    read_next = threading.Event()
    n_read = []

    def noted(patches, spots):
        n_read.append(len(patches))
        if len(n_read) == 2:
            read_next.set()
        return patches

    def waiting(*args):
        assert read_next.wait(30), "the second batch is not read before the first is computed"
        return compute(*args)

    model = featurizer(batch_size=6).fit(X)
    features = model.transform(X)
    monkeypatch.setattr(_network, "compute", waiting)
    images = SpotPatches.from_arrays(X).map(noted)
    np.testing.assert_array_equal(model.transform(images), features)
    assert n_read == [6, 6, 6]


def test_threads_are_those_of_the_process(X):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        featurizer().fit_transform(X)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_gpu_that_is_not_there(X, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match="'cuda' was asked for, but torch finds no such device"):
        featurizer(device="cuda").fit(X)
    fitted = featurizer().fit(X).set_params(device="cuda:1")
    with pytest.raises(ValueError, match="use device='auto' or device='cpu'"):
        fitted.transform(X)
