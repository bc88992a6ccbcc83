"""How Sphinx builds these pages: offline, and with warnings as errors (``make docs``)."""

import os
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

import histoexpr  # noqa: E402

# Examples are run for their results: no progress bars, no words about skipped checks.
os.environ["TQDM_DISABLE"] = "1"
warnings.filterwarnings("ignore", message="Skipping check")

project = "histoexpr"
author = "the histoexpr developers"
copyright = author
version = release = histoexpr.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    # in _ext/
    "command_line",
    "docstrings",
    "gallery",
    "mathml",
    "method_parts",
]
exclude_patterns = ["_build", "**/GALLERY_HEADER.rst", "**/sg_execution_times.rst"]
templates_path = ["_templates"]
needs_sphinx = "8.0"

# A name in a docstring that leads nowhere is an error; other projects' names are plain text,
# because their inventories would have to be fetched.
nitpicky = True
_OTHERS = "anndata|numpy|pandas|scanpy|scipy|skimage|sklearn|timm|torch"
nitpick_ignore_regex = [("py:.*", rf"({_OTHERS})\..*")]

# The public names are those of ``__all__``, wherever they are defined.
autosummary_ignore_module_all = False
autodoc_typehints = "none"
numpydoc_show_class_members = False

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "default_thumb_file": str(HERE / "images" / "demo_genes.png"),
    "ignore_pattern": r"__init__\.py",
    "image_scrapers": ("gallery.scrape",),
    "reset_argv": "gallery.arguments",
    "reset_modules": (),
    "download_all_examples": False,
    "min_reported_time": 0,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}

html_theme = "furo"
html_title = f"histoexpr {release}"
html_static_path = ["_static"]
html_css_files = ["histoexpr.css"]
html_copy_source = False
html_show_sourcelink = False
