"""What all commands share: options, and errors in one line."""

import contextlib
import logging
import shlex
import sys
import warnings

import click

STOPPED = 130  # what a shell says of a program that was interrupted


class Command(click.Command):
    """A command that tells a user's mistake in a line, without a traceback.

    It has two options of its own: ``--verbose`` and ``--debug``.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(
                ["-v", "--verbose"], is_flag=True, help="Say what is done, on standard error."
            ),
            click.Option(["--debug"], is_flag=True, help="Show where an error comes from."),
        ]

    def parse_args(self, ctx, args):
        ctx.meta[f"{__package__}.typed"] = shlex.join([*ctx.command_path.split(), *args])
        return super().parse_args(ctx, args)

    def invoke(self, ctx):
        debug = ctx.params.pop("debug")
        try:
            with messages(ctx.params.pop("verbose")):
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)
            ctx.exit(STOPPED)
        except Exception as error:
            if debug:
                raise
            raise click.ClickException(in_a_line(error)) from error


def typed():
    """The command as it was typed."""
    return click.get_current_context().meta[f"{__package__}.typed"]


def bars():
    """Whether progress bars are wanted: 1 in a terminal, else 0."""
    return int(sys.stderr.isatty())


def in_a_line(error):
    """What an error says, in one line; its type, where that is not what users cause."""
    text = " ".join(str(error).split())
    if isinstance(error, (ValueError, TypeError, OSError, ImportError)) and text:
        return text
    return f"{type(error).__name__}: {text}. --debug shows where it comes from."


@contextlib.contextmanager
def messages(verbose):
    """Log lines and warnings of a block as plain lines on standard error."""
    logger, handler = logging.getLogger("histoexpr"), _Echo()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _warn
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Echo(logging.Handler):
    def emit(self, record):
        click.echo(self.format(record), err=True)


def _warn(message, category, filename, lineno, file=None, line=None):
    click.echo(f"Warning: {' '.join(str(message).split())}", err=True)
