"""Clusters of predicted expression against labelled domains."""

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from histoexpr.metrics import domain_agreement


@pytest.fixture
def tissue():
    """Expression of two sections, three domains each, that lie well apart in one of ten genes."""
    rng = np.random.default_rng(0)
    domain = np.tile(np.repeat(["fat", "stroma", "tumour"], 20), 2).astype(object)
    section = np.repeat(["S2", "S1"], 60)
    expression = rng.normal(0, 0.1, (120, 10))
    expression[:, 3] += pd.factorize(domain)[0]
    return expression, domain, section


def test_perfect_and_useless_predictions(tissue):
    expression, domain, section = tissue
    table = domain_agreement(expression, domain, section=section, random_state=0)
    assert table.index.tolist() == ["S2", "S1"]
    np.testing.assert_allclose(table[["ari", "nmi"]], 1)
    assert (table["n_domains"] == 3).all() and (table["n_spots"] == 60).all()
    shuffled = np.random.default_rng(1).permutation(expression)
    noise = domain_agreement(shuffled, domain, section=section, random_state=0)
    assert noise["ari"].abs().max() < 0.1 and noise["nmi"].max() < 0.15
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        constant = domain_agreement(np.ones((120, 4)), domain, section=section)
    np.testing.assert_array_equal(constant[["ari", "nmi"]], 0)


def test_names_of_clusters_do_not_matter_and_sections_are_clustered_apart(tissue):
    """Labels are numbered within a patient, and a shift between sections tells nothing."""
    expression, domain, section = tissue
    other = np.where(section == "S1", np.char.add("other ", domain.astype(str)), domain)
    shifted = expression + 50.0 * (section == "S1")[:, None]
    table = domain_agreement(shifted, other, section=section, random_state=0)
    np.testing.assert_allclose(table["ari"], 1)
    together = domain_agreement(shifted, domain, random_state=0)
    assert together.index.tolist() == ["0"] and together["ari"].item() < 0.5


def test_spots_without_a_label_are_left_out_and_counted(tissue):
    expression, domain, section = tissue
    domain[:7] = [None, np.nan, pd.NA, None, None, np.nan, None]
    expression[:7] = 1e3  # would be a cluster of its own
    table = domain_agreement(expression, domain, section=section, random_state=0)
    assert table["n_unlabelled"].tolist() == [7, 0] and table["n_spots"].tolist() == [53, 60]
    assert table["ari"].tolist() == [1, 1]
    domain[:60] = "fat"
    one = domain_agreement(expression, domain, section=section)
    assert one.loc["S2", ["ari", "nmi"]].isna().all() and one.loc["S2", "n_domains"] == 1


def test_an_anndata_brings_its_labels_and_sections(tissue):
    expression, domain, section = tissue
    adata = anndata.AnnData(scipy.sparse.csr_matrix(expression.astype(np.float32)))
    adata.obs["domain"], adata.obs["section"] = pd.Categorical(domain), section
    table = domain_agreement(adata, random_state=0)
    assert table.index.tolist() == ["S2", "S1"] and table["ari"].tolist() == [1, 1]
    assert len(domain_agreement(adata, section=["S"] * 120)) == 1
    again = [domain_agreement(adata, random_state=5) for _ in range(2)]
    pd.testing.assert_frame_equal(*again)


def test_bad_input(tissue):
    expression, domain, _ = tissue
    with pytest.raises(ValueError, match="domain_agreement needs labels"):
        domain_agreement(expression)
    with pytest.raises(ValueError, match=r"each of the 120 spots; got shape \(3,\)"):
        domain_agreement(expression, domain[:3])
    with pytest.raises(ValueError, match="predicted contains NaN"):
        domain_agreement(np.full((120, 2), np.nan), domain)
