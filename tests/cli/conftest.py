"""A small cohort on disk."""

import pandas as pd
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def sheet(tmp_path_factory):
    """A sheet of three sections, an h5ad and an image each; genes.txt beside it."""
    from histoexpr.datasets import make_spatial_expression

    folder = tmp_path_factory.mktemp("sheet")
    images, adata = make_spatial_expression(
        n_patients=3, grid=(4, 4), n_genes=30, mpp=2.0, random_state=0
    )
    rows = []
    for name, image in images.section_images.items():
        Image.fromarray(image.pixels()).save(folder / f"{name}.png")
        adata[(adata.obs["section"] == name).to_numpy()].copy().write_h5ad(folder / f"{name}.h5ad")
        rows.append(
            {"section": name, "patient": name[0], "path": f"{name}.h5ad", "image": f"{name}.png",
             "mpp": 2.0}
        )  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "sheet.csv", index=False)
    (folder / "genes.txt").write_text("\n".join(adata.var_names[:20]))
    return folder / "sheet.csv"
