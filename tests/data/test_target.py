"""unpack_target: the one door of an AnnData, and everything it turns away."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from histoexpr.data import check_positions, unpack_target


def make_adata(**obs):
    counts = scipy.sparse.csr_matrix(np.arange(12).reshape(4, 3))
    table = pd.DataFrame(obs, index=[f"s{i}" for i in range(4)])
    return anndata.AnnData(
        counts.astype(np.float32), obs=table, var=pd.DataFrame(index=list("abc"))
    )


def test_an_adata_is_taken_apart():
    adata = make_adata(
        section=["A1", "A1", "B1", "B1"],
        patient=pd.Categorical(["A", "A", "B", "B"]),
        cell_type=["x", "y", "x", "y"],
        array_row=[1, 2, 3, 4],
        array_col=[5.0, 6.0, 7.0, 8.0],
    )
    target = unpack_target(adata)
    assert len(target) == 4 and target.from_adata and not target.one_dimensional
    np.testing.assert_array_equal(target.matrix.toarray(), adata.X.toarray())
    assert target.genes.tolist() == ["a", "b", "c"]
    assert target.positions.dtype == np.int64
    assert target.positions.tolist() == [[5, 1], [6, 2], [7, 3], [8, 4]]  # (col, row)
    assert target.section.tolist() == ["A1", "A1", "B1", "B1"]
    assert target.patient.tolist() == ["A", "A", "B", "B"]
    assert target.cell_type.tolist() == ["x", "y", "x", "y"]
    assert unpack_target(target) is target


def test_a_bare_adata_a_view_and_dense_counts():
    adata = make_adata()
    target = unpack_target(adata)
    assert target.positions is target.section is target.patient is target.cell_type is None
    assert len(unpack_target(adata[[2, 0], ["a", "c"]])) == 2
    dense = anndata.AnnData(np.ones((2, 2)))
    assert type(unpack_target(dense[[0]]).matrix) is np.ndarray


def test_a_backed_adata_is_read(tmp_path):
    adata = make_adata()
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    np.testing.assert_array_equal(unpack_target(backed).matrix.toarray(), adata.X.toarray())
    backed.file.close()


@pytest.mark.parametrize(
    "values",
    [
        ["x", None, "x", np.nan],
        pd.Categorical(["x", None, "x", None]),
        pd.array(["x", None, "x", pd.NA], dtype="string"),
    ],
    ids=["object", "category", "string"],
)
def test_a_missing_name_is_nan_whatever_the_column_is(values):
    assert unpack_target(make_adata(cell_type=values)).cell_type.tolist() == ["x", "nan"] * 2


def test_arrays_keep_their_numbers():
    target = unpack_target([[1, 2], [3, 4], [5, 6]])
    assert target.matrix.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert target.genes.tolist() == ["x0", "x1"]
    assert not target.from_adata and not target.one_dimensional
    column = unpack_target(np.array([1.5, 2.5]))
    assert column.matrix.shape == (2, 1) and column.one_dimensional
    assert unpack_target(np.array([[1], [2]], dtype=object)).matrix.dtype == np.float64
    frame = pd.DataFrame({"g": [1.0, 2.0], "h": [3.0, 4.0]})
    assert unpack_target(frame).genes.tolist() == ["g", "h"]
    with pytest.raises(ValueError, match="columns of y name 'g' more than once"):
        unpack_target(frame.set_axis(["g", "g"], axis=1))


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (None, ValueError, "target y is None"),
        (scipy.sparse.csr_matrix(np.ones((2, 2))), TypeError, "wrap counts in an AnnData"),
        (np.array([["a"], [{}]], dtype=object), TypeError, "AnnData or an array of numbers"),
        (np.array(["a", "b"]), ValueError, "array of real numbers"),
        (np.array([1 + 1j]), ValueError, "Complex data not supported"),
        (np.zeros((2, 2, 2)), ValueError, r"\(n_spots, n_genes\).*got \(2, 2, 2\)"),
        (np.float64(3), ValueError, r"got \(\)"),
        (np.zeros((0, 3)), ValueError, "at least one of each"),
        (np.zeros((3, 0)), ValueError, "at least one of each"),
        ([[1.0], [np.nan]], ValueError, "NaN or infinity"),
        ([[1.0], [np.inf]], ValueError, "NaN or infinity"),
    ],
)
def test_arrays_refused(y, error, message):
    with pytest.raises(error, match=message):
        unpack_target(y)


def test_adata_refused():
    adata = make_adata()
    with pytest.raises(ValueError, match="0 spots and 3 genes"):
        unpack_target(adata[[]])
    with pytest.raises(ValueError, match="4 spots and 0 genes"):
        unpack_target(adata[:, []])
    twice = make_adata()
    twice.var_names = ["a", "a", "b"]
    with pytest.raises(ValueError, match="var_names name 'a' more than once.*var_names_make"):
        unpack_target(twice)
    with pytest.raises(ValueError, match="adata.X is empty"):
        unpack_target(anndata.AnnData(obs=adata.obs, var=adata.var))


@pytest.mark.parametrize(
    ("obs", "message"),
    [
        ({"array_row": [1, 2, 3, 4]}, "'array_row' alone"),
        ({"array_col": [1, 2, 3, 4]}, "'array_col' alone"),
        ({"array_row": [1, 2, 3, 4], "array_col": [1, 2, 3, np.nan]}, "1 spots are not.*row 3"),
        ({"array_row": [1, -2, 3, 4], "array_col": [1, 2, 3, 4]}, r"row 1: \[2.0, -2.0\]"),
        ({"array_row": [1, 2, 3.5, 4], "array_col": [1, 2, 3, 4]}, "whole numbers"),
        ({"array_row": [1, 2, 3, 4], "array_col": list("abcd")}, "whole numbers; got others"),
        (
            {"array_row": [1, 2, 3, 4], "array_col": pd.array([1, 2, None, 4], dtype="Int64")},
            "1 spots are not.*row 2",
        ),
    ],
    ids=["row", "col", "nan", "negative", "fraction", "text", "Int64"],
)
def test_positions_refused(obs, message):
    with pytest.raises(ValueError, match=message):
        unpack_target(make_adata(**obs))


def test_check_positions():
    positions = check_positions([[0, 1], [2.0, 3.0]], 2)
    assert positions.dtype == np.int64 and positions.tolist() == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match=r"shape \(3, 2\).*got \(2, 2\)"):
        check_positions([[0, 1], [2, 3]], 3)
    with pytest.raises(ValueError, match="whole numbers of at least 0"):
        check_positions([[0, 1], [2, np.inf]], 2)


def test_sections_missing_for_some_spots_are_refused():
    adata = anndata.AnnData(np.ones((4, 2)))
    adata.obs["section"] = ["A", None, "B", None]
    with pytest.raises(ValueError, match="missing for 2 of 4 spots"):
        unpack_target(adata)
    adata.obs["section"] = None
    assert unpack_target(adata).section is None


def test_sparse_arrays_become_the_matrix_that_is_promised():
    adata = anndata.AnnData(scipy.sparse.csr_array(np.eye(3)))
    assert isinstance(unpack_target(adata).matrix, scipy.sparse.csr_matrix)


def test_the_columns_of_a_data_frame_are_its_genes():
    frame = pd.DataFrame(np.ones((3, 2)), columns=["G1", "G2"])
    assert list(unpack_target(frame).genes) == ["G1", "G2"]
    with pytest.raises(ValueError, match="the columns of y name 'G1' more than once"):
        unpack_target(frame.set_axis(["G1", "G1"], axis=1))
