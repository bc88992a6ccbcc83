"""How commands print what they found."""

import json

import click


def show(values, as_json):
    """Print names and values on standard output: a line each, or one JSON object.

    Parameters
    ----------
    values : dict of str to str, number, bool, None, list or dict
    as_json : bool
    """
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    width = max(map(len, values)) + 2
    for name, value in values.items():
        click.echo(f"{name.replace('_', ' '):<{width}}{in_words(value)}")


def in_words(value):
    """A value as a line of text."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "not known" if value is None else str(value)


def some_of(names, most=5):
    """The first of many names, and how many more there are."""
    names = list(map(str, names))
    more = [f"... ({len(names)})"] * (len(names) > most)
    return ", ".join([*names[:most], *more])
