"""Whatever estimators are given: finite predictions, or a refusal that changes nothing."""

import anndata
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import Ridge

import small_models
from contract import answer, examples
from histoexpr import (
    ContextFeaturizer,
    ExpressionTargetRegressor,
    ExpressionTransformer,
    LinearProbe,
    NeighborFeatures,
    PatchAugment,
    SectionCenterer,
    SpotFeatures,
    SpotPatches,
    SpotRetriever,
    StainNormalizer,
    TextureFeaturizer,
    TimmFeaturizer,
    Trainer,
    metrics,
    model_selection,
)
from histoexpr.featurizers import TrainingPatches, check_featurizer
from histoexpr.preprocessing import check_expression
from histoexpr.retrieval import check_retriever, example_rows
from histoexpr.testing import expected_failed_checks
from histoexpr.training import check_trainer
from strategies import NONSENSE, adatas, arrays, matrices, nonsense, odd

METHODS = small_models.of_features()


@st.composite
def features(draw, n):
    """Features, mostly right, and mostly with their sections and places."""
    X = draw(odd(arrays((n, 3), "numbers", "f8"), matrices(n, 3)))
    if draw(st.booleans()):
        return X
    rng = np.random.default_rng(0)
    spatial, positions = rng.uniform(0, 9, (n, 2)), rng.integers(0, 4, (n, 2))
    return answer(
        SpotFeatures, X,
        spatial=draw(st.sampled_from([None, spatial])),
        positions=draw(st.sampled_from([None, positions])),
        section=draw(st.sampled_from([None, list("AAAAAAAA")[:n], list("ABABABCC")[:n]])),
    )  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
@examples(6)
@given(st.data())
def test_methods(name, data):
    n = data.draw(st.sampled_from([8, 8, 7, 6, 5, 3, 2, 1]))
    X = data.draw(features(n))
    y = data.draw(odd(adatas(n), st.one_of(matrices(n), nonsense)))
    model = clone(METHODS[name])
    if "random_state" in model.get_params():
        model.set_params(random_state=0)
    if answer(model.fit, X, y) is None:
        return
    query = data.draw(st.one_of(st.just(X), arrays((3, 3), "numbers", "f4"), matrices(None, 3)))
    predicted = answer(model.predict, query)
    if predicted is not None:
        n_rows = query.shape[0] if hasattr(query, "shape") else len(query)  # sparse has no len
        assert np.isfinite(predicted).all() and len(predicted) == n_rows
        adata = model.predict_adata(query)
        assert adata.n_obs == n_rows and list(adata.var_names) == list(model.genes_)
    answer(model.score, X, y)
    answer(metrics.pearson_scorer, model, query, y)
    if hasattr(model, "kneighbors"):
        k = data.draw(odd([None, 1], [0, 99, "a", 1.5]))
        found = answer(model.kneighbors, query, k)
        assert found is None or (0 <= found[1].min() and found[1].max() < n)
    if hasattr(model, "predict_interval"):
        bounds = answer(model.predict_interval, query, data.draw(odd([0.5], [0, "a"])))
        assert bounds is None or (bounds[0] <= bounds[1]).all()


ODD_PARAMETERS = [None, np.nan, np.inf, -1, 0, 1.5, np.int64(2), np.float32(0.5), np.bool_(True),
                  True, np.array(2), np.str_("auto"), "x", (), [], ["a"], [[1], [2, 3]],
                  object()]  # fmt: skip
MODELS = METHODS | {
    "texture": TextureFeaturizer(("stain",)),
    "stain": StainNormalizer("reinhard"),
    "context": ContextFeaturizer(TextureFeaturizer(("stain",)), fields_of_view=(1.0,), turns=1),
    "neighbours": NeighborFeatures(TextureFeaturizer(("stain",))),
    "timm": TimmFeaturizer("test_resnet", pretrained=False, input_size=32),
}


@pytest.mark.parametrize("name", MODELS)
@examples(5)
@given(st.data())
def test_parameters(own_folder, name, data):
    """One parameter of a model, or of a part of it, is something else: None, a scalar of NumPy."""
    model = clone(MODELS[name])
    # what it has to say of its own: others' parameters are theirs to check
    own = [key for key in model.get_params() if not key.startswith("regressor__")]
    key = data.draw(st.sampled_from(sorted(own)))
    # None is the paper's, and its training takes long
    values = ODD_PARAMETERS[1:] if key.startswith("trainer") else ODD_PARAMETERS
    model.set_params(**{key: data.draw(st.sampled_from(values))})
    rng = np.random.default_rng(0)
    if name in METHODS:
        places = {"positions": rng.integers(0, 4, (8, 2)), "section": list("AAAABBBB")}
        X = SpotFeatures(rng.normal(size=(8, 3)), **places)
    else:
        X = SpotPatches.from_arrays(TISSUE, mpp=2.0, spatial=rng.uniform(0, 9, (6, 2)))
    y = anndata.AnnData(rng.poisson(3.0, (len(X), 4)).astype("f4"))
    if answer(model.fit, X, y) is not None:
        found = answer(getattr(model, "predict", None) or model.transform, X)
        assert found is None or len(found) == len(X)


@examples(6)
@given(st.data())
def test_expression(data):
    kinds = [{}, {"genes": ["g0"]}, {"genes": "highly_variable", "n_genes": 1},
             {"genes": "highly_expressed", "n_genes": 2}, {"genes": "expressed", "min_spots": 0},
             {"normalize": "gene"}, {"normalize": None, "log": "log10"},
             {"over": "all"}]  # fmt: skip
    wrong = [{"genes": []}, {"genes": 3}, {"n_genes": 2}, {"target_sum": np.nan}, {"log": "x"},
             {"genes": "expressed"}, {"genes": ["g0", "g0"]}, {"target_sum": 1e300}]  # fmt: skip
    transformer = ExpressionTransformer(**data.draw(odd(kinds, wrong)))
    y = data.draw(odd(adatas(), st.one_of(matrices(), nonsense)))
    if answer(transformer.fit, y) is None:
        return
    out = answer(transformer.transform, y)
    if out is not None:
        assert out.dtype == np.float32 and out.flags.c_contiguous
        assert out.shape == (len(out), len(transformer.genes_))
        if transformer.target_sum < 1e10:
            assert np.isfinite(out).all() and (out >= 0).all()
        totals = data.draw(odd([None, np.ones(len(out))], nonsense))
        answer(transformer.inverse_transform, out, totals)
    answer(transformer.transform, data.draw(odd(adatas(), nonsense)))


@given(st.data())
def test_centring(data):
    n = data.draw(st.integers(1, 6))
    X = data.draw(features(n))
    centerer = SectionCenterer(data.draw(odd([30, 0], [-1, "a"])))
    if answer(centerer.fit, X) is not None:
        centred = answer(centerer.transform, data.draw(odd(st.just(X), matrices(n, 3))))
        assert centred is None or np.isfinite(np.asarray(centred)).all()


# images ------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
TISSUE = RNG.integers(60, 230, (6, 32, 32, 3), dtype=np.uint8)


@st.composite
def pictures(draw):
    """Patches: noise, one colour, black, white, few, or no patches at all."""
    n = draw(odd([1, 3, 6], [0]))
    right = [TISSUE[:n], np.full((n, 32, 32, 3), 255, np.uint8), np.zeros((n, 32, 32, 3), np.uint8),
             SpotPatches.from_arrays(TISSUE, mpp=2.0)[:n], TISSUE[:n, ..., 0],
             np.full((n, 32, 32, 3), (190, 120, 170), np.uint8), TISSUE[:n, ::-1, ::2]]  # fmt: skip
    wrong = [TISSUE[:n] / 255, TISSUE[:n].astype("u2"), TISSUE[:n, :0], TISSUE[:n, ..., :2],
             TISSUE[:n].tolist(), TISSUE[0], None, "x", 3, [], np.zeros((n, 3))]  # fmt: skip
    return draw(odd(right, wrong))


def featurizers():
    return {
        "texture": TextureFeaturizer(),
        "timm": TimmFeaturizer("test_resnet", pretrained=False, input_size=32, random_state=0),
    }


@pytest.mark.parametrize("name", featurizers())
@examples(6)
@given(pictures(), pictures())
def test_featurizers(name, X, query):
    featurizer = featurizers()[name]
    if answer(featurizer.fit, X) is None:
        return
    for images in (X, query):
        found = answer(featurizer.transform, images)
        if found is not None:
            assert found.shape == (len(images), len(featurizer.get_feature_names_out()))
            assert np.isfinite(found).all()


@pytest.mark.parametrize("method", ["reinhard", "macenko", "vahadane"])
@examples(6)
@given(X=pictures(), query=pictures(), scope=st.sampled_from(["section", "patch"]))
def test_stain(method, X, query, scope):
    normalizer = StainNormalizer(method, scope=scope, random_state=0)
    if answer(normalizer.fit, X) is None:
        return
    found = answer(normalizer.transform, query)
    if found is not None:
        patches = np.asarray(found)
        assert patches.dtype == np.uint8 and patches.shape == (len(found), *patches.shape[1:3], 3)


@examples(6)
@given(pictures(), st.data())
def test_a_whole_way_from_images(X, data):
    n = data.draw(odd(st.just(len(X) if hasattr(X, "__len__") else 1), st.integers(0, 7)))
    y = data.draw(odd(adatas(n), nonsense))
    model = LinearProbe(TextureFeaturizer(("stain",)), cv=2, random_state=0)
    if answer(model.fit, X, y) is not None:
        assert np.isfinite(model.predict(X)).all()


@examples(8)
@given(st.data())
def test_context(data):
    """What sees beyond a patch: featurizers of several fields of view, and of neighbours."""
    n = data.draw(st.integers(1, 4))
    places = np.random.default_rng(n).uniform(0, 31, (n, 2))
    images = SpotPatches.from_images(TISSUE[0], places, patch_size="8px", out_px=8)
    X = data.draw(odd([images, SpotFeatures(places, spatial=places)], pictures()))
    inner = data.draw(odd([TextureFeaturizer(("stain",)), None], NONSENSE))
    context = ContextFeaturizer(
        inner,
        fields_of_view=data.draw(odd([(1.0, 2.0), (1.0,)], [(), (0,), ("a",), 2, (np.nan,), None])),
        turns=data.draw(odd([1, 4], [0, 3, "4", None])),
        cache=data.draw(odd([None], [3, object()])),
    )
    for model in (context, NeighborFeatures(inner, sigma=data.draw(odd([1.0], [0, "a", np.nan])))):
        if answer(model.fit, X) is not None:
            found = answer(model.transform, data.draw(odd(st.just(X), pictures())))
            assert found is None or (found.dtype == np.float32 and np.isfinite(found).all())
    seen = answer(TrainingPatches.of, X)
    if seen is not None:
        answer(seen.check_scale, data.draw(odd([images], NONSENSE)))


@given(st.data())
def test_augmentation(data):
    strengths = odd([0, 0.5, 2.0], [-1, np.nan, np.inf, "a", None])
    augment = PatchAugment(*(data.draw(strengths) for _ in "bcs"), rotate=data.draw(strengths))
    array = data.draw(odd(arrays((2, 3, 4, 5), "counts", "u1"), arrays()))
    kinds = odd([torch.uint8, torch.float32, torch.bfloat16], [torch.int64, torch.complex64])
    given_ = array
    if array.dtype.kind in "uif" and data.draw(st.booleans()):
        given_ = torch.tensor(np.array(array, dtype="f4")).to(data.draw(kinds))
    found = answer(augment, given_, torch.Generator().manual_seed(0))
    if found is not None:
        assert (found.shape, found.dtype) == (given_.shape, given_.dtype)
        assert found.isfinite().all()


SETTINGS = {
    "max_epochs": [0, -1, 1.5], "batch_size": [0, 1, -1], "lr": [0, -1.0, np.nan, 1e300],
    "weight_decay": [-1, np.inf], "optimizer": ["x", 3], "schedule": ["x", 3],
    "warmup_epochs": [-1, 99], "min_lr": [-1], "max_grad_norm": [0, np.nan],
    "early_stopping": [True, "yes"], "validation_fraction": [0, 1, 2], "patience": [0],
    "checkpoint_dir": [3, "\0"], "device": ["x", None, 3, "cuda:99"], "precision": ["x", 3],
    "random_state": [-1, "x", 2**40], "verbose": ["x", -1],
}  # fmt: skip


@examples(40)
@given(st.data())
def test_trainers(data):
    name = data.draw(st.sampled_from(sorted(SETTINGS)))
    trainer = Trainer(max_epochs=1).set_params(**{name: data.draw(st.sampled_from(SETTINGS[name]))})
    groups = data.draw(odd([None, list("AABB")], [["A"], "x", 3, [None, "A"]]))
    answer(trainer.check, groups)
    X, y = np.eye(4, dtype="f4"), np.arange(8.0).reshape(4, 2)
    model = answer(clone(METHODS["StInfer regression"]).set_params(trainer=trainer).fit, X, y)
    assert model is None or np.isfinite(model.predict(X)).all()
    given_ = data.draw(odd([trainer, None], nonsense))
    answer(check_trainer, given_, Trainer(max_epochs=1, batch_size=4, lr=0.1, weight_decay=0.0))


@given(odd([None, SpotRetriever(3), SpotRetriever(99), SpotRetriever(index="x")], nonsense),
       st.integers(1, 9))  # fmt: skip
def test_what_may_be_a_collaborator(given_, n):
    retriever = answer(check_retriever, given_, SpotRetriever(5), n)
    if retriever is not None:
        rows = answer(example_rows, retriever, n)
        assert rows is None or set(rows) <= set(range(n))
    answer(check_featurizer, given_)
    answer(check_expression, given_)
    assert isinstance(expected_failed_checks(given_), dict)


# protocols and benchmarks ------------------------------------------------------------------------


@examples(6)
@given(st.data())
def test_protocols(data):
    ms = model_selection
    right = [ms.PatientOut(), ms.SectionOut(), ms.PatientKFold(2), ms.TrainTest(["A"], ["B"])]
    wrong = [ms.PatientKFold(n) for n in ("a", None, 99)]
    wrong += [ms.TrainTest(*sides) for sides in ((3, None), ("AA"), ([["A"]], ["B"]), ("A", "B"))]
    protocol = data.draw(odd(right, wrong))
    y = data.draw(odd(adatas(), st.one_of(matrices(), nonsense)))
    folds = answer(protocol.folds, data.draw(odd([None], nonsense)), y)
    for fold in folds or ():
        assert len(fold.train) and len(fold.test) and not set(fold.train) & set(fold.test)
    answer(ms.check_protocol, data.draw(odd(["patient-out"], nonsense)))
    preset, methods = data.draw(odd(["quick"], nonsense)), data.draw(odd(["all"], nonsense))
    answer(ms.method_presets, preset, methods)
    answer(ms.published_protocol, y, data.draw(odd([None], [["g0"], 3])))


@examples(6)
@given(st.data())
def test_benchmarks(data):
    y = data.draw(odd(adatas(8), st.one_of(matrices(8), nonsense)))
    X = data.draw(odd(arrays((8, 3), "numbers", "f8"), st.one_of(matrices(8, 3), nonsense)))
    ridge = ExpressionTargetRegressor(Ridge())
    results = answer(
        model_selection.benchmark,
        data.draw(odd([{"ridge": ridge}], [{"r": 3}, "x", [], {}, 3, {"r": Ridge()}])),
        X, y, data.draw(odd(["patient-out", "section-out"], ["x", None])),
        controls=data.draw(odd([False, ["mean"]], [["x"], 3, None])),
        n_jobs=data.draw(odd([None], ["a", 0])), random_state=data.draw(odd([0], ["x", -1])),
    )  # fmt: skip
    if results is not None:
        assert (results["error"].ne("") | results["rmse"].notna()).all()
