"""Run the examples named ``plot_*`` small, show the picture each writes; say what was not run."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from sphinx_gallery.scrapers import figure_rst

_SMALL = ["--patients", "3", "--grid", "12"]
_FOLDER = TemporaryDirectory()
_PICTURE = Path(_FOLDER.name) / "picture.png"
_NOT_RUN = """
.. note::

   Shown here, and not run: it takes minutes, or real sections and pretrained weights.
"""


def arguments(gallery_conf, script_vars):
    """The command line that an example is run with."""
    return ["--out", str(_PICTURE), *_SMALL]


def scrape(block, block_vars, gallery_conf):
    """Move the picture that an example wrote into the gallery."""
    if not _PICTURE.exists():
        return ""
    target = Path(next(block_vars["image_path_iterator"]))
    target.write_bytes(_PICTURE.read_bytes())
    _PICTURE.unlink()
    return figure_rst([str(target)], gallery_conf["src_dir"])


def _say_not_run(app, docname, source):
    folder, _, name = docname.rpartition("/")
    if folder == "gallery" and name != "index" and not name.startswith("plot_"):
        source[0] = re.sub(r"^=+$", rf"\g<0>\n{_NOT_RUN}", source[0], count=1, flags=re.MULTILINE)


def setup(app):
    app.connect("source-read", _say_not_run)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
