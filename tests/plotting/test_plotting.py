"""Pictures: what is drawn is what was given, and pyplot does not know of it."""

import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from sklearn.preprocessing import FunctionTransformer

from histoexpr import STco, Trainer
from histoexpr.plotting import (
    plot_genes,
    plot_neighbors,
    plot_ranks,
    plot_reliability,
    plot_scores,
    plot_training,
)

RNG = np.random.default_rng(0)


@pytest.fixture
def maps(cohort):
    """Measured and predicted expression of one section, a gene named like a formula."""
    _, adata = cohort
    section = adata[(adata.obs["section"] == "A1").to_numpy()].copy()
    section.var_names = ["$g_0$", *section.var_names[1:]]
    predicted = section.copy()
    predicted.X = section.X.toarray() + 2.0
    return {"measured": section, "predicted": predicted}


@pytest.fixture(scope="module")
def results():
    """Scores of three methods in two sections; one gene does not vary in one of them."""
    rows = [
        {"method": method, "section": section, "gene": f"g{i}", "pearson": mean + i / 100}
        for method, mean in (("STco", 0.2), ("ridge", 0.3), ("mean", 0.0))
        for section in ("A1", "B1")
        for i in range(10)
    ]
    table = pd.DataFrame(rows)
    table.loc[table["method"] == "mean", "pearson"] = 0.0
    table.loc[(table["section"] == "B1") & (table["gene"] == "g3"), "pearson"] = np.nan
    return table


def mean_colour(images):
    return np.asarray(images).mean(axis=(1, 2))


def rendered(axes):
    """Draws the figure, so that what only fails when drawn fails here."""
    figure = np.asarray(axes, dtype=object).flat[0].figure
    assert isinstance(figure, Figure) and figure.canvas.manager is None
    figure.draw_without_rendering()
    return axes


def test_pyplot_is_not_needed():
    loaded = "print(*('matplotlib' in sys.modules, 'torch' in sys.modules))"
    code = f"import sys, histoexpr.plotting; {loaded}"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


def test_genes_and_their_difference(maps):
    axes = rendered(plot_genes(maps, ["$g_0$", maps["measured"].var_names[1]], difference=True))
    assert axes.shape == (3, 2)
    assert axes[0, 0].get_title() == "$g_0$, measured"
    for ax in axes[2]:
        (dots,) = ax.collections
        assert np.allclose(dots.get_array(), 2.0)
        low, high = dots.get_clim()
        assert low == -high < 0
    measured = maps["measured"].to_df()["$g_0$"]
    assert np.allclose(axes[0, 0].collections[0].get_array(), measured)
    assert np.allclose(axes[0, 0].collections[0].get_offsets(), maps["measured"].obsm["spatial"])


def test_genes_lie_on_the_image(maps):
    image = np.zeros((50, 60, 3), np.uint8)
    axes = rendered(plot_genes(maps, maps["measured"].var_names[:1], image=image, scale=0.5))
    (drawn,) = axes[0, 0].get_images()
    assert drawn.get_array().shape == image.shape
    assert np.allclose(
        axes[0, 0].collections[0].get_offsets(), 0.5 * maps["measured"].obsm["spatial"]
    )


def test_genes_refuse(maps):
    genes = list(maps["measured"].var_names[:2])
    with pytest.raises(ValueError, match="lacks the genes 'NOPE'"):
        plot_genes(maps, ["NOPE"])
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        plot_genes(maps, genes, axes=Figure().subplots(1, 3))
    with pytest.raises(ValueError, match="compares two AnnData; got 1"):
        plot_genes({"measured": maps["measured"]}, genes, difference=True)
    maps["predicted"] = maps["predicted"][::-1]
    with pytest.raises(ValueError, match="different places"):
        plot_genes(maps, genes, difference=True)
    with pytest.raises(ValueError, match="no obsm"):
        plot_genes({"x": anndata.AnnData(np.ones((3, 1)), var=pd.DataFrame(index=["g"]))}, ["g"])


def test_scores_by_method(results):
    ax = rendered(plot_scores(results, methods=["ridge", "STco", "mean"], controls=["ridge"]))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["ridge", "STco", "mean"]
    means = results.groupby(["method", "section"])["pearson"].mean()
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    for name, line in zip(["ridge", "STco", "mean"], dots):
        assert np.allclose(sorted(line.get_xdata()), sorted(means[name]))
    assert [text.get_text() for text in ax.texts] == ["1 NaN"] * 3
    assert "Pearson" in ax.get_xlabel()


def test_scores_refuse(results):
    with pytest.raises(ValueError, match="lack the columns 'mae'"):
        plot_scores(results, "mae")
    with pytest.raises(ValueError, match="no finite 'pearson' to draw for 'gone'"):
        plot_scores(results, methods=["STco", "gone"])


def test_neighbors_of_a_model(cohort):
    images, adata = cohort
    model = STco(FunctionTransformer(mean_colour), trainer=Trainer(max_epochs=1), random_state=0)
    model.fit(images, adata)
    axes = rendered(plot_neighbors(images[[5, 9]], images, model, n_neighbors=3))
    assert axes.shape == (2, 4)
    distances, rows = model.kneighbors(images[[5, 9]], 3)
    for i, query in enumerate([5, 9]):
        assert np.array_equal(axes[i, 0].get_images()[0].get_array(), images[query])
        for j, ax in enumerate(axes[i, 1:]):
            assert np.array_equal(ax.get_images()[0].get_array(), images[int(rows[i, j])])
            assert ax.get_title() == f"{images.section[rows[i, j]]}, {distances[i, j]:.3f}"
    assert "µm wide" in axes[-1, 0].get_xlabel()


def test_neighbors_as_rows():
    patches = RNG.integers(0, 255, (6, 8, 8, 3), dtype=np.uint8)
    axes = plot_neighbors(patches[:2], patches, [[1, 2, 3], [4, 5, 0]], n_neighbors=2)
    drawn = [a.get_array() for ax in axes[1] for a in ax.findobj(AxesImage)]
    assert np.array_equal(drawn, patches[[1, 4, 5]])
    with pytest.raises(ValueError, match="at least 4 columns"):
        plot_neighbors(patches[:2], patches, [[1, 2, 3], [4, 5, 0]], n_neighbors=4)
    with pytest.raises(ValueError, match="rows '-1', but there are 6"):
        plot_neighbors(patches[:1], patches, [[-1, 2]], n_neighbors=2)


def test_training_of_terms():
    history = [
        {"epoch": i, "loss": 5.0 - i, "mse": 2.0, "zinb": 3.0 - i, "lr": 1e-3, "seconds": 1.0}
        for i in range(3)
    ]
    ax = rendered(plot_training(history))
    drawn = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
    assert drawn == {"training": [5, 4, 3], "mse": [2, 2, 2], "zinb": [3, 2, 1]}


def test_training_of_a_model(cohort):
    images, adata = cohort
    trainer = Trainer(max_epochs=3, early_stopping=True)
    model = STco(None, trainer=trainer, random_state=0).fit(mean_colour(images), adata)
    labels = [line.get_label() for line in rendered(plot_training(model)).lines]
    assert labels == ["training", "held-out groups", "kept"]
    with pytest.raises(TypeError, match="history_"):
        plot_training(trainer.get_params)
    with pytest.raises(ValueError, match="trains nothing"):
        plot_training([])


def test_reliability_of_a_calibrated_model():
    std = RNG.gamma(4.0, 0.2, (4000, 5))
    predicted = RNG.normal(size=std.shape)
    truth = predicted + std * RNG.normal(size=std.shape)
    coverage, errors = rendered(plot_reliability(truth, predicted, std, units="log1p"))
    nominal, observed = coverage.lines[1].get_data()
    assert np.allclose(nominal, observed, atol=0.02)
    error, expected = (line.get_ydata() for line in errors.lines)
    assert np.allclose(error, expected, rtol=0.1)
    assert np.all(np.diff(error) > 0)
    assert errors.get_ylabel() == "Error, log1p"


def test_reliability_of_given_intervals():
    truth = np.arange(10.0)
    intervals = {0.5: (truth - 1, np.where(truth < 3, truth - 0.5, truth + 1))}
    coverage, _ = plot_reliability(truth, truth, np.ones(10), intervals=intervals)
    assert list(coverage.lines[1].get_ydata()) == [0.7]
    with pytest.raises(ValueError, match=r"within \(0, 1\)"):
        plot_reliability(truth, truth, np.ones(10), intervals={90: intervals[0.5]})
    with pytest.raises(ValueError, match="y_std holds values"):
        plot_reliability(truth, truth, -np.ones(10))
    with pytest.raises(ValueError, match="one shape"):
        plot_reliability(truth, truth, np.ones(9))


def test_ranks():
    from histoexpr.model_selection import rank_methods

    scores = {"best": 0.9, "second": 0.88, "worst": 0.1}
    rows = [
        {"method": name, "section": "A1", "patient": "A", "gene": f"g{i}",
         "pearson": score + 0.05 * RNG.normal()}
        for name, score in scores.items() for i in range(40)
    ]  # fmt: skip
    ranked = rank_methods(pd.DataFrame(rows), unit="gene")
    ax = rendered(plot_ranks(ranked, controls=["worst"]))
    assert [label.get_text() for label in ax.get_yticklabels()] == list(ranked.index)
    assert "40 genes" in ax.get_xlabel()
    assert "critical difference" in ax.texts[0].get_text()
    with pytest.raises(ValueError, match="lack the columns .*'mean_rank'"):
        plot_ranks(pd.DataFrame({"n": [1]}))


def test_given_axes_are_used(results):
    figure = Figure()
    ax = figure.subplots()
    assert plot_scores(results, ax=ax) is ax
    pair = figure.subplots(1, 2)
    ones = np.ones((5, 2))
    assert list(plot_reliability(ones, ones, ones, axes=pair)) == list(pair)
