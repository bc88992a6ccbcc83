"""Names that may be misspelt."""

import difflib

from ..exceptions import InputError
from ..utils import name_some


def check_known(names, known, what):
    """Refuse names that are not known, and say which may have been meant.

    Parameters
    ----------
    names : iterable of str
    known : iterable of str
    what : str
        What the names are of, for the message: "methods".

    Raises
    ------
    ValueError
    """
    known = [str(name) for name in known]
    unknown = [str(name) for name in names if str(name) not in known]
    if not unknown:
        return
    lower = {name.lower(): name for name in known}
    near = [
        lower[match]
        for name in unknown
        for match in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)
    ]
    meant = f" Did you mean {name_some(dict.fromkeys(near))}?" if near else ""
    raise InputError(
        f"unknown {what}: {name_some(unknown)}.{meant} There are {name_some(known, 20)}."
    )
