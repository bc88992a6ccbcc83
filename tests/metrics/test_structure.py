"""Structural similarity: scikit-image's where that is defined, and no need of a full grid."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from histoexpr.metrics import mean_pearson, ssim_per_gene, ssim_per_section
from histoexpr.metrics._structure import _local_similarity


def square(n):
    return np.stack(np.meshgrid(np.arange(n), np.arange(n)), axis=-1).reshape(-1, 2)


def hexagonal(n):
    col, row = square(n).T
    return np.column_stack([100.0 * (col + 0.5 * (row % 2)), 100.0 * np.sqrt(0.75) * row])


def maps(n, seed=0):
    """A smooth map and a noisy copy."""
    rng = np.random.default_rng(seed)
    truth = 3 + 10 * gaussian_filter(rng.normal(size=(n, n)), 2)
    return truth, 0.5 * truth + 1 + rng.normal(0, 0.2, (n, n))


def test_is_that_of_scikit_image_inside_a_full_square_grid():
    truth, predicted = maps(32)
    _, expected = structural_similarity(
        truth, predicted, data_range=np.ptp(truth), full=True,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    columns = truth.reshape(-1, 1), predicted.reshape(-1, 1)
    ours = _local_similarity(*columns, 7.0 * square(32)).reshape(32, 32)
    inside = slice(5, -5)  # beyond, scikit-image mirrors the image
    np.testing.assert_allclose(ours[inside, inside], expected[inside, inside], atol=5e-3)
    assert ssim_per_gene(*columns, square(32)) == pytest.approx(ours.mean())


@pytest.mark.parametrize("grid", [square, hexagonal])
def test_from_perfect_to_opposite_on_any_grid_with_holes(grid):
    rng = np.random.default_rng(0)
    there = rng.random(400) > 0.2
    truth = maps(20)[0].reshape(-1, 1)[there]
    spatial = grid(20)[there].astype(float)
    noisy, mean = truth + rng.normal(0, 0.3, truth.shape), np.full_like(truth, truth.mean())
    predicted = np.hstack([truth, noisy, mean, 2 * mean - truth])
    scores = ssim_per_gene(np.repeat(truth, 4, axis=1), predicted, spatial)
    assert scores[0] == pytest.approx(1)
    assert 1 > scores[1] > scores[2] > 0 > scores[3]
    moved = spatial @ [[0, 2], [-2, 0]] + 30  # turned, scaled and shifted
    np.testing.assert_allclose(ssim_per_gene(truth, noisy, moved), scores[1])


def test_what_is_constant_is_undefined():
    truth = np.column_stack([np.zeros(16), np.full(16, 3.0), np.arange(16.0)])
    scores = ssim_per_gene(truth, truth + 1, square(4))
    assert np.isnan(scores[:2]).all() and np.isfinite(scores[2])


def test_survives_shuffled_spots_on_sparse_genes_which_pearson_does_not():
    rng = np.random.default_rng(0)
    truth = np.zeros((900, 20))
    truth[:3] = 1
    truth = rng.permuted(truth, axis=0)
    shuffled = truth[rng.permutation(900)]
    assert ssim_per_gene(truth, shuffled, square(30)).mean() > 0.5
    assert abs(mean_pearson(truth, shuffled)) < 0.05


def test_sections_lie_in_their_own_coordinates():
    (first, guess), (second, other) = (
        [m.reshape(-1, 1) for m in maps(10, seed)] for seed in (1, 2)
    )
    both = np.vstack([first, second]), np.vstack([guess, other])
    spatial = np.vstack([square(10), hexagonal(10)])
    section = np.repeat(["B", "A"], 100)
    table = ssim_per_section(*both, spatial, section, genes=["g"])
    assert table.index.tolist() == ["B", "A"] and table.columns.tolist() == ["g"]
    assert table.loc["A", "g"] == pytest.approx(ssim_per_gene(second, other, hexagonal(10)).item())
    alone = ssim_per_section(first[:3], guess[:3], square(10)[:3], ["A", "B", "B"])
    assert alone.loc["A"].isna().all() and alone.loc["B"].notna().all()


def test_bad_input():
    truth, predicted = np.random.default_rng(0).normal(size=(2, 100, 2))
    with pytest.raises(ValueError, match=r"shape \(100, 2\).*got \(99, 2\)"):
        ssim_per_gene(truth, predicted, square(10)[1:])
    with pytest.raises(ValueError, match="100 spots lie where another one does"):
        ssim_per_gene(truth, predicted, np.vstack([square(10)[:50]] * 2))
