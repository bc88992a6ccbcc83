"""Parts of a method's page that are written elsewhere, and only there.

``{departures} STco`` is the Notes section of the docstring of ``histoexpr.STco``;
``{measured} STco`` the section "Measured" of methods.md, its tables cut down to STco and baselines.
"""

import inspect
from pathlib import Path

import histoexpr
from numpydoc.docscrape import NumpyDocString
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

_TABLES = Path(__file__).parents[1] / "methods.md"
_BASELINES = ("ridge", "kNN")


class Departures(SphinxDirective):
    required_arguments = 1

    def run(self):
        docstring = inspect.getdoc(getattr(histoexpr, self.arguments[0]))
        notes = "\n".join(NumpyDocString(docstring)["Notes"])
        return self.parse_text_to_nodes(f"```{{eval-rst}}\n{notes}\n```")


class Measured(SphinxDirective):
    required_arguments = 1

    def run(self):
        self.env.note_dependency(str(_TABLES))
        return self.parse_text_to_nodes(rows_of(self.arguments[0], _TABLES.read_text()))


def rows_of(method, text):
    """The section "Measured", its tables cut down to a method and the baselines."""
    kept, marked = [], set()
    for line in text.partition("\n## Measured\n")[2].splitlines():
        if line.startswith("| ") and not line.startswith("| one "):
            name, _, variant = line.strip("| ").partition(" |")[0].partition(",")
            if name not in (method, *_BASELINES):
                continue
            marked |= {name} | set("¹" * variant.count("¹"))
        kept.append(line)
    if method not in marked:
        raise ExtensionError(f"no row of {method!r} in the tables under 'Measured' of {_TABLES}")
    section = "\n".join(kept)
    return section if "¹" in marked else section.partition("\n¹")[0]


def setup(app):
    app.add_directive("departures", Departures)
    app.add_directive("measured", Measured)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
