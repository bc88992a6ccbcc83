"""The page on a benchmark: complete, honest, safe to open, and readable without a mouse."""

from collections import Counter
from html.parser import HTMLParser

import anndata
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import FunctionTransformer

from histoexpr import ExpressionTargetRegressor, StInfer
from histoexpr.metrics import domain_agreement, noise_ceiling
from histoexpr.model_selection import benchmark, summarize
from histoexpr.report import _drawn, write_report
from histoexpr.report._drawn import choose_genes
from histoexpr.report._measures import _set_means

HOSTILE = "<script>alert(1)</script>"
VOID = {"meta", "link", "br", "hr", "img", "input", "use", "path", "image"}


def mean_colour(images):
    return np.asarray(images).mean(axis=(1, 2))


@pytest.fixture(scope="module")
def data(cohort):
    """Images and counts; names that are HTML; a gene that one section does not have."""
    images, adata = cohort
    adata = adata.copy()
    adata.X = adata.X.toarray()
    adata.var_names = [HOSTILE, "a & b", *adata.var_names[2:]]
    adata.X[(adata.obs["section"] == "B1").to_numpy(), 5] = 0
    return images, adata


@pytest.fixture(scope="module")
def run(data):
    """Results and predictions: two that end, and one that cannot."""
    images, adata = data
    methods = {
        "StInfer": StInfer(None),
        "<b>ridge": ExpressionTargetRegressor(Ridge()),
        "broken": ExpressionTargetRegressor(Ridge(alpha=-1)),
    }
    return benchmark(
        methods,
        images,
        adata,
        featurizer=FunctionTransformer(mean_colour),
        controls=["mean"],
        return_predictions=True,
    )


@pytest.fixture(scope="module")
def page(run, data, tmp_path_factory):
    results, predictions = run
    images, adata = data
    path = tmp_path_factory.mktemp("report") / "report.html"
    published = pd.DataFrame({"A paper": [0.5, 0.25]}, index=["A1", "C1"])
    written = write_report(
        results,
        path,
        title="Made & drawn",
        predictions=predictions,
        images=images,
        adata=adata,
        ceiling=noise_ceiling(adata, random_state=0),
        published=published,
        genes=[HOSTILE, "a & b"],
        settings={"Command": "histoexpr benchmark <x>"},
    )
    assert written == path
    return Page(path.read_text(encoding="utf-8"))


class Page(HTMLParser):
    """Elements with their attributes and text, and the rows of tables."""

    def __init__(self, source):
        super().__init__()
        self.source, self.elements, self.open = source, [], []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", **dict(attributes)}
        self.elements.append(element)
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):
            self.open.append(element)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop()["tag"] == tag

    def handle_startendtag(self, tag, attributes):
        self.elements.append({"tag": tag, "text": "", **dict(attributes)})

    def handle_data(self, text):
        for element in self.open:
            element["text"] += text

    def all(self, *tags):
        return [element for element in self.elements if element["tag"] in tags]

    def row(self, name):
        """The cells of the first row of that name."""
        for row in self.source.split("<tr>"):
            cells = [e["text"].strip() for e in Page(row.split("</tr>")[0]).all("th", "td")]
            if cells[:1] == [name]:
                return cells
        raise AssertionError(f"no row {name}")


def test_is_one_file_without_scripts(page):
    assert not page.open
    assert not page.all("script", "iframe", "object")
    for element in page.elements:
        for name in ("src", "href", "xlink:href"):
            assert element.get(name, "#").startswith(("#", "data:")), element
        assert not [name for name in element if name.startswith("on")]
    assert "http" not in page.source.replace("http://www.w3.org/", "")


def test_names_are_text(page):
    assert HOSTILE not in page.source
    assert page.all("h1")[0]["text"] == "Made & drawn"
    assert any(HOSTILE in e["text"] for e in page.all("figcaption"))
    assert page.row("<b>ridge")
    assert "histoexpr benchmark <x>" in [e["text"] for e in page.all("dd")]


def test_can_be_heard_and_walked(page):
    assert page.all("html")[0]["lang"] == "en"
    levels = [int(e["tag"][1]) for e in page.all("h1", "h2", "h3")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:]))
    ids = Counter(e["id"] for e in page.elements if "id" in e)
    assert max(ids.values()) == 1
    skip = page.all("a")[0]
    assert skip["href"][1:] in ids and skip["href"] == "#content"
    for link in page.all("a"):
        assert link["href"][1:] in ids
    assert len(page.all("caption")) == len(page.all("table")) > 3
    assert all(e["scope"] in ("row", "col", "rowgroup") for e in page.all("th"))
    for region in [e for e in page.elements if e.get("role") == "region"]:
        assert region["tabindex"] == "0" and region["aria-labelledby"] in ids
    assert all(e["role"] == "img" and len(e["aria-label"]) > 20 for e in page.all("svg"))
    assert len(page.all("figcaption")) == len(page.all("figure")) >= 4


def test_scores_are_those_of_the_benchmark(page, run):
    table = summarize(run[0]).droplevel(0)
    for name in ("StInfer", "<b>ridge", "mean"):
        cells = page.row(name)
        expected = [f"{table.loc[name, s]:.3f}".replace("-", "−") for s in ("A1", "B1", "C1")]
        assert cells[1:4] == expected
        assert cells[6] == "1", "the gene that does not vary in B1"
    assert page.row("Genes scored")[1:4] == ["30", "29", "30"]


def test_failed_fits_are_shown(page):
    assert page.row("broken")[1:5] == ["failed"] * 3 + ["–"]
    notices = [e["text"] for e in page.elements if e.get("class") == "notice"]
    assert any("3 of 12 fits failed" in text for text in notices)
    (error,) = [e for e in page.all("td") if "ParameterError" in e["text"]]
    assert "alpha" in error["text"]


def test_published_rows_and_ceiling(page, run, data):
    ceiling = noise_ceiling(data[1], random_state=0).mean(axis=1)
    cells = page.row("A paper")
    assert cells[1:6] == ["0.500", "–", "0.250", "0.375 (2 of 3)", ""]
    assert page.row("Counting-noise ceiling")[1] == f"{ceiling['A1']:.3f}"
    mean = summarize(run[0]).droplevel(0).loc["StInfer", "mean"]
    assert page.row("StInfer")[5] == f"{100 * mean / ceiling.mean():.0f} %".replace("-", "−")


def test_what_was_done_is_told(page, run):
    text = page.all("main")[0]["text"]
    settings = run[0].attrs["settings"]
    for words in ("patient-out", settings["data"]["fingerprint"], settings["versions"]["torch"]):
        assert words in text
    assert page.row("patient A")[1:] == ["A1", "B1 and C1", "none"]
    summaries = [e["text"].strip() for e in page.all("summary")]
    assert summaries == ["StInfer", "<b>ridge", "broken", "mean"]
    assert "log1p of counts per 10,000" in page.all("caption")[0]["text"]


def test_further_measures(page, run, data):
    results, predictions = run
    rmse = summarize(results, "rmse").droplevel(0)["mean"]
    labels = {
        "labels": data[1].obs["domain"].to_numpy(),
        "section": data[1].obs["section"].to_numpy(),
        "random_state": 0,
    }
    predicted = predictions["StInfer"]
    ari = domain_agreement(predicted.X, **labels)["ari"].mean()
    possible = domain_agreement(predicted.layers["measured"], **labels)["ari"].mean()
    tables = [part.split("</table>")[0] for part in page.source.split("<table")]
    table = Page(next(part for part in tables if "Further measures, means" in part))
    cells = table.row("StInfer")
    assert cells[1] == f"{ari:.3f}".replace("-", "−")
    assert cells[-2] == f"{rmse['StInfer']:.3f}"
    assert table.row("Measured expression")[1] == f"{possible:.3f}".replace("-", "−")


def test_sets_of_genes_are_those_of_the_training_spots():
    """The genes with most counts differ between two sections: each fold has the other's."""
    genes = np.array([f"g{i}" for i in range(60)])
    counts = np.random.default_rng(0).poisson(2.0, (40, 60))
    counts[:20, :50] += 20
    counts[20:, 10:] += 20
    obs = pd.DataFrame({"section": ["A1"] * 20 + ["B1"] * 20}, index=np.arange(40).astype(str))
    adata = anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=genes))
    parts = [
        {"method": "M", "fold": name, "section": name, "gene": gene, "error": "", "pearson": i}
        for name in ("A1", "B1") for i, gene in enumerate(genes)
    ]  # fmt: skip
    results = pd.DataFrame(parts)
    folds = [("A1", "B1"), ("B1", "A1")]
    results.attrs["settings"] = {
        "folds": [{"name": name, "train": [other], "test": [name]} for name, other in folds]
    }
    means = _set_means(results, adata)
    # A1 is scored on the genes 10 to 59, B1 on 0 to 49
    assert means.loc["M", "top-50 expressed"] == np.mean([34.5, 24.5])


def test_patients_on_both_sides_are_named(run, data, tmp_path):
    results = run[0].copy()
    results["patient_in_training"] = (results["section"] == "B1").astype("boolean")
    page = Page(write_report(results, tmp_path / "r.html").read_text())
    (notice, _) = [e["text"] for e in page.elements if e.get("class") == "notice"]
    assert "Patients on both sides" in notice and "predicted B1" in notice
    headers = [" ".join(e["text"].split()) for e in page.all("th") if "patient" in e["text"]]
    assert headers[:3] == ["A1patient A", "B1patient Balso in training", "C1patient C"]
    results["patient_in_training"] = pd.Series(pd.NA, results.index, dtype="boolean")
    page = Page(write_report(results, tmp_path / "r.html").read_text())
    assert "Patients are not known" in page.all("main")[0]["text"]


def test_a_method_in_other_units(run, data, tmp_path):
    """It is named, has no share of a ceiling that is not its own, and is not tested."""
    results = run[0].copy()
    results.loc[results["method"] == "<b>ridge", "units"] = "kilograms"
    ceiling = noise_ceiling(data[1], random_state=0)
    page = Page(write_report(results, tmp_path / "r.html", ceiling=ceiling).read_text())
    assert page.row("<b>ridge")[-1] == "In kilograms" and page.row("<b>ridge")[5] == ""
    assert page.row("mean")[5] == "0 %"
    assert "not compared by tests" in page.all("main")[0]["text"]


def test_genes_are_chosen_on_training_spots(run, data, tmp_path):
    results, predictions = run
    adata = data[1]
    given = {"predictions": predictions, "section": "A1", "n_genes": 2}
    one = write_report(results, tmp_path / "one.html", adata=adata, **given).read_text()
    test = (adata.obs["section"] == "A1").to_numpy()
    captions = [e["text"] for e in Page(one).all("figcaption")]
    (caption,) = [text for text in captions if "on section A1: measured" in text]
    chosen = choose_genes(list(adata.var_names), adata[~test], 2)
    assert len(chosen) == 2 and all(gene in caption for gene in chosen)
    other = adata.copy()
    other.X[test] = np.random.default_rng(1).poisson(3.0, other.X[test].shape)
    assert one == write_report(results, tmp_path / "two.html", adata=other, **given).read_text()


def test_chosen_genes_differ(data):
    """A gene beside its own copy shows nothing new."""
    _, adata = data
    twin = adata.copy()
    best = choose_genes(list(adata.var_names), adata, 2)
    twin.X[:, 7] = twin[:, best[0]].X.ravel()
    genes = [g for g in twin.var_names if g != best[1]]
    assert len({best[0], twin.var_names[7]} & set(choose_genes(genes, twin, 3))) == 1


def test_spots_of_one_name(run, data, monkeypatch):
    """Barcodes repeat from section to section: neighbours are not looked up by them."""
    results, predictions = run
    renamed = {name: part.copy() for name, part in predictions.items()}
    for part in renamed.values():
        part.obs_names = ["AAAC-1"] * part.n_obs
    monkeypatch.setattr(_drawn, "map_figure", lambda *_: None)
    monkeypatch.setattr(_drawn, "neighbor_figure", lambda predicted, *_: predicted.obs["row"])
    settings = {"method": None, "section": "B1", "genes": ["a & b"], "n_genes": 1}
    _, neighbours = _drawn.drawn_sections(results, renamed, *data, **settings)
    rows = np.flatnonzero(data[1].obs["section"] == "B1")
    assert list(neighbours.blocks[0]) == list(rows)


def test_reads_the_file(run, tmp_path):
    results, _ = run
    results.to_parquet(tmp_path / "results.parquet")
    one = write_report(results, tmp_path / "one.html").read_text()
    assert one == write_report(tmp_path / "results.parquet", tmp_path / "two.html").read_text()
    assert "Gene maps" not in one


def test_all_fits_failed(run, tmp_path):
    results = run[0][run[0]["method"] == "broken"]
    page = Page(write_report(results, tmp_path / "r.html", predictions={}).read_text())
    assert page.row("broken")[1:4] == ["failed"] * 3
    assert not page.all("figure")


def test_refuses_and_loses_nothing(run, data, tmp_path):
    results, predictions = run
    path = tmp_path / "r.html"
    path.write_text("old")
    given = {"predictions": predictions, "images": data[0], "adata": data[1]}
    refusals = {
        "lack the columns 'pearson'": (results.drop(columns="pearson"), {}),
        "True or False in the column 'control'": (results.assign(control="x"), {}),
        "results hold 2: ": (pd.concat([results, results.assign(protocol="x")]), {}),
        "method='nope' has no predictions": (results, {**given, "method": "nope"}),
        "section='Z9' has no predictions of StInfer": (results, {**given, "section": "Z9"}),
        "'nope' are not": (results, {**given, "genes": ["nope"]}),
        "name the genes": (results, {"predictions": predictions}),
    }
    for message, (given_results, arguments) in refusals.items():
        with pytest.raises(ValueError, match=message):
            write_report(given_results, path, **arguments)
    with pytest.raises(FileNotFoundError):
        write_report(tmp_path / "none.parquet", path)
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"] and path.read_text() == "old"
