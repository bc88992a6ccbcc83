"""A small cohort, a model of it, and its sections as slides."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from histoexpr import LinearProbe, TextureFeaturizer
from histoexpr.datasets import make_spatial_expression


@pytest.fixture(scope="session")
def sections():
    return make_spatial_expression(
        2, grid=(8, 8), n_genes=6, mpp=2.0, out_px=32, stain_shift=0.3, random_state=0
    )


@pytest.fixture(scope="session")
def model(sections):
    return LinearProbe(TextureFeaturizer(("stain",)), n_components=4).fit(*sections)


@pytest.fixture(scope="session")
def tissue(sections):
    """A section image, (height, width, 3) uint8, 2 micrometres a pixel."""
    return sections[0].section_images["B1"].pixels()


@pytest.fixture
def slide(tmp_path, tissue):
    """The section as a pyramidal TIFF, drawn at twice the resolution: 1 micrometre a pixel."""
    image = Image.fromarray(tissue)
    large = np.asarray(image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC))
    options = dict(tile=(64, 64), photometric="rgb", metadata=None)
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(large, resolution=(10000, 10000), resolutionunit="CENTIMETER", **options)
        tiff.write(tissue, subfiletype=1, **options)
    return path
