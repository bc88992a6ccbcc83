"""The group of commands, each imported when it is asked for."""

import difflib
import importlib

import click

from .._version import __version__

# The name of each command, and the module that holds it as ``command``.
COMMANDS = {
    "fit": "_fit",
    "predict": "_predict",
    "predict-slide": "_predict_slide",
    "benchmark": "_benchmark",
    "info": "_info",
    "doctor": "_doctor",
    "demo": "_demo",
}


class Commands(click.Group):
    """Commands that are looked up by name, so that one does not pay for the others."""

    def list_commands(self, ctx):
        return list(COMMANDS)

    def get_command(self, ctx, name):
        if name not in COMMANDS:
            return None
        return importlib.import_module(f".{COMMANDS[name]}", __package__).command

    def resolve_command(self, ctx, args):
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(
                f"There is no command {args[0]!r}.{meant} There are {', '.join(COMMANDS)}.", ctx
            )
        return super().resolve_command(ctx, args)


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=Commands, context_settings=_SETTINGS)
@click.version_option(__version__, prog_name="histoexpr")
def main():
    """Gene expression predicted from H&E images of tissue.

    Exit codes: 0 all went well; 1 something failed, and standard error says what; 2 the command
    was typed wrongly.
    """
