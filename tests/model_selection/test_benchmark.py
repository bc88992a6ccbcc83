"""Methods by folds: what the table says, what a failure does, what is done again."""

import json
import logging

import joblib
import numpy as np
import pandas as pd
import pytest
from processes import forked_jobs
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from histoexpr import (
    ExpressionTargetRegressor,
    ExpressionTransformer,
    Reg2ST,
    SpotFeatures,
    SpotRetriever,
    STco,
    TimmFeaturizer,
    Trainer,
)
from histoexpr.metrics import mae_per_gene, pearson_per_gene, rmse_per_gene
from histoexpr.model_selection import (
    Method,
    PatientOut,
    Reading,
    SectionOut,
    TrainTest,
    benchmark,
    summarize,
)
from histoexpr.model_selection._fit import shuffle_spots

QUICK = Trainer(max_epochs=2)
CHEAP = ["mean", "shuffled", "kNN"]  # controls


def ridge(**settings):
    return ExpressionTargetRegressor(Ridge(1.0), **settings)


def stco(**settings):
    return STco(featurizer=None, trainer=QUICK, **settings)


class Counting(TransformerMixin, BaseEstimator):
    """Mean colours; notes in a file each time it computes them."""

    def __init__(self, log, needs_fit=False, note=""):
        self.log = log
        self.needs_fit = needs_fit
        self.note = note

    def fit(self, X, y=None):
        self.patients_ = sorted(set(X.patient))
        return self

    def transform(self, X):
        with open(self.log, "a") as file:
            file.write(f"{''.join(self.patients_)}\n")
        return np.asarray(X).mean(axis=(1, 2)) / 255

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = self.needs_fit
        tags.input_tags.two_d_array = False
        return tags


class Mean(TransformerMixin, BaseEstimator):
    """The mean of a colour and its square."""

    def __init__(self, channel=0):
        self.channel = channel

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        mean = np.asarray(X)[..., self.channel].mean(axis=(1, 2)) / 255
        return np.column_stack([mean, mean**2])


class Broken(RegressorMixin, BaseEstimator):
    """Fails where patient B is predicted, if at all."""

    def __init__(self, when="fit", expression=None):
        self.when = when
        self.expression = expression

    def fit(self, X, y):
        self.expression_ = self.expression.fit(y)
        self.patients_ = set(y.obs["patient"])
        if self.when == "fit" and "B" not in self.patients_:
            raise RuntimeError("no B to learn from")
        return self

    def predict(self, X):
        value = np.nan if self.when == "predict" and "B" not in self.patients_ else 1.0
        return np.full((len(X), len(self.expression_.genes_)), value)


@pytest.fixture(scope="module")
def results(sampled):
    return benchmark({"ridge": ridge()}, *sampled, controls=CHEAP, return_predictions=True)


def test_one_row_a_method_fold_section_and_gene(results, sampled):
    table, _ = results
    _, adata = sampled
    assert len(table) == 4 * 6 * adata.n_vars
    assert not table.duplicated(["method", "fold", "section", "gene"]).any()
    assert list(table["method"].unique()) == ["ridge", *CHEAP]
    assert set(table.loc[table["control"], "method"]) == set(CHEAP)
    assert (table["protocol"] == "patient-out").all() and (table["error"] == "").all()
    assert not table["patient_in_training"].any()
    assert (table["units"] == "log1p of counts per 10,000 over the panel, by spot").all()
    one = table[(table["method"] == "ridge") & (table["section"] == "B2")]
    assert set(one["fold"]) == {"patient B"} and set(one["patient"]) == {"B"}
    assert list(one["gene"]) == list(adata.var_names)
    in_section, in_patient = ((adata.obs[k] == v).sum() for k, v in
                              (("section", "B2"), ("patient", "B")))
    assert (one["n_spots"] == in_section).all()
    assert (one["n_train"] == adata.n_obs - in_patient).all()
    assert (table["seconds_fit"] > 0).all() and (table["seed"] == 0).all()


def test_scores_are_those_of_a_fit_by_hand(results, sampled):
    table, predictions = results
    features, adata = sampled
    patient, section = (adata.obs[key].to_numpy() for key in ("patient", "section"))
    model = ridge().fit(features[patient != "C"], adata[patient != "C"])
    test = section == "C1"
    truth = model.expression_.transform(adata[test])
    predicted = model.predict(features[test])
    one = table[(table["method"] == "ridge") & (table["section"] == "C1")]
    for name, score in (
        ("pearson", pearson_per_gene), ("rmse", rmse_per_gene), ("mae", mae_per_gene)
    ):
        np.testing.assert_allclose(one[name], score(truth, predicted), atol=1e-6)
    told = predictions["ridge"]
    np.testing.assert_array_equal(told.obs_names, adata.obs_names)
    np.testing.assert_allclose(told.X[test], predicted, atol=1e-5)
    np.testing.assert_allclose(told.layers["measured"][test], truth, atol=1e-6)
    np.testing.assert_array_equal(told.obsm["spatial"], adata.obsm["spatial"])
    np.testing.assert_array_equal(told.obs["row"], np.arange(adata.n_obs))


def test_neighbors_are_training_spots(results, sampled):
    _, predictions = results
    patient = sampled[1].obs["patient"].to_numpy()
    neighbors = predictions["kNN"].obsm["neighbors"]
    assert neighbors.shape == (len(patient), 10)
    assert (patient[neighbors] != patient[:, None]).all()
    assert "neighbors" not in predictions["ridge"].obsm


def test_the_summary_averages_over_genes_then_sections(results):
    table, _ = results
    summary = summarize(table).loc["patient-out"]
    sections = ["A1", "A2", "B1", "B2", "C1", "C2"]
    assert list(summary.columns) == [*sections, "mean", "undefined", "failed"]
    by_hand = table[table["method"] == "ridge"].groupby("section")["pearson"].mean()
    np.testing.assert_allclose(summary.loc["ridge"][by_hand.index].astype(float), by_hand)
    np.testing.assert_allclose(summary.loc["ridge", "mean"], by_hand.mean())
    assert summary.loc["mean", "mean"] == 0
    assert summary.loc["ridge", "mean"] > 0.1 > abs(summary.loc["shuffled", "mean"])
    errors = summarize(table, "rmse").loc["patient-out"]
    assert errors.loc["ridge", "mean"] < errors.loc["shuffled", "mean"]
    with pytest.raises(ValueError, match="Did you mean 'pearson'"):
        summarize(table, "pearsn")


def test_constant_genes_are_counted_not_dropped(sampled):
    features, adata = sampled
    flat = adata.copy()
    counts = flat.X.toarray()
    counts[(flat.obs["section"] == "A2").to_numpy(), :3] = 0
    flat.X = counts
    expression = ExpressionTransformer(normalize=None)
    table = benchmark(
        {"ridge": ridge()}, features, flat, controls=["mean"], expression=expression
    )
    assert len(table) == 2 * 6 * adata.n_vars
    undefined = table[table["pearson"].isna()]
    assert len(undefined) == 6 and set(undefined["section"]) == {"A2"}
    assert undefined["rmse"].notna().all()
    summary = summarize(table).loc["patient-out"]
    assert list(summary["undefined"]) == [3, 3] and list(summary["failed"]) == [0, 0]
    assert summary.notna().all().all()


@pytest.mark.parametrize("when", ["fit", "predict"])
def test_a_failing_method_loses_no_other(sampled, caplog, when):
    methods = {"broken": Broken(when), "ridge": ridge()}
    with caplog.at_level(logging.WARNING):
        table = benchmark(methods, *sampled, controls=False)
    failed = table[table["error"] != ""]
    message = "RuntimeError: no B to learn from" if when == "fit" else "InputError: .*NaN"
    assert failed["error"].str.match(message).all()
    assert list(failed["section"]) == ["B1", "B2"] and list(failed["gene"]) == ["", ""]
    assert failed["pearson"].isna().all() and failed["seconds_fit"].isna().all()
    assert set(failed["method"]) == {"broken"} and "broken failed, patient B" in caplog.text
    summary = summarize(table).loc["patient-out"]
    assert list(summary["failed"]) == [1, 0] and list(summary["undefined"]) == [0, 0]
    assert summary.loc["broken"].isna().sum() == 2
    assert summary.loc["ridge"].notna().all()


def test_number_of_jobs_changes_nothing(sampled):
    methods = {"STco": stco(), "ridge": ridge(), "broken": Broken("fit")}

    def run(n_jobs):
        return benchmark(
            methods, *sampled, n_jobs=n_jobs, controls=CHEAP, return_predictions=True
        )

    one, predicted_one = run(1)
    with forked_jobs():
        two, predicted_two = run(2)
    measured = ["seconds_fit", "seconds_predict", "peak_memory"]
    pd.testing.assert_frame_equal(
        one.drop(columns=measured), two.drop(columns=measured), atol=1e-5, rtol=0
    )
    for name, predictions in predicted_one.items():
        np.testing.assert_allclose(predictions.X, predicted_two[name].X, atol=1e-5)


@pytest.mark.parametrize("backend", ["threading", "multiprocessing", "dask"])
def test_any_backend_of_joblib_serves(sampled, backend):
    methods = {"STco": stco(), "ridge": ridge()}
    given = dict(protocol=TrainTest(["A1"], ["B1"]), controls=False)
    expected = summarize(benchmark(methods, *sampled, **given))
    settings = {}
    if backend == "dask":
        distributed = pytest.importorskip("distributed")
        settings["client"] = client = distributed.Client(
            processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None
        )
        settings["wait_for_workers_timeout"] = 30
    try:
        with joblib.parallel_config(backend=backend, n_jobs=2, **settings):
            found = summarize(benchmark(methods, *sampled, **given))
    finally:
        if backend == "dask":
            client.close()
    pd.testing.assert_frame_equal(found, expected, atol=1e-5, rtol=0)


def test_the_seed_decides(sampled):
    def scores(**settings):
        methods = {
            "STco": stco(retriever=SpotRetriever(5), **settings.pop("own", {})),
            "shuffled": Method(ridge(), shuffled="all"),
        }
        table = benchmark(
            methods, *sampled, TrainTest(["A1"], ["B1"]), controls=False, **settings
        )
        return table.set_index(["method", "gene"])["pearson"]

    first = scores(random_state=1)
    pd.testing.assert_series_equal(first, scores(random_state=1))
    other = scores(random_state=2)
    for method in ("STco", "shuffled"):
        assert not np.allclose(first[method], other[method])
    mine = scores(random_state=2, own={"random_state": 1})  # an own seed is kept
    np.testing.assert_array_equal(mine["STco"], first["STco"])


def test_shuffling_keeps_places_and_the_counts_of_sections(sampled):
    _, adata = sampled
    for within in (True, False):
        shuffled = shuffle_spots(adata, within, 0)
        pd.testing.assert_frame_equal(shuffled.obs, adata.obs)
        assert (shuffled.X != adata.X).nnz > adata.n_obs
        same = [
            np.array_equal(shuffled[rows].X.sum(axis=0), adata[rows].X.sum(axis=0))
            for rows in (adata.obs["section"] == name for name in ("A1", "C2"))
        ]
        assert same == [within, within]
    assert (shuffle_spots(adata, True, 0).X != shuffle_spots(adata, True, 1).X).nnz


def test_one_fit_is_read_in_several_ways(sampled):
    reg2st = Reg2ST(trainer=QUICK, hidden_dim=16, n_layers=1)
    readings = {by: Reading({"predict_by": by}) for by in ("decoder", "retrieval")}
    table, predictions = benchmark(
        {"Reg2ST": Method(reg2st, readings, note="small")}, *sampled,
        TrainTest(["A1", "B1"], ["C1"]), controls=False, return_predictions=True,
    )
    assert list(table["method"].unique()) == ["Reg2ST-decoder", "Reg2ST-retrieval"]
    assert table["fit"].nunique() == 1
    assert "neighbors" in predictions["Reg2ST-retrieval"].obsm
    assert "neighbors" not in predictions["Reg2ST-decoder"].obsm
    features, adata = sampled
    section = adata.obs["section"].to_numpy()
    train, test = np.isin(section, ["A1", "B1"]), section == "C1"
    by_hand = Reg2ST(
        trainer=QUICK, hidden_dim=16, n_layers=1, random_state=0,
        expression=ExpressionTransformer(), predict_by="retrieval",
    ).fit(features[train], adata[train])
    np.testing.assert_allclose(
        predictions["Reg2ST-retrieval"].X, by_hand.predict(features[test]), atol=1e-5
    )
    assert table.attrs["settings"]["methods"]["Reg2ST-decoder"]["note"] == "small"


# Images and features


def test_a_featurizer_runs_once_for_all_methods(small, tmp_path):
    images, adata = small
    shared = Counting(str(tmp_path / "shared"))
    methods = {
        "own": STco(Counting(str(tmp_path / "own")), trainer=QUICK),
        "own again": STco(Counting(str(tmp_path / "own")), trainer=QUICK, projection_dim=8),
        "ridge": ridge(),
        "images": ExpressionTargetRegressor(
            make_pipeline(Counting(str(tmp_path / "images")), Ridge())
        ),
    }
    table = benchmark(
        methods, images, adata, featurizer=shared, controls=["kNN"], expression=None
    )
    assert (table["error"] == "").all()
    assert (tmp_path / "shared").read_text() == (tmp_path / "own").read_text() == "ABC\n"
    # a Pipeline is its own business: each fold is fitted and predicted
    assert (tmp_path / "images").read_text() == "BC\nBC\nAC\nAC\nAB\nAB\n"
    told = table.attrs["settings"]["methods"]
    assert told["own"]["featurizer"]["class"].endswith("Counting")


def test_a_featurizer_that_learns_sees_training_spots_only(small, tmp_path):
    learning = Counting(str(tmp_path / "log"), needs_fit=True)
    methods = {"STco": STco(learning, trainer=QUICK), "ridge": ridge()}
    table = benchmark(methods, *small, controls=["kNN"])
    assert (table["error"] == "").all()
    assert (tmp_path / "log").read_text() == "BC\nAC\nAB\n"  # the ridge and kNN share them


def test_features_equal_images(small):
    images, adata = small
    backbone = TimmFeaturizer("test_resnet", pretrained=False, input_size=32, random_state=0)
    method = STco(backbone, trainer=QUICK, random_state=0)
    _, predictions = benchmark(
        {"STco": method}, images, adata, TrainTest(["A1"], ["B1"]), controls=False,
        return_predictions=True,
    )
    section = adata.obs["section"].to_numpy()
    by_hand = method.fit(images[section == "A1"], adata[section == "A1"])
    np.testing.assert_allclose(
        predictions["STco"].X, by_hand.predict(images[section == "B1"]), atol=1e-4
    )


def test_random_weights_are_drawn_under_the_seed(small):
    def scores(**settings):
        backbone = TimmFeaturizer("test_resnet", pretrained=False, input_size=32)
        table = benchmark(
            {"own": STco(backbone, trainer=QUICK)}, *small, TrainTest(["A1"], ["B1"]),
            controls=["kNN"], **settings,
        )
        return table["rmse"]

    pd.testing.assert_series_equal(scores(), scores())
    assert not np.allclose(scores(), scores(random_state=1))


def test_a_named_featurizer_is_made_by_its_method(small):
    class Blue(STco):
        def _check_featurizer(self):
            return Mean(channel=2) if self.featurizer == "blue" else super()._check_featurizer()

    table = benchmark(
        {"blue": Blue("blue", trainer=QUICK)}, *small, TrainTest(["A1"], ["B1"]), controls=["kNN"]
    )
    assert (table["error"] == "").all()
    told = table.attrs["settings"]["methods"]
    assert told["blue"]["featurizer"]["parameters"] == {"channel": 2}
    assert told["kNN"]["featurizer"] == told["blue"]["featurizer"]


def test_a_trained_backbone_gets_images(small):
    backbone = TimmFeaturizer("test_resnet", pretrained=False, trainable=True, input_size=32)
    table = benchmark(
        {"STco": STco(backbone, trainer=Trainer(max_epochs=1))}, *small,
        TrainTest(["A1"], ["B1"]), controls=["kNN"],
    )
    assert (table["error"] == "").all()  # kNN stands on the frozen network
    assert table.attrs["settings"]["methods"]["STco"]["featurizer"] is None


def test_a_featurizer_that_fails_loses_its_methods_alone(small):
    images, adata = small
    lost = TimmFeaturizer("test_resnet", checkpoint_path="nowhere.safetensors")
    methods = {"lost": STco(lost, trainer=QUICK), "ridge": ridge()}
    table = benchmark(
        methods, images, adata, TrainTest(["A1"], ["B1"]), controls=False,
        featurizer=TimmFeaturizer("test_resnet", pretrained=False, input_size=32),
    )
    errors = table.groupby("method")["error"].first()
    assert "nowhere.safetensors" in errors["lost"] and errors["ridge"] == ""
    with pytest.raises(OSError, match="nowhere.safetensors"):
        benchmark({"lost": methods["lost"]}, images, adata, controls=False)


def test_arrays_learn_their_places_from_the_counts(sampled):
    features, adata = sampled
    decoder = Reg2ST(trainer=QUICK, hidden_dim=16, n_layers=1)
    settings = dict(protocol=TrainTest(["A1", "B1"], ["C1"]), controls=False)
    plain = benchmark({"Reg2ST": decoder}, np.asarray(features), adata, **settings)
    assert (plain["error"] == "").all()
    known = benchmark({"Reg2ST": decoder}, features, adata, **settings)
    pd.testing.assert_series_equal(plain["pearson"], known["pearson"])


def test_counts_learn_their_sections_from_the_images(sampled):
    features, adata = sampled
    bare = adata.copy()
    del bare.obs["patient"], bare.obs["section"]
    found = benchmark({"ridge": ridge()}, features, bare, controls=False)
    expected = benchmark({"ridge": ridge()}, features, adata, controls=False)
    pd.testing.assert_series_equal(found["pearson"], expected["pearson"])
    assert list(bare.obs) == [c for c in adata.obs if c not in ("patient", "section")]


# What cannot be compared


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"methods": ["STCO", "GRST"]}, ValueError, "Did you mean 'STco', 'GR2ST'"),
        ({"controls": ["knn"]}, ValueError, "Did you mean 'kNN'"),
        ({"methods": {"kNN": ridge()}}, ValueError, "called kNN"),
        ({"methods": {"STco": STco}}, TypeError, r"methods\['STco'\] must be an estimator"),
        ({"methods": {}, "controls": False}, ValueError, "nothing to compare"),
        ({"methods": ["STco"], "preset": "fast"}, ValueError, "presets"),
        ({"adata": np.ones((3, 2))}, TypeError, "AnnData of raw counts; got ndarray"),
        ({"protocol": "patients"}, ValueError, "Did you mean 'patient-out'"),
        ({"featurizer": "resnet18"}, ValueError, "holds features already, of shape .*, 6"),
    ],
)
def test_says_what_is_wrong(sampled, change, error, message):
    features, adata = sampled
    settings = {"methods": {"ridge": ridge()}, "images": features, "adata": adata, **change}
    with pytest.raises(error, match=message):
        benchmark(**settings)


def test_features_are_needed(small):
    of_images = ExpressionTargetRegressor(make_pipeline(Counting(""), Ridge()))
    for methods in ({}, {"ridge": of_images}):
        with pytest.raises(ValueError, match="kNN takes features, but X holds images .*featuriz"):
            benchmark(methods, *small, controls=["kNN"])


def test_other_spots_are_refused(sampled):
    features, adata = sampled
    with pytest.raises(ValueError, match="not the same spots"):
        benchmark({"ridge": ridge()}, features, adata[::-1])
    with pytest.raises(ValueError, match="X must be an array"):
        benchmark({"ridge": ridge()}, [[1.0]] + [[1.0, 2.0]] * (len(adata) - 1), adata)


# What is done again


class Witness(RegressorMixin, BaseEstimator):
    """The training mean; notes each fit in a file."""

    def __init__(self, log, level=0, stop=None, expression=None):
        self.log = log
        self.level = level
        self.stop = stop
        self.expression = expression

    def fit(self, X, y):
        with open(self.log, "a") as file:
            file.write(f"{y.n_obs}\n")
        if self.stop is not None and len(open(self.log).readlines()) >= self.stop:
            raise KeyboardInterrupt
        self.expression_ = self.expression.fit(y)
        self.mean_ = self.expression_.transform(y).mean(axis=0) + self.level
        return self

    def predict(self, X):
        return np.tile(self.mean_, (len(X), 1))


class Fits:
    """How many fits a benchmark did."""

    def __init__(self, folder, sampled):
        self.folder, self.data = folder, sampled

    def __call__(self, *data, level=0, protocol="section-out", **settings):
        log = self.folder / "log"
        log.write_text("")
        self.table = benchmark(
            {"witness": Witness(str(log), level)}, *(data or self.data), protocol,
            **{"controls": False, "out": self.folder / "out", **settings},
        )
        return len(log.read_text().splitlines())


@pytest.fixture
def fits(tmp_path, sampled):
    return Fits(tmp_path, sampled)


def test_a_second_run_reads(fits):
    assert fits() == 6
    first = fits.table
    assert fits() == 0
    pd.testing.assert_frame_equal(fits.table, first, check_exact=True)
    assert fits.table.attrs == first.attrs
    assert fits(return_predictions=True) == 6  # they were not kept
    assert fits(return_predictions=True) == fits() == 0


def test_what_has_changed_is_done_again(fits, sampled):
    features, adata = sampled
    assert fits() == 6
    assert fits(level=1) == 6
    other = adata.copy()
    other.X[0, 0] += 1
    assert fits(features, other) == 6
    moved = SpotFeatures.of(features, np.asarray(features) + 1)
    assert fits(moved, adata) == 6
    assert fits(expression=ExpressionTransformer(log=None)) == 6
    assert fits(protocol="patient-out") == 3
    assert fits() == fits(level=1) == fits(protocol=PatientOut()) == 0


def test_protocols_share_their_fits(fits, sampled):
    features, adata = sampled
    keep = np.isin(adata.obs["section"], ["A1", "B1", "C1", "C2"])  # A and B: one section each
    assert fits(features[keep], adata[keep]) == 4
    assert fits(features[keep], adata[keep], protocol="patient-out") == 1
    assert set(fits.table["fold"]) == {"patient A", "patient B", "patient C"}


def test_kept_predictions_know_their_protocol(sampled, tmp_path):
    features, adata = sampled
    keep = np.isin(adata.obs["section"], ["A1", "B1", "B2"])  # A1 is tested by both
    folds = {}
    for protocol in ("section-out", "patient-out"):
        _, predictions = benchmark(
            {"ridge": ridge()}, features[keep], adata[keep], protocol, controls=False,
            out=tmp_path, return_predictions=True,
        )
        told = predictions["ridge"].uns["histoexpr"]
        assert told["protocol"] == protocol and told["method"] == "ridge"
        folds[protocol] = set(predictions["ridge"].obs["fold"])
    assert folds["section-out"] == {"section A1", "section B1", "section B2"}
    assert folds["patient-out"] == {"patient A", "patient B"}


def test_a_stopped_run_goes_on(sampled, tmp_path):
    log = tmp_path / "log"
    with pytest.raises(KeyboardInterrupt):
        benchmark({"w": Witness(str(log), stop=4)}, *sampled, SectionOut(), out=tmp_path / "out")
    assert len(list((tmp_path / "out" / "fits").glob("*.json"))) >= 3
    before = len(log.read_text().splitlines())
    table = benchmark(
        {"w": Witness(str(log), stop=99)}, *sampled, SectionOut(), out=tmp_path / "out",
        controls=False,
    )
    # stop is a parameter, so that these are other fits; the controls' are found
    assert len(log.read_text().splitlines()) == before + 6
    assert (table["error"] == "").all()


def test_failed_fits_are_done_again_and_leave_nothing(sampled, tmp_path):
    for _ in range(2):
        table = benchmark(
            {"broken": Broken("fit")}, *sampled, controls=False, out=tmp_path,
            return_predictions=True,
        )[0]
        assert (table["error"] != "").sum() == 2
        assert len(list((tmp_path / "fits").iterdir())) == 2
        assert len(list((tmp_path / "predictions").iterdir())) == 2


def test_the_folder_holds_whole_files_and_the_settings(sampled, tmp_path):
    features, adata = sampled
    table, predictions = benchmark(
        {"STco": stco(retriever=SpotRetriever(5))}, *sampled, controls=CHEAP, out=tmp_path,
        return_predictions=True,
    )
    names = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*.*")}
    assert names == {"fits", "predictions", "settings_patient-out.json"}
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    settings = json.loads((tmp_path / "settings_patient-out.json").read_text())
    assert settings == table.attrs["settings"]
    assert settings["methods"]["STco"]["parameters"]["random_state"] == 0
    assert settings["folds"][1] == {
        "name": "patient B", "train": ["A1", "A2", "C1", "C2"], "test": ["B1", "B2"],
        "shared_patients": [],
    }
    assert settings["data"]["n_spots"] == adata.n_obs and settings["versions"]["histoexpr"]
    again, read = benchmark(
        {"STco": stco(retriever=SpotRetriever(5))}, *sampled, controls=CHEAP, out=tmp_path,
        return_predictions=True,
    )
    pd.testing.assert_frame_equal(again, table, check_exact=True)
    for name, expected in predictions.items():
        np.testing.assert_array_equal(read[name].X, expected.X)
        pd.testing.assert_frame_equal(read[name].obs, expected.obs)


def test_checkpoints_are_written_and_go_with_the_fit(sampled, tmp_path, monkeypatch):
    from histoexpr.training import _run

    written = []
    save = _run.Run.save
    monkeypatch.setattr(_run.Run, "save", lambda self, p: written.append(p) or save(self, p))
    settings = dict(protocol=TrainTest(["A1"], ["B1"]), controls=False, out=tmp_path)
    table = benchmark({"STco": stco()}, *sampled, checkpoints=True, **settings)
    (fit,) = table["fit"].unique()
    assert len(written) == 2 and written[0].parent == tmp_path / "checkpoints" / fit
    assert not written[0].exists()
    written.clear()
    plain = benchmark({"STco": stco(dropout=0.0)}, *sampled, **settings)  # the same fit
    assert not written
    pd.testing.assert_frame_equal(plain, table)


def test_weights_count_by_content(small, tmp_path):
    from safetensors.torch import save_file
    import timm

    model = timm.create_model("test_resnet", pretrained=False)
    save_file(model.state_dict(), tmp_path / "one.safetensors")
    (tmp_path / "moved").mkdir()

    def keys(path):
        backbone = TimmFeaturizer("test_resnet", checkpoint_path=path, input_size=32)
        table = benchmark(
            {}, *small, TrainTest(["A1"], ["B1"]), featurizer=backbone, controls=["kNN"],
            out=tmp_path / "out",
        )
        return set(table["fit"])

    first = keys(tmp_path / "one.safetensors")
    (tmp_path / "one.safetensors").rename(tmp_path / "moved" / "one.safetensors")
    assert keys(tmp_path / "moved" / "one.safetensors") == first
    changed = {k: v + 1 for k, v in model.state_dict().items()}
    save_file(changed, tmp_path / "one.safetensors")
    assert keys(tmp_path / "one.safetensors") != first
