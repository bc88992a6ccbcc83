"""Pictures of matplotlib as SVG within a page."""

import base64
import io
import re

from markupsafe import Markup, escape
from PIL import Image

_PNG = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)")
_PX_PER_POINT = 4 / 3
_QUALITY = 82


def to_svg(axes, name, alt, *, dpi=180):
    """A figure as inline SVG, in the colour of the text around it.

    Parameters
    ----------
    axes : Axes
        Of the figure.
    name : str
        Unique on the page, letters and digits: identifiers within the picture begin with it.
    alt : str
        What the picture shows, for those who do not see it.
    dpi : int, default=180
        Of what is drawn as pixels: images, and the dots on them.

    Returns
    -------
    Markup
    """
    import matplotlib

    figure = axes.figure
    for artist in figure.findobj(_is_heavy):
        artist.set_rasterized(True)
    written = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(
            written, format="svg", dpi=dpi, transparent=True, bbox_inches="tight", pad_inches=0.02,
            metadata={"Date": None},
        )  # fmt: skip
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = svg.replace("#000000", "currentColor")
    svg = _with_own_ids(svg, name)
    svg = _PNG.sub(_as_webp, svg)
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1]) * _PX_PER_POINT
    head = f'<svg role="img" aria-label="{escape(alt)}" style="max-width:{width:.0f}px"'
    return Markup(re.sub(r'^<svg( width="[^"]*"| height="[^"]*")*', lambda _: head, svg, count=1))


def _with_own_ids(svg, name):
    """Identifiers that are used, made unique on a page; the others go."""
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' * (m[1] in used), svg)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)


def _is_heavy(artist):
    """Whether an artist is smaller as pixels than as paths: images, and dots by the hundred."""
    from matplotlib.collections import EllipseCollection
    from matplotlib.image import AxesImage

    return isinstance(artist, (AxesImage, EllipseCollection))


def _as_webp(match):
    """An embedded PNG as WebP, of a tenth of the size."""
    image = Image.open(io.BytesIO(base64.b64decode(match[1])))
    written = io.BytesIO()
    image.save(written, "WEBP", quality=_QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}"
