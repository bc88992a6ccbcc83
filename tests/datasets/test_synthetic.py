import anndata
import numpy as np
import pytest
import scipy.sparse
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from histoexpr.data import SpotPatches
from histoexpr.datasets import make_spatial_expression
from histoexpr.datasets._synthetic_nuclei import _without_overlap
from histoexpr.datasets._synthetic_tissue import draw_look, draw_tissue

SMALL = {"grid": (6, 7), "n_genes": 60, "mpp": 2.0, "out_px": 32}


@pytest.fixture(scope="module")
def small():
    return make_spatial_expression(2, 2, random_state=0, **SMALL)


@pytest.fixture(scope="module")
def coarse():
    """The default cohort at half its resolution, its texture features, mean colours and truth."""
    pytest.importorskip("skimage")
    from histoexpr.featurizers import TextureFeaturizer

    images, adata = make_spatial_expression(mpp=2.0, out_px=32, random_state=0)
    counts = adata.X.toarray()
    truth = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    colour = np.asarray(images).mean(axis=(1, 2))
    features = TextureFeaturizer().fit_transform(images)
    return features, colour, truth, adata.obs["patient"].to_numpy()


def median_pcc(features, truth, patient, shuffle=None):
    """Median over genes of the mean over left-out patients of the correlation of ridge."""
    scores = []
    for train, test in LeaveOneGroupOut().split(features, truth, patient):
        target = truth[train]
        if shuffle is not None:
            target = target[np.random.default_rng(shuffle).permutation(len(train))]
        model = make_pipeline(StandardScaler(), Ridge(100.0)).fit(features[train], target)
        a, b = (m - m.mean(axis=0) for m in (model.predict(features[test]), truth[test]))
        scores.append((a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0)))
    return np.nanmedian(np.nanmean(scores, axis=0))


def test_what_is_returned(small):
    images, adata = small
    assert isinstance(images, SpotPatches) and isinstance(adata, anndata.AnnData)
    assert images.shape == (adata.n_obs, 32, 32, 3)
    assert scipy.sparse.issparse(adata.X) and adata.X.format == "csr"
    assert adata.X.dtype == np.float32
    np.testing.assert_array_equal(adata.X.data, np.round(adata.X.data))
    assert adata.X.data.min() >= 0
    assert list(adata.var_names[:2]) == ["gene_000", "gene_001"] and adata.n_vars == 60
    assert adata.obs_names.is_unique
    assert adata.obs.groupby("patient", observed=True)["section"].unique().map(list).to_dict() == {
        "A": ["A1", "A2"],
        "B": ["B1", "B2"],
    }
    assert set(adata.obs["domain"]) <= {"tumour", "stroma", "immune", "adipose"}
    assert set(adata.obs["cell_type"]) <= {"epithelial", "fibroblast", "lymphocyte", "adipocyte"}
    assert not adata.obs.isna().any(axis=None)


def test_images_and_adata_tell_of_the_same_spots(small):
    images, adata = small
    np.testing.assert_array_equal(images.spatial, adata.obsm["spatial"])
    np.testing.assert_array_equal(
        images.positions, adata.obs[["array_col", "array_row"]].to_numpy()
    )
    np.testing.assert_array_equal(images.section, adata.obs["section"].astype(str))
    np.testing.assert_array_equal(images.patient, adata.obs["patient"].astype(str))
    np.testing.assert_array_equal(images.mpp, 2.0)
    # the grid: 65 µm apart, the first spot one step from the corner
    np.testing.assert_allclose(images.spatial, (images.positions + 1) * 65 / 2)
    for section, image in images.section_images.items():
        row, col = np.array(image.pixels().shape[:2]), images.spatial[images.section == section]
        assert (col.max(axis=0) < row[::-1]).all()


def test_a_patch_is_cut_around_its_spot(small):
    images, _ = small
    x, y = images.spatial[3]
    image = images.section_images[images.section[3]].pixels()
    left, top = int(np.floor(x - 16 + 0.5)), int(np.floor(y - 16 + 0.5))
    np.testing.assert_array_equal(images[3], image[top : top + 32, left : left + 32])


def test_the_same_seed_draws_the_same_cohort():
    first, again, other = (make_spatial_expression(1, random_state=s, **SMALL) for s in (3, 3, 4))
    np.testing.assert_array_equal(np.asarray(first[0]), np.asarray(again[0]))
    np.testing.assert_array_equal(first[1].X.toarray(), again[1].X.toarray())
    assert first[1].shape != other[1].shape or (first[1].X != other[1].X).nnz > 0


def test_a_patient_stays_the_same_in_a_larger_cohort(small):
    images, adata = small
    alone, alone_adata = make_spatial_expression(1, 2, random_state=0, **SMALL)
    first = adata.obs["patient"].to_numpy() == "A"
    np.testing.assert_array_equal(np.asarray(alone), np.asarray(images[first]))
    np.testing.assert_array_equal(alone_adata.X.toarray(), adata[first].X.toarray())


@pytest.mark.parametrize("random_state", [None, 0])
def test_the_global_generator_is_left_alone(random_state):
    state = np.random.get_state()[1].copy()
    make_spatial_expression(1, random_state=random_state, **SMALL)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_a_random_state_instance_gives_a_new_cohort_at_each_call():
    rng = np.random.RandomState(0)
    first, second = (make_spatial_expression(1, random_state=rng, **SMALL)[1] for _ in range(2))
    assert first.shape != second.shape or (first.X != second.X).nnz > 0


def test_adata_can_be_written_and_read(small, tmp_path):
    small[1].write_h5ad(tmp_path / "cohort.h5ad")
    read = anndata.read_h5ad(tmp_path / "cohort.h5ad")
    np.testing.assert_array_equal(read.X.toarray(), small[1].X.toarray())
    assert read.uns["histoexpr"]["spot_distance"] == 65.0


def test_texture_predicts_an_unseen_patient_and_colour_does_not(coarse):
    features, colour, truth, patient = coarse
    trained = median_pcc(features, truth, patient)
    assert trained >= 0.4  # 0.3 is promised
    assert median_pcc(colour, truth, patient) < 0.4 * trained  # under half is promised


def test_shuffled_targets_predict_nothing(coarse):
    features, _, truth, patient = coarse
    shuffled = [median_pcc(features, truth, patient, shuffle=s) for s in range(4)]
    assert abs(np.mean(shuffled)) < 0.05 and max(shuffled) < 0.1


def test_depth_varies_and_genes_are_sparse_to_different_degrees(small):
    counts = small[1].X.toarray()
    assert 0.2 < np.std(np.log(counts.sum(axis=1))) < 1.0
    zeros = (counts == 0).mean(axis=0)
    assert zeros.max() - zeros.min() > 0.2
    assert (counts.var(axis=0) > counts.mean(axis=0)).mean() > 0.8  # more than Poisson


def test_depth_is_the_counts_of_a_typical_spot():
    _, adata = make_spatial_expression(1, depth=3000, random_state=0, **SMALL)
    assert 2000 < np.median(adata.X.toarray().sum(axis=1)) < 4500


def test_tissue_is_darker_than_glass_and_nuclei_darker_than_the_rest():
    rng = np.random.default_rng(0)
    look = draw_look(rng, stain_shift=1.0, tint=1)
    tissue = draw_tissue(rng, (300, 340), 1.0, look)
    grey = tissue.image.mean(axis=2)
    glass = tissue.layout.tissue < 0.01
    assert tissue.image.shape == (300, 340, 3) and tissue.image.dtype == np.uint8
    np.testing.assert_allclose(tissue.image[glass].mean(axis=0), look.light, atol=3)
    solid = (tissue.layout.tissue > 0.5) & (tissue.layout.fat == 0)
    cols, rows = np.rint(tissue.nuclei).astype(int).T
    assert grey[rows, cols].mean() < grey[solid].mean() - 20 < grey[glass].mean() - 40
    assert solid[rows, cols].mean() > 0.9
    assert tissue.image[rows, cols].argmax(axis=1).mean() > 1.8  # nuclei are blue


def test_domains_are_smooth_in_space(small):
    images, adata = small
    domain = adata.obs["domain"].to_numpy().astype(str)
    of = {(s, *p): d for s, p, d in zip(images.section, images.positions.tolist(), domain)}
    same = [of[s, c, r] == of[s, c + 1, r] for s, c, r in of if (s, c + 1, r) in of]
    chance = sum((domain == d).mean() ** 2 for d in set(domain))
    assert np.mean(same) > chance + 0.1


def test_stain_differs_between_patients_unless_told_not_to():
    def glass(stain_shift):
        images, _ = make_spatial_expression(
            2, stain_shift=stain_shift, random_state=0, **SMALL
        )
        return [image.pixels()[0, 0].astype(int) for image in images.section_images.values()]

    shifted, equal = glass(1.0), glass(0.0)
    assert np.abs(shifted[0] - shifted[1]).max() >= 3
    np.testing.assert_array_equal(equal[0], equal[1])


def test_nuclei_keep_their_distance():
    rng = np.random.default_rng(0)
    points, radius = rng.uniform(0, 50, (400, 2)), rng.uniform(1, 3, 400)
    kept = _without_overlap(points, radius)
    gap = np.linalg.norm(points[:, None] - points, axis=2)
    close = gap < radius[:, None] + radius
    assert (close[np.ix_(kept, kept)].sum(axis=1) == 1).all()  # each is close to itself alone
    assert (close[~kept][:, kept]).any(axis=1).all()  # and no place is left


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_patients": 0}, "'n_patients' parameter"),
        ({"n_sections": 1.5}, "'n_sections' parameter"),
        ({"n_genes": 0}, "'n_genes' parameter"),
        ({"grid": (1, 8)}, "grid must be"),
        ({"grid": (8.5, 8)}, "grid must be"),
        ({"grid": 8}, "'grid' parameter"),
        ({"mpp": 0}, "'mpp' parameter"),
        ({"spot_distance": 20}, "'spot_distance' parameter"),
        ({"depth": 0}, "'depth' parameter"),
        ({"stain_shift": -1}, "'stain_shift' parameter"),
        ({"random_state": "today"}, "'random_state' parameter"),
        ({"patch_size": "64"}, "unit|um"),
        ({"out_px": 0}, "out_px"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_spatial_expression(**{"n_patients": 1, **SMALL, **arguments})
