"""One drawn section, and writers of it in each format that the readers take."""

import gzip
import json
from dataclasses import dataclass

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse
import tifffile
from PIL import Image

PITCH_PX = 40  # full resolution: 100 um, so 2.5 um/px
MPP = 100 / PITCH_PX
CROP_PX = 16  # 40 um
GENES = ["EPCAM", "ACTB", "KRT5", "MALAT1", "CD3E", "VIM"]


@dataclass
class Drawn:
    """An image with tissue left of and above its middle, and spots on a hexagonal grid."""

    image: np.ndarray  # (480, 600, 3) uint8
    spots: pd.DataFrame  # as tissue_positions, all spots of the array
    counts: pd.DataFrame  # spots under tissue x genes

    @property
    def under_tissue(self):
        return self.spots.set_index("barcode").loc[self.counts.index]

    @property
    def spatial(self):
        return self.under_tissue[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(float)

    def patches(self, size=CROP_PX):
        """Cut by hand."""
        corners = (self.spatial - size // 2).astype(int)
        return np.stack([self.image[y : y + size, x : x + size] for x, y in corners])

    def adata(self):
        obs = self.under_tissue[["array_row", "array_col"]]
        adata = anndata.AnnData(self.counts.astype(np.float32), obs=obs.copy())
        adata.obsm["spatial"] = self.spatial
        return adata


def draw(seed=0, n_rows=11, n_cols=26):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:480, :600]
    tissue = ((x - 220) / 200) ** 2 + ((y - 170) / 140) ** 2 < 1
    colour = np.where(tissue[..., None], (190, 120, 170), (240, 238, 241))
    image = np.clip(colour + rng.normal(0, 6, (480, 600, 3)), 0, 255).astype(np.uint8)
    row, col = (v.ravel() for v in np.mgrid[:n_rows, :n_cols])
    row, col = row[(row + col) % 2 == 0], col[(row + col) % 2 == 0]
    spots = pd.DataFrame({"in_tissue": 0, "array_row": row, "array_col": col})
    spots.insert(0, "barcode", [f"{i:04d}ACGT-1" for i in rng.permutation(len(spots))])
    spots["pxl_row_in_fullres"] = np.rint(40 + row * PITCH_PX * np.sqrt(3) / 2).astype(int)
    spots["pxl_col_in_fullres"] = 40 + col * PITCH_PX // 2
    spots["in_tissue"] = tissue[
        spots["pxl_row_in_fullres"], spots["pxl_col_in_fullres"]
    ].astype(int)
    names = spots["barcode"][spots["in_tissue"] == 1].sort_values()
    counts = rng.poisson(3, (len(names), len(GENES)))
    return Drawn(image, spots, pd.DataFrame(counts, index=names.to_numpy(), columns=GENES))


def shrink(image, factor):
    return Image.fromarray(image).reduce(factor)


def write_image(drawn, folder):
    path = folder / "he.tif"
    tifffile.imwrite(path, drawn.image, photometric="rgb", tile=(128, 128))
    return path


def write_h5(path, counts, genes=None):
    """The layout of feature_bc_matrix.h5."""
    matrix = scipy.sparse.csr_matrix(counts.to_numpy(np.int32))
    genes = list(counts.columns if genes is None else genes)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = np.array(counts.index, dtype="S")
        group["data"], group["indices"] = matrix.data, matrix.indices.astype(np.int64)
        group["indptr"] = matrix.indptr.astype(np.int64)
        group["shape"] = np.array(matrix.shape[::-1], np.int32)
        features = group.create_group("features")
        features["id"] = np.array([f"ENSG{i:05d}" for i in range(len(genes))], dtype="S")
        features["name"] = np.array(genes, dtype="S")
        features["feature_type"] = np.array(["Gene Expression"] * len(genes), dtype="S")
        features["genome"] = np.array(["GRCh38"] * len(genes), dtype="S")


def write_mtx(folder, counts, genes=None):
    folder.mkdir(parents=True)
    genes = list(counts.columns if genes is None else genes)
    with gzip.open(folder / "matrix.mtx.gz", "wb") as file:
        scipy.io.mmwrite(file, scipy.sparse.csc_matrix(counts.to_numpy().T), field="integer")
    lines = [f"ENSG{i:05d}\t{gene}\tGene Expression" for i, gene in enumerate(genes)]
    for name, rows in (("features", lines), ("barcodes", counts.index)):
        (folder / f"{name}.tsv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))


def write_spatial(folder, drawn, version, diameter=0.65 * PITCH_PX, **further):
    folder.mkdir(parents=True)
    table = drawn.spots
    if version == "hd":
        table.to_parquet(folder / "tissue_positions.parquet", index=False)
    elif version == 1:
        table.to_csv(folder / "tissue_positions_list.csv", header=False, index=False)
    else:
        table.to_csv(folder / "tissue_positions.csv", index=False)
    factors = {"spot_diameter_fullres": diameter, "fiducial_diameter_fullres": 42.0}
    factors |= {"tissue_hires_scalef": 1 / 2, "tissue_lowres_scalef": 1 / 4, **further}
    (folder / "scalefactors_json.json").write_text(json.dumps(factors))
    shrink(drawn.image, 2).save(folder / "tissue_hires_image.png")
    shrink(drawn.image, 4).save(folder / "tissue_lowres_image.png")


def write_visium(folder, drawn, version=2, matrix="h5"):
    """A folder as Space Ranger writes it; the path of outs/."""
    outs = folder / "outs"
    write_spatial(outs / "spatial", drawn, version)
    if matrix == "h5":
        write_h5(outs / "filtered_feature_bc_matrix.h5", drawn.counts)
    else:
        write_mtx(outs / "filtered_feature_bc_matrix", drawn.counts)
    return outs


def write_hest(root, drawn, name="S1", patches=True, slide=True, **metadata):
    for folder in ("st", "patches", "wsis", "metadata"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    drawn.adata().write_h5ad(root / f"st/{name}.h5ad")
    (root / f"metadata/{name}.json").write_text(json.dumps(metadata))
    if slide:
        tifffile.imwrite(
            root / f"wsis/{name}.tif", drawn.image, photometric="rgb", tile=(128, 128)
        )
    if patches:
        with h5py.File(root / f"patches/{name}.h5", "w") as file:
            file["img"] = drawn.patches()
            file["coords"] = (drawn.spatial - CROP_PX // 2).astype(np.int64)
            file["barcode"] = np.array(drawn.counts.index, dtype="S")[:, None]
            attrs = {"patch_size_src": CROP_PX, "patch_size_target": CROP_PX, "pixel_size": MPP}
            file["img"].attrs.update({**attrs, "downsample": 1.0})
    return root


def write_cscc(root, drawn, name="P2_ST_rep1", number=1):
    """Legacy ST: spots under tissue on a square grid, 200 um apart."""
    root.mkdir(parents=True, exist_ok=True)
    x, y = (v.ravel() for v in np.meshgrid(np.arange(3, 8), np.arange(2, 7)))
    keys = [f"{a}x{b}" for a, b in zip(x, y)]
    rng = np.random.default_rng(number)
    counts = pd.DataFrame(rng.poisson(3, (25, len(GENES))), index=keys, columns=GENES)
    counts.to_csv(root / f"GSM{number}_{name}_stdata.tsv", sep="\t")
    spots = pd.DataFrame({"x": x, "y": y, "new_x": x + 0.02, "new_y": y - 0.01})
    spots["pixel_x"], spots["pixel_y"] = 40 * spots["new_x"], 40 * spots["new_y"]
    spots.to_csv(root / f"GSM{number}_spot_data-selection-{name}.tsv", sep="\t", index=False)
    Image.fromarray(drawn.image).save(root / f"GSM{number}_{name}.jpg", quality=95)
    return counts, spots


def make_sdata(drawn, multiscale=True):
    """A SpatialData object: image and spots, each turned and scaled to "global" in its own way."""
    import spatialdata
    from spatialdata.models import Image2DModel, ShapesModel, TableModel
    from spatialdata.transformations import Affine

    axes = {"input_axes": ("x", "y"), "output_axes": ("x", "y")}
    of_image = np.array([[0, -MPP, 1500], [MPP, 0, 7], [0, 0, 1]])
    of_spots = np.array([[3.0, 0, 40], [0, 3, -60], [0, 0, 1]])
    image = Image2DModel.parse(
        np.moveaxis(drawn.image, -1, 0),
        dims=("c", "y", "x"),
        transformations={"global": Affine(of_image, **axes)},
        scale_factors=[2] if multiscale else None,
    )
    pixels = np.c_[drawn.spatial, np.ones(len(drawn.counts))].T
    own = np.linalg.inv(of_spots) @ of_image @ pixels
    # The spots stand in another order than the rows of the table.
    order = np.random.default_rng(0).permutation(len(drawn.counts))
    shapes = ShapesModel.parse(
        own[:2].T[order],
        geometry=0,
        radius=13.0,
        index=np.arange(len(order))[order] + 100,
        transformations={"global": Affine(of_spots, **axes)},
    )
    table = drawn.adata()
    del table.obsm["spatial"]
    table.obs["region"] = pd.Categorical(["spots"] * len(order))
    table.obs["spot"] = np.arange(len(order)) + 100
    table = TableModel.parse(table, region="spots", region_key="region", instance_key="spot")
    return spatialdata.SpatialData(
        images={"he": image}, shapes={"spots": shapes}, tables={"table": table}
    )
