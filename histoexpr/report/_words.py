"""Numbers and lists as a reader wants them."""

import math

MINUS = "−"
NOTHING = "–"


def number(value, digits=3):
    """A figure with a real minus sign; a dash for NaN."""
    if value is None or math.isnan(value):
        return NOTHING
    return f"{value:.{digits}f}".replace("-", MINUS)


def amount(value):
    """A count with thousands apart."""
    return f"{int(value):,}"


def percent(share):
    """A share as a percentage; a dash for NaN."""
    return NOTHING if math.isnan(share) else f"{number(100 * share, 0)} %"


def seconds(value):
    """A duration, with a digit where it is short."""
    return NOTHING if math.isnan(value) else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def plural(count, thing):
    """``"1 section"``, ``"2 sections"``."""
    return f"{count:,} {thing}{'s' * (count != 1)}"


def listed(names):
    """``"A, B and C"``."""
    names = [str(name) for name in names]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def flat(value, name=""):
    """Nested settings as pairs of a dotted name and words.

    Parameters
    ----------
    value : dict, list, str, number or None
        As ``results.attrs["settings"]`` has them.
    name : str

    Returns
    -------
    list of (str, str)
    """
    if isinstance(value, dict) and set(value) == {"class", "parameters"}:
        inner = [pair for k, v in value["parameters"].items() for pair in flat(v, _under(name, k))]
        return [(name, value["class"].rpartition(".")[2]), *inner]
    if isinstance(value, dict) and set(value) == {"length", "first", "hash"}:
        first = ", ".join(value["first"])
        return [(name, f"{value['length']}: {first}, ... ({value['hash'][:12]})")]
    if isinstance(value, dict) and value:
        return [pair for k, v in value.items() for pair in flat(v, _under(name, k))]
    if isinstance(value, list):
        return [(name, ", ".join(map(str, value)) or "none")]
    return [(name, "not set" if value is None else str(value))]


def _under(name, key):
    return f"{name}.{key}" if name else str(key)
