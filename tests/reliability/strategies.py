"""Inputs of every kind, right and wrong: small, so that many are tried."""

import anndata
import numpy as np
import pandas as pd
import scipy.sparse
from hypothesis import strategies as st

ODD = [0.0, -0.0, 1.0, -1.0, 0.5, np.nan, np.inf, -np.inf, 1e-310, 1e30, 1e300, 2.0**53, 255.0]
DTYPES = ["f8", "f4", "f2", "i8", "i4", "u1", "u2", "bool", "c8", "O", "U3", ">f8", "M8[s]"]
SPARSE = ["csr_matrix", "csc_matrix", "coo_matrix", "csr_array", "csc_array", "coo_array",
          "lil_matrix"]  # fmt: skip


@st.composite
def layouts(draw, array):
    """The same values lying otherwise in memory, or read-only."""
    how = draw(st.sampled_from(["as it is", "fortran", "strided", "reversed", "read-only"]))
    if how == "fortran":
        return np.asfortranarray(array)
    if how == "strided" and array.ndim:
        wide = np.repeat(array, 2, axis=0)
        return wide[::2]
    if how == "reversed" and array.ndim:
        return np.ascontiguousarray(array[::-1])[::-1]
    if how == "read-only":
        array = np.array(array)
        array.flags.writeable = False
    return array


@st.composite
def arrays(draw, shape=None, kind=None, dtype=None):
    """An array of some dtype: "counts", "numbers", "odd" ones or "constant"."""
    if shape is None:
        shape = tuple(draw(st.lists(st.integers(0, 5), min_size=0, max_size=4)))
    kind = kind or draw(st.sampled_from(["counts", "numbers", "odd", "constant", "zero"]))
    dtype = dtype or draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    values = {
        "counts": rng.poisson(2.0, shape).astype(float),
        "numbers": rng.normal(size=shape) * 3,
        "odd": rng.choice(ODD, size=shape),
        "constant": np.full(shape, draw(st.sampled_from([1.0, 3.0, -2.5]))),
        "zero": np.zeros(shape),
    }[kind]
    with np.errstate(all="ignore"):
        if np.dtype(dtype).kind in "iuM":
            values = np.nan_to_num(values).astype("i8")
        values = np.asarray(values).astype(dtype)
    return draw(layouts(np.asarray(values)))


@st.composite
def matrices(draw, n_rows=None, n_columns=None, mostly_right=True):
    """Something that stands for (n_spots, n_columns): array, list, frame, sparse, or nonsense."""
    rows = draw(st.integers(0, 6)) if n_rows is None else n_rows
    columns = draw(st.integers(0, 5)) if n_columns is None else n_columns
    shape = (rows, columns)
    if draw(st.integers(0, 9)) == 0:
        shape = draw(st.sampled_from([(rows,), (rows, columns, 1), (), (columns, rows), (0, 3)]))
    right = mostly_right and draw(st.booleans())
    array = draw(arrays(shape, *(("numbers", "f8") if right else ())))
    how = draw(st.sampled_from(["array", "array", "list", "frame", "sparse", "masked"]))
    if how == "list":
        return array.tolist()
    if how == "frame" and array.ndim == 2:
        return draw(frames(array))
    if how == "sparse" and array.ndim == 2 and array.dtype.kind in "fiub" and array.dtype != "f2":
        native = array.astype(array.dtype.newbyteorder("="))
        return getattr(scipy.sparse, draw(st.sampled_from(SPARSE)))(native)
    if how == "masked" and array.ndim == 2:
        return np.ma.masked_array(array, array == array[:1])
    return array


@st.composite
def frames(draw, array):
    """The same values with names, of which some are odd, or stand for several rows or columns."""
    frame = pd.DataFrame(array)
    rows, columns = frame.shape
    index = {
        "usual": frame.index,
        "reversed": frame.index[::-1],
        "one": pd.Index(["a"] * rows),
        "times": pd.date_range("2020", periods=rows),
        "missing": pd.Index([np.nan] * rows),
        "pairs": pd.MultiIndex.from_arrays([range(rows), ["b"] * rows]),
    }
    frame.index = index[draw(st.sampled_from(sorted(index)))]
    how = draw(st.sampled_from(["usual", "usual", "names", "one", "mixed"]))
    if how != "usual":
        names = {"names": "abcdefgh"[:columns], "one": ["a"] * columns, "mixed": [0, "b"] * columns}
        frame.columns = list(names[how])[:columns]
    return frame


NONSENSE = [None, "text", b"", 3, 1.5, object(), [], {}, (), np.nan, [[1, 2], [3]], "", [None]]
nonsense = st.sampled_from(NONSENSE)


@st.composite
def names(draw, n, missing=True):
    """Names of sections or patients, some of them odd."""
    pool = ["A1", "A2", "B1", "", "nan", "ü/..", "a" * 50, "0"]
    values = [draw(st.sampled_from(pool[: draw(st.sampled_from([1, 3, 8]))])) for _ in range(n)]
    how = draw(st.sampled_from(["list", "array", "category", "missing", "integer", "short"]))
    if how == "array":
        return np.array(values, dtype=object)
    if how == "category":
        return pd.Categorical(values)
    if how == "missing" and missing and n:
        return [*values[:-1], draw(st.sampled_from([None, np.nan, pd.NA]))]
    if how == "integer":
        return list(range(n))
    if how == "short" and draw(st.integers(0, 4)) == 0:
        return values[:-1]
    return values


@st.composite
def adatas(draw, n_spots=None, n_genes=None):
    """An AnnData of counts or of something else, with or without what the library looks for."""
    n_spots = draw(odd(st.integers(2, 8), [0, 1])) if n_spots is None else n_spots
    n_genes = draw(odd(st.integers(2, 5), [0, 1])) if n_genes is None else n_genes
    kind = draw(odd(["counts"], [None]))
    dtype = draw(st.sampled_from(["f4", "f8", "i4", "i8", "u2", "bool"]))
    matrix = draw(arrays((n_spots, n_genes), kind, dtype))
    hows = ["dense", "csr_matrix", "csc_matrix", "csr_array", "csc_array", "out of order", "None"]
    how = draw(st.sampled_from(hows))
    if how == "None":
        matrix = None if draw(st.integers(0, 5)) == 0 else matrix
    elif how == "out of order":
        matrix = scipy.sparse.csr_matrix(matrix[:, ::-1])
        matrix.indices[:] = n_genes - 1 - matrix.indices
        matrix.has_sorted_indices = False
        matrix.data.flags.writeable = False
    elif how != "dense":
        matrix = getattr(scipy.sparse, how)(matrix)
    genes = [f"g{i}" for i in range(n_genes)]
    if n_genes > 1 and draw(st.integers(0, 9)) == 0:
        genes[1] = genes[0]
    obs = pd.DataFrame(index=[f"s{draw(odd(st.just(i), st.just(0)))}" for i in range(n_spots)])
    for key in ("section", "patient", "cell_type", "domain"):
        if draw(st.booleans()):
            values = draw(odd(st.just(list("ABAABBAB")[:n_spots]), names(n_spots)))
            if len(values) == n_spots:
                obs[key] = values
    if draw(st.booleans()):
        for key in ("array_row", "array_col"):
            right = arrays((n_spots,), "counts", "i8")
            wrong = arrays((n_spots,), None, draw(st.sampled_from(["f8", "O"])))
            obs[key] = draw(odd(right, wrong))
    var = pd.DataFrame(index=genes)
    adata = anndata.AnnData(matrix, obs=obs, var=var)
    if draw(st.booleans()):
        right = arrays((n_spots, 2), "numbers", "f8")
        wrong = arrays((n_spots, draw(st.integers(1, 3))), None, "f8")
        adata.obsm["spatial"] = draw(odd(right, wrong))
    if draw(st.booleans()):
        adata = adata[:, :]  # a view
    return adata


def odd(right, wrong=None):
    """Mostly the right thing: values or strategies, of which one in ten is wrong."""
    right, wrong = (
        s if isinstance(s, st.SearchStrategy) else st.sampled_from(s)
        for s in (right, nonsense if wrong is None else wrong)
    )
    return st.integers(0, 9).flatmap(lambda i: wrong if i == 9 else right)
