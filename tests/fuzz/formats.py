"""A small right file of each kind that the library reads, and the reading of it.

Each kind is a class with `write(folder)` and `read(folder)`; `files` names those that are changed
(all, where it says nothing).
"""

import json
import sys
import zipfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse
import tifffile
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))
import drawn as drawings  # noqa: E402

from histoexpr import SpotPatches, datasets  # noqa: E402
from histoexpr.data import clear_image_cache, open_slide  # noqa: E402
from histoexpr.model_selection._store import Store  # noqa: E402
from histoexpr.slides import write_gene_maps  # noqa: E402

CUT = {"patch_size": "40um", "out_px": 16}
DRAWN = drawings.draw(n_rows=9, n_cols=20)
TILED = {"tile": (64, 64), "photometric": "rgb", "metadata": None}


class Visium:
    def write(self, folder):
        drawings.write_visium(folder, DRAWN)
        drawings.write_image(DRAWN, folder)

    def read(self, folder):
        return datasets.load_visium(folder, folder / "he.tif", patient="P", **CUT)


class VisiumFirst(Visium):
    """As version 1 wrote it, in three files, with the preview."""

    def write(self, folder):
        drawings.write_visium(folder, DRAWN, version=1, matrix="mtx")

    def read(self, folder):
        return datasets.load_visium(folder, image_scale="hires", patient="P", **CUT)


class VisiumHD:
    def write(self, folder):
        bins = folder / "outs/binned_outputs/square_008um"
        spots = DRAWN.spots.assign(
            pxl_row_in_fullres=40 + 16.0 * DRAWN.spots["array_row"],
            pxl_col_in_fullres=40 + 16.0 * DRAWN.spots["array_col"],
            in_tissue=1,
        )
        spots["barcode"] = [f"s_008um_{i:05d}-1" for i in range(len(spots))]
        counts = pd.DataFrame(np.ones((len(spots), 3), int), index=spots["barcode"])
        drawn = drawings.Drawn(DRAWN.image, spots, counts.set_axis(list("abc"), axis=1))
        further = {"microns_per_pixel": 0.5, "bin_size_um": 8.0}
        drawings.write_spatial(bins / "spatial", drawn, "hd", diameter=16.0, **further)
        drawings.write_h5(bins / "filtered_feature_bc_matrix.h5", drawn.counts)

    def read(self, folder):
        options = {"image_scale": "hires", "patient": "P", "patch_size": "16um", "out_px": 16}
        return datasets.load_visium_hd(folder, **options)


class Hest:
    patches = True

    def write(self, folder):
        further = {"pixel_size_um_estimated": drawings.MPP, "patient": "P"}
        drawings.write_hest(folder, DRAWN, patches=self.patches, slide=not self.patches, **further)

    def read(self, folder):
        return datasets.load_hest(folder, **CUT)


class HestSlide(Hest):
    patches = False


class CSCC:
    def write(self, folder):
        drawings.write_cscc(folder, DRAWN)

    def read(self, folder):
        return datasets.load_cscc(folder, patch_size="80um", out_px=16)


class Her2st:
    def write(self, folder):
        x, y = (v.ravel() for v in np.meshgrid(np.arange(2, 6), np.arange(3, 7)))
        spots = pd.DataFrame({"x": x, "y": y, "new_x": x + 0.02, "new_y": y - 0.02})
        spots["pixel_x"], spots["pixel_y"] = 40 * spots["new_x"], 40 * spots["new_y"]
        keys = [f"{a}x{b}" for a, b in zip(x, y)]
        counts = pd.DataFrame(np.arange(48).reshape(16, 3), index=keys, columns=list("abc"))
        types = pd.DataFrame(np.eye(4)[np.arange(16) % 4] + 0.1, index=keys, columns=list("BCET"))
        labels = spots[["x", "y"]].assign(label=np.arange(16) % 3)
        tables = {
            "data/ST-cnts/A1.tsv.gz": counts,
            "data/ST-spotfiles/A1_selection.tsv": spots.set_index("x"),
            "data/ST-pat/lbl/A1_labeled_coordinates.tsv": labels.set_index("x"),
        }
        for name, table in tables.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            table.to_csv(folder / name, sep="\t")
        (folder / "data/ST-imgs/A/A1").mkdir(parents=True)
        Image.fromarray(DRAWN.image).save(folder / "data/ST-imgs/A/A1/he.jpg")
        (folder / "res/ST-deconv/props").mkdir(parents=True)
        with zipfile.ZipFile(folder / "res/ST-deconv/props/major.zip", "w", 8) as archive:
            archive.writestr("major/A1-proportion.tsv", types.to_csv(sep="\t"))

    def read(self, folder):
        return datasets.load_her2st(folder, patch_size="80um", out_px=16)


class Patches:
    def write(self, folder):
        table = DRAWN.under_tissue[["array_row", "array_col"]][:4].reset_index(names="barcode")
        table["x"], table["y"] = DRAWN.spatial[:4].T
        table["file"] = table["barcode"] + ".png"
        for name, patch in zip(table["file"], DRAWN.patches()):
            Image.fromarray(patch).save(folder / name)
        table.to_csv(folder / "patches.csv", index=False)
        DRAWN.counts[:4].to_csv(folder / "counts.csv")

    def read(self, folder):
        tables = folder / "patches.csv", folder / "counts.csv"
        return datasets.load_patches(folder, *tables, mpp=2.5, section="S", patient="P")


class H5AD:
    def write(self, folder):
        adata = DRAWN.adata()
        adata.layers["counts"] = adata.X.copy()
        adata.obs["kind"] = pd.Categorical(np.arange(adata.n_obs) % 2)
        factors = {"tissue_hires_scalef": 0.5}
        adata.uns["spatial"] = {"S": {"scalefactors": factors}}
        adata.X = scipy.sparse.csr_matrix(adata.X)
        adata.write_h5ad(folder / "s.h5ad")

    def read(self, folder):
        return datasets.from_anndata(folder / "s.h5ad", DRAWN.image, patient="P", **CUT)


class Sheet:
    files = ("sheet.csv",)

    def write(self, folder):
        Hest().write(folder / "S1")
        H5AD().write(folder)
        Image.fromarray(DRAWN.image).save(folder / "he.png")
        rows = "S1,P,S1,hest,\nB,Q,s.h5ad,,he.png\n"
        (folder / "sheet.csv").write_text(f"section,patient,path,format,image\n{rows}")

    def read(self, folder):
        return datasets.load_sheet(folder / "sheet.csv", **CUT)


class Zarr:
    def write(self, folder):
        drawings.make_sdata(DRAWN).write(folder / "s.zarr")

    def read(self, folder):
        return datasets.from_spatialdata(folder / "s.zarr", patient="P", **CUT)


def _pictures(folder):
    rgb = Image.fromarray(DRAWN.image[100:164, 100:180])
    rgba = rgb.convert("RGBA")
    rgba.putalpha(rgb.convert("L"))
    deep = (np.asarray(rgb.convert("L")).astype(np.uint16) << 8) + 7
    return {
        "rgb.png": rgb, "grey.png": rgb.convert("L"), "alpha.png": rgba,
        "palette.png": rgb.quantize(16), "deep.png": Image.fromarray(deep),
        "rgb.jpg": rgb, "grey.jpg": rgb.convert("L"), "cmyk.jpg": rgb.convert("CMYK"),
        "rgb.tif": rgb, "cmyk.tif": rgb.convert("CMYK"), "palette.tif": rgb.quantize(16),
        "alpha.tif": rgba, "rgb.webp": rgb, "rgb.bmp": rgb, "rgb.jp2": rgb,
    }  # fmt: skip


class Pictures:
    """Section images of every kind, each read as a whole."""

    def write(self, folder):
        for name, picture in _pictures(folder).items():
            picture.save(folder / name)
        Image.fromarray(DRAWN.image[:64, :64]).save(folder / "lzw.tif", compression="tiff_lzw")
        deep = DRAWN.image[:64, :64].astype(np.uint16)
        tifffile.imwrite(folder / "deep.tif", deep, photometric="rgb")

    def read(self, folder, name):
        images = SpotPatches.from_images(folder / name, [[30, 30]], patch_size="8px", out_px=8)
        patches = np.asarray(images)
        assert patches.shape == (1, 8, 8, 3) and patches.dtype == np.uint8
        size = images.section_images["0"].size
        assert images.section_images["0"].pixels().shape == (*size[::-1], 3)


class Slides:
    """Whole slides, read by region."""

    def write(self, folder):
        pixels = np.ascontiguousarray(DRAWN.image[:200, :300])
        small = np.ascontiguousarray(pixels[::2, ::2])
        for name, subifds in (("pages.tif", False), ("subifds.tif", True), ("s.svs", False)):
            with tifffile.TiffWriter(folder / name) as tiff:
                further = {"subifds": 1} if subifds else {}
                tiff.write(pixels, resolution=(10000, 10000), resolutionunit=3, **TILED, **further)
                tiff.write(small, subfiletype=1, **TILED)
        for name in ("jpeg", "zlib", "lzw", "jpeg2000", "webp", "png", "zstd", "packbits"):
            tifffile.imwrite(folder / f"{name}.tif", pixels, compression=name, **TILED)
        tifffile.imwrite(folder / "strips.tif", pixels, photometric="rgb", rowsperstrip=16)
        tifffile.imwrite(folder / "big.tif", pixels, bigtiff=True, **TILED)
        tifffile.imwrite(folder / "vendor.svs", pixels, compression="jpeg", **TILED)
        options = {"tile": (64, 64), "photometric": "minisblack", "ome": True}
        metadata = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        planes = np.moveaxis(pixels, 2, 0).copy()
        tifffile.imwrite(folder / "planes.ome.tif", planes, metadata=metadata, **options)

    def read(self, folder, name):
        slide = open_slide(folder / name)
        assert slide.mpp is None or 0 < slide.mpp < np.inf
        assert slide.thumbnail(64).dtype == np.uint8
        assert slide.read_region(-5, 30, 90, 80).shape == (80, 90, 3)
        if slide.size[0] * slide.size[1] < 10**7:
            assert slide.pixels().shape == (*slide.size[::-1], 3)


class Maps:
    """What `predict_slide` wrote, drawn."""

    def write(self, folder):
        adata = DRAWN.adata()
        adata.uns["spatial"] = {
            "S": {
                "images": {"hires": DRAWN.image[::4, ::4]},
                "scalefactors": {"tissue_hires_scalef": 0.25, "spot_diameter_fullres": 26.0},
            }
        }
        adata.uns["histoexpr"] = {"units": "counts", "pitch_um": 100.0, "mpp": 2.5, "key": "k"}
        adata.write_h5ad(folder / "p.h5ad")

    def read(self, folder):
        out = folder.parent / "maps"
        write_gene_maps(folder / "p.h5ad", out, genes=["EPCAM"], kind="ome.tiff")


class Finished:
    """What a benchmark keeps of a finished fit."""

    def write(self, folder):
        scores = pd.DataFrame({"gene": ["a", "b"], "pearson": [0.5, 0.25]})
        entry = {"scores": scores, "seconds": 1.5, "predictions": DRAWN.adata()}
        Store(folder).write("k", entry)

    def read(self, folder):
        entry = Store(folder).read("k", with_predictions=True)
        if entry is not None:
            assert entry["scores"].to_dict("list") == {"gene": ["a", "b"], "pearson": [0.5, 0.25]}
            assert entry["seconds"] == 1.5
            assert isinstance(entry["predictions"], anndata.AnnData)


class Features:
    def write(self, folder):
        Store(folder).features("k", lambda: np.arange(12.0).reshape(4, 3))

    def read(self, folder):
        found = Store(folder).features("k", lambda: np.arange(12.0).reshape(4, 3))
        np.testing.assert_array_equal(found, np.arange(12.0).reshape(4, 3))


SECTIONS = [Visium, VisiumFirst, VisiumHD, Hest, HestSlide, CSCC, Her2st, Patches, H5AD, Sheet]
OTHERS = [Maps, Finished, Features]
SINGLE = [Pictures, Slides]


def check_section(images, adata):
    """What a reader returned is what it says it returns."""
    n_spots = len(images)
    assert adata.n_obs == n_spots > 0
    assert images.shape[0] == n_spots and images.shape[3] == 3
    assert np.isfinite(images.spatial).all() and (images.positions >= 0).all()
    np.testing.assert_array_equal(adata.obsm["spatial"], images.spatial)
    np.testing.assert_array_equal(adata.obs["section"].astype(str), images.section)
    assert (images.mpp > 0).all() and np.isfinite(images.mpp).all()
    assert adata.var_names.is_unique
    adata.X.check_format(full_check=True)
    assert np.isfinite(adata.X.data).all() and (adata.X.data >= 0).all()
    patches = np.asarray(images[: min(3, n_spots)])
    assert patches.dtype == np.uint8 and patches.shape[1:] == images.shape[1:]
    clear_image_cache()
    json.dumps(sorted(adata.obs.columns))
