"""join_sections: genes by name, and what becomes of those that a section lacks."""

import numpy as np
import pandas as pd
import pytest
from drawn import CROP_PX, MPP, draw

from histoexpr.data import unpack_target
from histoexpr.datasets import from_anndata, join_sections


def section(name, genes, **obs):
    drawn = draw()
    adata = drawn.adata()[:20, : len(genes)].copy()
    adata.var_names = list(genes)
    adata.obs = adata.obs.assign(**obs)
    cut = {"patch_size": "40um", "out_px": CROP_PX}
    return from_anndata(adata, drawn.image, MPP, section=name, patient=f"P{name}", **cut)


@pytest.fixture(scope="module")
def pairs():
    return [section("S1", "ABCD", layer="deep"), section("S2", "DXBA")]


def counts(adata, name, genes):
    return adata[adata.obs["section"] == name, list(genes)].X.toarray()


def test_genes_that_all_have(pairs):
    images, adata = join_sections(pairs)
    assert list(adata.var_names) == ["A", "B", "D"] and len(images) == len(adata) == 40
    for images_of, part in pairs:
        name = part.obs["section"].iloc[0]
        np.testing.assert_array_equal(counts(adata, name, "ABD"), part[:, list("ABD")].X.toarray())
    np.testing.assert_array_equal(images.section, adata.obs["section"])
    assert adata.obs["section"].cat.categories.tolist() == ["S1", "S2"]
    assert adata.obs["layer"].isna().sum() == 20  # a column that one section has is kept
    unpack_target(adata)


def test_genes_that_any_has_and_where_they_were_measured(pairs):
    with pytest.warns(UserWarning, match="2 of 5 genes are not measured in all.*'not expressed'"):
        _, adata = join_sections(pairs, genes="union")
    assert list(adata.var_names) == list("ABCDX")
    measured = adata.varm["measured"]
    assert measured.loc["C"].to_dict() == {"S1": True, "S2": False}
    assert measured.loc["X"].to_dict() == {"S1": False, "S2": True}
    assert measured.loc[list("ABD")].all(axis=None)
    assert not counts(adata, "S2", "C").any() and not counts(adata, "S1", "X").any()
    np.testing.assert_array_equal(counts(adata, "S2", "DXBA"), pairs[1][1].X.toarray())
    kept = adata[:, ~measured.all(axis=1).to_numpy()]
    assert list(kept.varm["measured"].index) == ["C", "X"]  # it goes with the genes


def test_unions_can_be_joined_again(pairs):
    with pytest.warns(UserWarning, match="not measured in all"):
        two = join_sections(pairs, genes="union")
        _, adata = join_sections([two, section("S3", "CZ")], genes="union")
    assert adata.varm["measured"].loc["C"].to_dict() == {"S1": True, "S2": False, "S3": True}
    assert adata.varm["measured"].loc["A"].to_dict() == {"S1": True, "S2": True, "S3": False}


@pytest.mark.filterwarnings("ignore:.*not measured in all")
def test_a_union_knows_what_it_lacks_when_it_is_joined(pairs):
    two = join_sections(pairs, genes="union")
    _, adata = join_sections([two, section("S3", "ACX")])
    assert list(adata.var_names) == ["A"] and "measured" not in adata.varm
    with pytest.raises(ValueError, match="section 'S1', 'S2' lacks 1 of the 2 genes.*'C'"):
        join_sections([two, section("S3", "ACX")], genes=["A", "C"])


def test_a_panel_keeps_its_order(pairs):
    _, adata = join_sections(pairs, genes=["D", "A"])
    assert list(adata.var_names) == ["D", "A"]
    np.testing.assert_array_equal(counts(adata, "S2", "DA"), pairs[1][1][:, ["D", "A"]].X.toarray())
    with pytest.raises(ValueError, match="section 'S2' lacks 1 of the 2 genes of the panel: 'C'"):
        join_sections(pairs, genes=pd.Index(["A", "C"]))


def test_refused(pairs):
    for wrong in ("inner", None, 3, [], ["A", "A"], [["A"]], np.array("A")):
        with pytest.raises(ValueError, match="genes must"):
            join_sections(pairs, genes=wrong)
    with pytest.raises(ValueError, match="no sections to join"):
        join_sections([])
    with pytest.raises(ValueError, match="Section 'S1' is named more than once"):
        join_sections([pairs[0], pairs[0]])
    with pytest.raises(ValueError, match="no gene in common, e.g. 'A', 'B'.*Ensembl"):
        join_sections([pairs[0], section("S3", "QR")])
