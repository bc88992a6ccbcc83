"""``{commands}``: the help of each command of ``histoexpr``, as the command prints it."""

import click
from docutils import nodes
from histoexpr.cli import main
from sphinx.util.docutils import SphinxDirective

_WIDTH = 84


class Commands(SphinxDirective):
    def run(self):
        top = click.Context(main, info_name="histoexpr", **main.context_settings)
        return [self._describe(top, name) for name in main.list_commands(top)]

    def _describe(self, top, name):
        command = main.get_command(top, name)
        context = click.Context(
            command, parent=top, info_name=name, terminal_width=_WIDTH, max_content_width=_WIDTH
        )
        section = nodes.section(ids=[name])
        section += nodes.title(text=f"histoexpr {name}")
        section += nodes.literal_block(text=command.get_help(context), language="none")
        return section


def setup(app):
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
