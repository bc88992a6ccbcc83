"""Docstrings on their way to a page."""

import re

from sphinx.util.nodes import make_refnode

_CODE = re.compile(r"(`+[^`]+`+)")
_FITTED_NAME = re.compile(r"(?<![\w\\])([A-Za-z]\w*)_(?!\w)")


def _skip(app, what, name, obj, skip, options):
    """Leave out of a class's page what it has from scikit-learn or torch."""
    home = getattr(obj, "__module__", None) or ""
    return True if home.partition(".")[0] in {"sklearn", "torch", "builtins"} else None


def _forget_types(app, what, name, obj, options, lines):
    """A tuple without a word of its own is not explained as Python explains tuples."""
    if what == "data" and lines and lines[0] in (type(obj).__doc__ or ""):
        lines.clear()


def _hide_private_signature(app, what, name, obj, options, signature, returned):
    """A class that is built by its class methods alone shows no constructor."""
    return ("", None) if what == "class" and (signature or "").startswith("(_") else None


def _keep_underscores(app, what, name, obj, options, lines):
    """Names of fitted attributes (``genes_``) look like links to Sphinx: they are none."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = _CODE.split(line)
            parts[::2] = [_FITTED_NAME.sub(r"\1\\_", text) for text in parts[::2]]
            lines[number] = "".join(parts)


def _find_by_short_name(app, env, node, contnode):
    """A public name may be given without its module, if there is one such name only."""
    target = node.get("reftarget", "")
    objects = env.domains.python_domain.objects
    found = {entry.node_id: entry for name, entry in objects.items()
             if name.rpartition(".")[2] == target}  # fmt: skip
    if node.get("refdomain") != "py" or len(found) != 1:
        return None
    ((node_id, entry),) = found.items()
    return make_refnode(app.builder, node["refdoc"], entry.docname, node_id, contnode)


def setup(app):
    app.connect("missing-reference", _find_by_short_name)
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-signature", _hide_private_signature)
    app.connect("autodoc-process-docstring", _forget_types)
    app.connect("autodoc-process-docstring", _keep_underscores, priority=800)  # after numpydoc
    return {"parallel_read_safe": True, "parallel_write_safe": True}
