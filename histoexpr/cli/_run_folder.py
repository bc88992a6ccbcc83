"""The folder that a command writes to: an earlier run goes on, and nothing else is lost."""

import json

import click

from ..utils import written_aside
from ..utils._reading import read_json


def claim(folder, record, settings, results, overwrite):
    """Take a folder for a run, or refuse it.

    A folder that is empty or not there is taken; so is one with an earlier run of the same
    settings, which goes on, and one with a run that has no results yet.

    Parameters
    ----------
    folder : Path
    record : str
        Name of the file with the settings of a run.
    settings : dict of str to str or None
        What decides the results.
    results : sequence of str
        Names of the files that a run replaces.
    overwrite : bool
        Whether to take a folder that would be refused; what is not in `results` stays.

    Raises
    ------
    click.ClickException
        If the folder holds results of other settings, or other things.
    """
    if folder.exists() and not folder.is_dir():
        raise click.BadParameter(f"{str(folder)!r} is a file, not a folder.", param_hint="--out")
    if not overwrite:
        _refuse_others(folder, record, settings, results)
    with written_aside(folder / record) as aside:
        aside.write_text(json.dumps(settings, indent=2))


def _refuse_others(folder, record, settings, results):
    found = sorted(path.name for path in folder.glob("[!.]*"))
    if found and record not in found:
        raise click.ClickException(
            f"{str(folder)!r} holds other things ({_some(found)}): name a new folder with --out, "
            "or pass --overwrite to write beside them."
        )
    if record not in found or not set(results) & set(found):
        return
    earlier = read_json(folder / record)
    other = [name for name in settings if earlier.get(name) != settings[name]]
    if other:
        changes = "; ".join(f"{n}: {earlier.get(n)}, now {settings[n]}" for n in other)
        raise click.ClickException(
            f"{str(folder)!r} holds results of other settings ({changes}): name a new folder with "
            f"--out, or pass --overwrite to replace {', '.join(results)}. Finished fits stay, and "
            "serve again."
        )


def _some(names):
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
