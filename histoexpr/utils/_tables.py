"""Tables that users bring along."""

from ..exceptions import InputError, InputTypeError
from ._validation import name_some


def check_columns(table, what, names=(), numbers=()):
    """Refuse what is no DataFrame with these columns.

    Parameters
    ----------
    table : object
    what : str
        What it is, for messages, such as "results".
    names : sequence of str
        Columns without missing values.
    numbers : sequence of str
        Columns of numbers, NaN among them or not.

    Raises
    ------
    TypeError
        If it is no DataFrame.
    ValueError
        If a column is not there, any stands twice, or one holds something else.
    """
    import pandas as pd

    if not isinstance(table, pd.DataFrame):
        raise InputTypeError(f"{what} must be a DataFrame; got {type(table).__name__}.")
    lacking = [name for name in (*names, *numbers) if name not in table]
    if lacking:
        raise InputError(
            f"{what} lack the columns {name_some(lacking)}; there are "
            f"{name_some(table.columns, most=20)}."
        )
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise InputError(f"{what} have more than one column {name_some(twice)}; keep one.")
    empty = [name for name in names if table[name].isna().any()]
    words = [name for name in numbers if not pd.api.types.is_numeric_dtype(table[name])]
    if empty or words:
        raise InputError(
            f"{what} must hold {'names' if empty else 'numbers'} in the column "
            f"{name_some(empty or words)}: there are "
            + ("missing values." if empty else f"values of dtype {table[words[0]].dtype}.")
        )
