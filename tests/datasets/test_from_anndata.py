"""from_anndata: an AnnData of one's own and its image."""

import logging

import anndata
import numpy as np
import pytest
import scipy.sparse
from drawn import CROP_PX, MPP, shrink, write_image
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from histoexpr import ExpressionTargetRegressor
from histoexpr.datasets import from_anndata, join_sections

CUT = {"patch_size": "40um", "out_px": CROP_PX}


def load(adata, image, mpp=None, **kwargs):
    return from_anndata(adata, image, mpp, **{"patient": "P", **CUT, **kwargs})


def test_the_users_adata_is_read_and_left_alone(drawn, tmp_path):
    adata = drawn.adata()
    adata.obs["cell_type"] = "tumour"
    adata.layers["counts"] = 2 * adata.X
    before = adata.copy()
    images, found = load(adata, drawn.image, section="S1")
    np.testing.assert_array_equal(np.asarray(images), drawn.patches())
    np.testing.assert_array_equal(found.X.toarray(), drawn.counts)
    columns = ["section", "patient", "array_row", "array_col", "cell_type"]
    assert list(found.obs.columns) == columns and found.obs_names[0].startswith("S1_")
    np.testing.assert_allclose(images.mpp, MPP, rtol=2e-3)  # a Visium grid tells
    assert found.obs.index[0] not in before.obs.index and adata.obs.equals(before.obs)
    found.X[0, 0] += 1
    np.testing.assert_array_equal(adata.X, before.X)
    doubled = load(adata, drawn.image, layer="counts")[1]
    np.testing.assert_array_equal(doubled.X.toarray(), 2 * drawn.counts)
    with pytest.raises(ValueError, match="no layer 'raw'; there are 'counts'"):
        load(adata, drawn.image, layer="raw")

    adata.X = scipy.sparse.csr_matrix(adata.X)
    load(adata, drawn.image)[1].X.data[:] = 0
    np.testing.assert_array_equal(adata.X.toarray(), before.X)
    adata.write_h5ad(tmp_path / "mine.h5ad")
    backed = anndata.read_h5ad(tmp_path / "mine.h5ad", backed="r")
    np.testing.assert_array_equal(load(backed, drawn.image)[1].X.toarray(), drawn.counts)
    backed.file.close()
    images, found = load(tmp_path / "mine.h5ad", write_image(drawn, tmp_path))
    np.testing.assert_array_equal(np.asarray(images), drawn.patches())
    assert set(images.section) == {"mine"}


def test_names_come_from_obs(drawn):
    adata = drawn.adata()
    adata.obs["section"], adata.obs["patient"] = "S7", "Q"
    images, found = from_anndata(adata, drawn.image, **CUT)
    assert set(found.obs["section"]) == {"S7"} and set(images.patient) == {"Q"}
    adata.obs["section"] = ["S7", *["S8"] * (len(adata) - 1)]
    with pytest.raises(ValueError, match="names 2: 'S7', 'S8'.*join_sections"):
        from_anndata(adata, drawn.image)


def test_the_pixel_size_must_be_known(drawn):
    adata = drawn.adata()
    with pytest.raises(ValueError, match="100 um apart, mpp would be 2.5.*given as 0.5"):
        load(adata, drawn.image, 0.5)
    assert load(adata, drawn.image, 2.45)[0].mpp[0] == 2.45
    adata.obs["array_col"] *= 2  # no Visium grid any more
    with pytest.raises(ValueError, match="how many micrometres.*Pass mpp="):
        load(adata, drawn.image)
    assert load(adata, drawn.image, 0.5)[0].mpp[0] == 0.5
    for wrong in ("a", [0.5], np.nan, 0):
        with pytest.raises(ValueError, match="mpp must be above 0 and finite"):
            load(adata, drawn.image, wrong)


def test_without_a_grid_the_centres_are_rounded(drawn, caplog):
    adata = drawn.adata()
    del adata.obs["array_row"], adata.obs["array_col"]
    with caplog.at_level(logging.INFO, logger="histoexpr"):
        images, found = load(adata, drawn.image, MPP)
    assert "section 0 has no grid" in caplog.text
    assert len(np.unique(images.positions, axis=0)) == len(adata) and images.positions.min() == 0
    order = np.argsort(drawn.spatial[:, 0])
    assert (np.diff(images.positions[order, 0]) >= 0).all()
    np.testing.assert_array_equal(images.positions, found.obs[["array_col", "array_row"]])
    np.testing.assert_array_equal(np.asarray(images), drawn.patches())


def with_scale_factors(adata, factor):
    adata.uns["spatial"] = {"library": {"scalefactors": {"tissue_hires_scalef": factor}}}
    return adata


def test_centres_of_another_resolution(drawn):
    adata = with_scale_factors(drawn.adata(), 0.25)
    hires = shrink(drawn.image, 4)
    with pytest.raises(ValueError, match="outside the image.*multiply obsm by the hires scale"):
        load(adata, hires)
    with pytest.raises(ValueError, match="100 um apart.*factor 4"):
        adata.obsm["spatial"] /= 4
        load(adata, drawn.image, MPP)
    del adata.obs["array_row"]
    with pytest.raises(ValueError, match="on the tissue if you divide obsm by the hires scale"):
        load(adata, drawn.image, MPP)


def test_exchanged_x_and_y(drawn):
    adata = drawn.adata()
    adata.obsm["spatial"] = adata.obsm["spatial"][:, ::-1]
    with pytest.raises(ValueError, match="if you exchange x and y.*grid is mirrored"):
        load(adata, drawn.image)
    del adata.obs["array_row"]
    with pytest.warns(UserWarning, match="fit the tissue better if you exchange x and y"):
        load(adata, drawn.image, MPP)
    with pytest.raises(ValueError, match="outside the image.*inside if you exchange x and y"):
        load(adata, drawn.image[:350], MPP)


def test_inputs_refused(drawn, tmp_path):
    adata = drawn.adata()
    with pytest.raises(TypeError, match="adata must be an AnnData or a path; got int"):
        load(3, drawn.image)
    with pytest.raises(FileNotFoundError, match="no h5ad file"):
        load(tmp_path / "none.h5ad", drawn.image)
    (tmp_path / "bad.h5ad").write_bytes(b"x")
    with pytest.raises(ValueError, match="bad.h5ad' cannot be read as AnnData"):
        load(tmp_path / "bad.h5ad", drawn.image)
    with pytest.raises(ValueError, match="adata.X is empty; name the layer= of counts"):
        load(anndata.AnnData(obs=adata.obs, var=adata.var, obsm=adata.obsm), drawn.image)
    adata.obsm["X_spatial"] = adata.obsm.pop("spatial")
    with pytest.raises(ValueError, match="has no obsm\\['spatial'\\].*it has 'X_spatial'"):
        load(adata, drawn.image)


def test_genes_of_one_name(drawn, recwarn):
    adata = drawn.adata()
    adata.var_names = ["A", "B", "A", "C", "D", "E"]
    assert list(load(adata, drawn.image)[1].var_names) == ["A", "B", "A-1", "C", "D", "E"]
    assert list(adata.var_names)[2] == "A"


def test_real_sections_from_reading_to_a_score(shared):
    folder = shared / "data/mob"
    pairs = [
        from_anndata(folder / f"{rep}.h5ad", folder / f"{rep}.jpg", mpp=2.75, out_px=41)
        for rep in ("rep11", "rep12")
    ]
    images, adata = join_sections(pairs)
    assert len(images) == 262 + 282 and "layer" in adata.obs
    np.testing.assert_array_equal(images.patch_mpp, 2.75)
    assert adata.n_vars == len(set(pairs[0][1].var_names) & set(pairs[1][1].var_names))
    # Granule cells are many and dark: the layer that the annotation names is the darkest.
    dark = -np.asarray(images).mean(axis=(1, 2, 3))
    by_layer = adata.obs.assign(dark=dark).groupby("layer", observed=True)["dark"].mean()
    assert "granular" in by_layer.idxmax().lower()
    genes = ["Penk", "Doc2g", "Meis2", "Pcp4"]
    colours = FunctionTransformer(lambda patches: np.asarray(patches).mean(axis=(1, 2)))
    model = make_pipeline(colours, ExpressionTargetRegressor(Ridge()))
    kept = adata[:, genes].copy()
    groups = kept.obs["patient"]
    assert len(cross_val_score(model, images, kept, groups=groups, cv=GroupKFold(2))) == 2
