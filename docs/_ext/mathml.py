"""Formulas as MathML, which browsers draw themselves: no script, no fonts, no network."""

from docutils import nodes
from docutils.utils.math import latex2mathml


def _write(block):
    def visit(translator, node):
        tag = "div" if block else "span"
        formula = latex2mathml.tex2mathml(node.astext(), as_block=block)
        translator.body.append(f'<{tag} class="math">{formula}</{tag}>')
        raise nodes.SkipNode

    return visit


def setup(app):
    app.add_html_math_renderer(
        "mathml", inline_renderers=(_write(False), None), block_renderers=(_write(True), None)
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
