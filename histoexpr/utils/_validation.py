"""Checks and phrases that several layers share."""


def name_some(values, most=5):
    """Name the first few of many things, for a message: ``'A', 'B' and 7 more``."""
    values = [repr(str(v)) for v in values]
    shown = ", ".join(values[:most])
    return shown if len(values) <= most else f"{shown} and {len(values) - most} more"


def check_rows_match(images, target):
    """Refuse an X and a y of different length.

    Raises
    ------
    ValueError
        If ``len(images) != len(target)``.
    """
    if len(images) != len(target):
        raise ValueError(
            f"X has {len(images)} spots and y has {len(target)}: row i of both must be the same "
            "spot. Subset both with the same index before fit or score."
        )
