"""from_spatialdata, with the real library."""

import pickle

import numpy as np
import pytest
from drawn import CROP_PX, GENES, MPP, make_sdata

from histoexpr.datasets import from_spatialdata

spatialdata = pytest.importorskip(
    "spatialdata", reason="reading SpatialData needs the extra spatialdata"
)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:spatialdata|contextlib|functools")

CUT = {"patch_size": "40um", "out_px": CROP_PX}


@pytest.fixture
def sdata(drawn):
    return make_sdata(drawn)


def load(sdata, **kwargs):
    return from_spatialdata(sdata, **{"patient": "P", **CUT, **kwargs})


@pytest.mark.parametrize("multiscale", [True, False])
def test_objects_and_stores_give_the_same(drawn, tmp_path, multiscale):
    sdata = make_sdata(drawn, multiscale)
    sdata.write(tmp_path / "store.zarr")
    for source in (sdata, tmp_path / "store.zarr"):
        images, adata = load(source, section="S1")
        # Through two transformations, and for shapes in another order than the table.
        np.testing.assert_allclose(images.spatial, drawn.spatial, atol=1e-6)
        np.testing.assert_array_equal(np.asarray(images), drawn.patches())
        np.testing.assert_array_equal(adata.X.toarray(), drawn.counts)
        assert list(adata.obs.columns)[:4] == ["section", "patient", "array_row", "array_col"]
        assert list(adata.var_names) == GENES
        np.testing.assert_allclose(images.mpp, MPP, rtol=2e-3)
    again = pickle.loads(pickle.dumps(images))
    np.testing.assert_array_equal(np.asarray(again), drawn.patches())


def test_the_image_is_read_by_pieces(drawn, monkeypatch):
    monkeypatch.setattr("histoexpr.datasets._spatialdata._KEPT_BYTES", 0)
    images, _ = load(make_sdata(drawn))
    np.testing.assert_array_equal(np.asarray(images), drawn.patches())
    slide = images.section_images["spots"]
    assert slide.levels == ((600, 480), (300, 240)) and slide.thumbnail(100).shape == (80, 100, 3)


def test_names_have_to_be_chosen_where_there_are_several(sdata, drawn):
    sdata.images["other"] = sdata.images["he"]
    with pytest.raises(ValueError, match="2 images, 'he', 'other': say with image= which"):
        load(sdata)
    with pytest.raises(ValueError, match="there is no 'her'"):
        load(sdata, image="her")
    table = sdata.tables["table"]
    table.obs["region"] = ["elsewhere", *["spots"] * (len(table) - 1)]
    with pytest.raises(ValueError, match="2 regions.*say with region= which"):
        load(sdata, image="he")
    images, adata = load(sdata, image="he", region="spots")
    np.testing.assert_array_equal(adata.X.toarray(), drawn.counts[1:])
    np.testing.assert_array_equal(np.asarray(images), drawn.patches()[1:])


def test_a_table_that_annotates_nothing_has_its_own_centres(drawn):
    sdata = make_sdata(drawn)
    sdata.tables["table"] = drawn.adata()
    images, _ = load(sdata)
    assert set(images.section) == {"he"}
    np.testing.assert_array_equal(np.asarray(images), drawn.patches())
    del sdata.tables["table"].obsm["spatial"]
    with pytest.raises(ValueError, match="spots have no place"):
        load(sdata)


def test_coordinate_systems(sdata):
    from spatialdata.transformations import Identity, set_transformation

    with pytest.raises(ValueError, match="share the coordinate systems 'global'.*say with"):
        load(sdata, coordinate_system="local")
    set_transformation(sdata.shapes["spots"], {"own": Identity()}, set_all=True)
    with pytest.raises(ValueError, match="share the coordinate systems none"):
        load(sdata)


def test_refused(sdata, tmp_path):
    with pytest.raises(ValueError, match="100 um apart.*given as 0.3"):
        load(sdata, mpp=0.3)
    sdata.tables["table"].obs["spot"] += 1
    with pytest.raises(ValueError, match="1 of 62 spots .* are not in the region 'spots'"):
        load(sdata)
    with pytest.raises(FileNotFoundError, match="no SpatialData store"):
        load(tmp_path / "none.zarr")
    (tmp_path / "bad.zarr").mkdir()
    with pytest.raises(ValueError, match="bad.zarr"):
        load(tmp_path / "bad.zarr")
    del sdata.tables["table"].obs["array_row"]
    sdata.tables["table"].obs["spot"] -= 1
    with pytest.raises(ValueError, match="how many micrometres.*Pass mpp="):
        load(sdata)


def test_what_is_not_read_may_be_damaged(drawn, sdata, tmp_path, monkeypatch):
    monkeypatch.delenv("HISTOEXPR_TRUST_FILES")
    sdata.images["other"] = sdata.images["he"]
    store = tmp_path / "store.zarr"
    sdata.write(store)
    chunk = next(file for file in (store / "images/other").rglob("0") if file.is_file())
    chunk.write_bytes(b"no chunk")
    images, _ = load(store, image="he")
    np.testing.assert_array_equal(np.asarray(images), drawn.patches())
    with pytest.raises(ValueError, match="cannot be read as SpatialData"):
        load(store, image="other")


def test_a_table_of_shapes_that_would_fill_the_memory(sdata, tmp_path, monkeypatch):
    sdata.write(tmp_path / "store.zarr")
    (table,) = (tmp_path / "store.zarr/shapes").rglob("*.parquet")
    pq = pytest.importorskip("pyarrow.parquet")
    spots = pq.read_table(table)
    pq.write_table(spots.take([0] * 2**20), table)
    monkeypatch.setenv("HISTOEXPR_MAX_DECODED_GB", "0.01")
    with pytest.raises(ValueError, match="the table in .* GiB in memory"):
        load(tmp_path / "store.zarr")
