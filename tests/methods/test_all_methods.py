"""What holds for every method, on the synthetic cohort."""

import dataclasses

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from histoexpr import (
    GR2ST,
    ExpressionTransformer,
    MclSTExp,
    Reg2ST,
    SpotFeatures,
    SpotRetriever,
    STco,
    StInfer,
    TextureFeaturizer,
    Trainer,
)
from histoexpr.data import split_sections
from histoexpr.datasets import make_spatial_expression
from histoexpr.metrics import pearson_per_gene, pearson_scorer

QUICK = Trainer(max_epochs=2, lr=1e-3)
SMALL_REG2ST = dict(hidden_dim=16, n_layers=1, n_heads=2)


def methods(featurizer=None, trainer=QUICK, **settings):
    """One of each kind of prediction, small."""
    usual = dict(featurizer=featurizer, trainer=trainer, random_state=0, **settings)
    return {
        "STco": STco(**usual),
        "MclSTExp": MclSTExp(n_heads=2, head_dim=8, **usual),
        "GR2ST": GR2ST(n_heads=2, projection_dim=32, graph_neighbors=8, **usual),
        "StInfer": StInfer(**usual),
        "StInfer regression": StInfer(predict_by="regression", **usual),
        "Reg2ST": Reg2ST(**SMALL_REG2ST, **usual),
        "Reg2ST retrieval": Reg2ST(predict_by="retrieval", **SMALL_REG2ST, **usual),
    }


NAMES = list(methods())
WHOLE_SECTIONS = ["MclSTExp", "GR2ST", "Reg2ST", "Reg2ST retrieval"]


@pytest.fixture(scope="module")
def data(cohort):
    """Features that know their spots, counts, and where the last patient is."""
    images, adata = cohort
    features = StandardScaler().fit_transform(TextureFeaturizer().fit_transform(images))
    test = (adata.obs["patient"] == adata.obs["patient"].iloc[-1]).to_numpy()
    return SpotFeatures.of(images, features.astype(np.float32)), adata, test


@pytest.mark.parametrize("name", NAMES)
def test_a_method_does_all_that_methods_do(name, data, tmp_path):
    X, adata, test = data
    model = clone(methods()[name]).fit(X[~test], adata[~test])
    predicted = model.predict(X[test])
    assert predicted.shape == (test.sum(), adata.n_vars) and predicted.dtype == np.float32
    result = model.predict_adata(X[test])
    np.testing.assert_array_equal(result.X, predicted)
    assert list(result.obs["section"]) == list(X.section[test])
    distances, neighbors = model.kneighbors(X[test], 5)
    assert neighbors.shape == (test.sum(), 5) and neighbors.max() < (~test).sum()
    assert (np.diff(distances, axis=1) >= 0).all()
    joblib.dump(model, tmp_path / "model.joblib")
    np.testing.assert_array_equal(
        joblib.load(tmp_path / "model.joblib").predict(X[test]), predicted
    )
    again = clone(methods()[name]).fit(X[~test], adata[~test])
    np.testing.assert_array_equal(again.predict(X[test]), predicted)


@pytest.mark.parametrize("name", NAMES)
def test_cross_validation_by_patient(name, data):
    X, adata, _ = data
    scores = cross_val_score(
        methods()[name],
        X,
        adata,
        groups=adata.obs["patient"],
        cv=GroupKFold(3),
        scoring=pearson_scorer,
        error_score="raise",
    )
    assert scores.shape == (3,) and np.isfinite(scores).all()


@pytest.mark.parametrize("name", NAMES)
def test_images_and_a_featurizer_inside(name, cohort, data):
    images, adata = cohort
    X, _, test = data
    featurizer = make_pipeline(TextureFeaturizer(), StandardScaler())
    model = methods(featurizer)[name].fit(images[~test], adata[~test])
    assert np.isfinite(model.predict(images[test])).all()


@pytest.mark.parametrize("name", NAMES)
def test_pipelines_work_or_say_what_they_lose(name, cohort, data):
    images, adata = cohort
    _, _, test = data
    pipeline = make_pipeline(TextureFeaturizer(), StandardScaler(), methods()[name])
    if name.startswith("Reg2ST"):  # its decoder needs the positions that the scaler forgets
        with pytest.raises(ValueError, match="carries none.*put scalers and featurizers into"):
            pipeline.fit(images[~test], adata[~test])
        return
    pipeline.fit(images[~test], adata[~test])
    assert np.isfinite(pipeline.predict(images[test])).all()


@pytest.mark.parametrize("name", NAMES)
def test_other_sections_do_not_change_a_prediction(name, data):
    X, adata, test = data
    model = methods()[name].fit(X[~test], adata[~test])
    together = model.predict(X)
    for section in np.unique(X.section):
        rows = X.section == section
        np.testing.assert_allclose(model.predict(X[rows]), together[rows], atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_new_spots_does_not_matter(name, data):
    X, adata, test = data
    model = methods()[name].fit(X[~test], adata[~test])
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(model.predict(X[order]), model.predict(X)[order], atol=2e-5)


@pytest.mark.parametrize("name", WHOLE_SECTIONS)
def test_neither_order_nor_batch_size_matters_at_fit(name, data):
    X, adata, test = data
    train = np.flatnonzero(~test)
    plain = methods()[name].fit(X[train], adata[train]).predict(X[test])
    shuffled = np.random.default_rng(0).permutation(train)
    other = methods(trainer=clone(QUICK).set_params(batch_size=7))[name]
    other.fit(X[shuffled], adata[shuffled])
    np.testing.assert_allclose(other.predict(X[test]), plain, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", WHOLE_SECTIONS)
def test_large_sections_are_cut_into_tiles(name, data):
    X, adata, test = data
    model = methods()[name].set_params(max_section_spots=20).fit(X[~test], adata[~test])
    whole = model.predict(X[test])
    # The same tiles come of the same section, whatever the order; each is predicted by itself.
    for rows in split_sections(len(whole), X.section[test], X.positions[test], 20):
        rows = np.random.default_rng(0).permutation(rows)
        assert len(rows) <= 20
        np.testing.assert_allclose(model.predict(X[test][rows]), whole[rows], atol=1e-6)
    bare = adata[~test].copy()
    del bare.obs["array_row"], bare.obs["array_col"]
    with pytest.raises(ValueError, match="more than max_section_spots=20, and no positions"):
        clone(model).fit(X.features[~test], bare)
    # What the target lacks is taken from X.
    again = clone(model).fit(X[~test], bare)
    np.testing.assert_array_equal(again.predict(X[test]), whole)


@pytest.fixture(scope="module")
def larger():
    """Five patients of two sections: enough for what must be learnt from few spots."""
    images, adata = make_spatial_expression(
        5, 2, grid=(10, 10), n_genes=60, mpp=2.0, out_px=32, random_state=0
    )
    features = StandardScaler().fit_transform(TextureFeaturizer().fit_transform(images))
    X = SpotFeatures.of(images, features.astype(np.float32))
    return X, adata, (adata.obs["patient"] == "E").to_numpy()


LEARNING = {
    "STco": STco(None, trainer=Trainer(max_epochs=12, lr=2e-3), random_state=0),
    "MclSTExp": MclSTExp(
        None, n_heads=2, head_dim=16, trainer=Trainer(max_epochs=12, lr=2e-3), random_state=0
    ),
    "GR2ST": GR2ST(
        n_heads=2, projection_dim=64, trainer=Trainer(max_epochs=30, lr=1e-3), random_state=0
    ),
    "StInfer": StInfer(None),
    "StInfer regression": StInfer(
        None, predict_by="regression", trainer=Trainer(max_epochs=30), random_state=0
    ),
    # Without dropout, with clipped gradients and no warm-up its decoder learns in few epochs.
    "Reg2ST": Reg2ST(
        hidden_dim=64,
        n_layers=1,
        dropout=0.0,
        trainer=Trainer(
            max_epochs=45, lr=3e-3, warmup_epochs=0, min_lr=1e-3, max_grad_norm=1.0
        ),
        random_state=0,
    ),
}


@pytest.mark.parametrize("name", LEARNING)
def test_each_method_learns_what_carries_over_to_a_new_patient(name, larger):
    X, adata, test = larger
    model = LEARNING[name].fit(X[~test], adata[~test])
    truth = model.expression_.transform(adata[test])

    def median_pcc():
        return np.nanmedian(pearson_per_gene(truth, model.predict(X[test])))

    assert median_pcc() >= 0.3
    if name == "Reg2ST":
        model.predict_by = "retrieval"
        assert median_pcc() >= 0.3
        model.predict_by = "decoder"
    # Counts of other spots of the training patients, under the places of these.
    train = adata[~test]
    shuffled = train[np.random.default_rng(0).permutation(train.n_obs)].copy()
    shuffled.obs = train.obs.copy()
    model.fit(X[~test], shuffled)
    assert median_pcc() <= 0.05


def test_a_section_of_one_spot_and_sections_below_k(data):
    X, adata, test = data
    few = np.r_[np.flatnonzero(X.section == "A1")[:3], np.flatnonzero(X.section == "B1")[:1]]
    for name, model in methods().items():
        model.fit(X[few], adata[few])
        assert np.isfinite(model.predict(X[test])).all(), name
        assert np.isfinite(model.predict(X[test][:1])).all(), name


@pytest.mark.parametrize("name", NAMES)
def test_spots_without_counts_survive(name, data):
    X, adata, test = data
    train = adata[~test].copy()
    counts = train.X.toarray()
    counts[[0, 7]] = 0
    train.X = counts
    assert np.isfinite(methods()[name].fit(X[~test], train).predict(X[test])).all()


def test_positions_beyond_the_tables_count_as_the_last(data):
    X, adata, test = data
    model = methods()["Reg2ST"].fit(X[~test], adata[~test])
    last = adata.obs[["array_col", "array_row"]][~test].to_numpy().max(axis=0)
    one = X[test][:1]
    at_last, beyond = (
        dataclasses.replace(one, positions=[position]) for position in (last, last + 500)
    )
    np.testing.assert_array_equal(model.predict(beyond), model.predict(at_last))


def test_missing_and_unknown_cell_types_add_nothing(data):
    X, adata, test = data
    train = adata[~test].copy()
    types = train.obs["cell_type"].astype(object)
    types.iloc[:5] = None
    train.obs["cell_type"] = types
    model = methods()["GR2ST"].fit(X[~test], train)
    assert "nan" not in model.cell_types_ and len(model.cell_types_) == types.dropna().nunique()
    model.set_params(cell_type_key="no such column").fit(X[~test], train)
    assert list(model.cell_types_) == [""]
    train.obs["other"] = "one"
    assert list(model.set_params(cell_type_key="other").fit(X[~test], train).cell_types_) == ["one"]


def test_sections_of_x_hold_where_the_target_names_none(data):
    X, adata, test = data
    bare = adata[~test].copy()
    del bare.obs["section"], bare.obs["patient"]
    for name in WHOLE_SECTIONS:
        named = methods()[name].fit(X[~test], adata[~test]).predict(X[test])
        np.testing.assert_array_equal(methods()[name].fit(X[~test], bare).predict(X[test]), named)


def test_a_section_is_of_one_patient(data):
    X, adata, _ = data
    reused = adata.copy()
    reused.obs["section"] = "1"
    with pytest.raises(ValueError, match="'1' hold spots of more than one patient"):
        MclSTExp(None).fit(X.features, reused)


def test_decoders_have_no_use_for_other_retrieved_expression(data):
    X, adata, test = data
    other = SpotRetriever(expression=ExpressionTransformer(normalize="gene"))
    for name in ("Reg2ST", "StInfer regression"):
        with pytest.raises(ValueError, match="expression= has no place there"):
            methods()[name].set_params(retriever=other).fit(X[~test], adata[~test])


def test_a_predict_by_set_after_fit_is_checked(data):
    X, adata, test = data
    model = methods()["Reg2ST"].fit(X[~test], adata[~test])
    with pytest.raises(ValueError, match="'predict_by' parameter of Reg2ST"):
        model.set_params(predict_by="decode").predict(X[test])


def test_reg2st_refuses_widths_its_heads_cannot_share(data):
    X, adata, test = data
    with pytest.raises(ValueError, match="hidden_dim=30 cannot be shared among n_heads=8"):
        Reg2ST(hidden_dim=30).fit(X[~test], adata[~test])


def test_reg2st_of_an_array_has_no_counts(data):
    X, adata, test = data
    expression = np.log1p(adata.X.toarray())
    model = methods()["Reg2ST"].fit(X.features[~test], expression[~test])
    assert "zinb" not in model.history_[0] and {"mse", "contrastive"} < set(model.history_[0])
    assert np.isfinite(model.predict(X.features[test])).all()


def test_stinfer_averages_the_paper_number_of_neighbors(data):
    X, adata, test = data
    model = StInfer(None).fit(X[~test], adata[~test])
    assert model.retriever_.n_neighbors == (~test).sum() and model.history_ == []
    with pytest.raises(ValueError, match="n_neighbors"):
        StInfer(None, retriever=SpotRetriever(5000)).fit(X[~test], adata[~test])
