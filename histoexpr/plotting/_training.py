"""How a model was trained."""

from ..exceptions import InputError, InputTypeError
from ._axes import BLUE, GREY, SERIES, SMALL, VERMILION, quiet, take_axes

_LOSSES = {"loss": ("training", BLUE), "validation_loss": ("held-out groups", VERMILION)}
_NOT_TERMS = {*_LOSSES, "epoch", "lr", "seconds"}


def plot_training(model, *, ax=None):
    """Draw the losses of a fitted model over its epochs.

    Parameters
    ----------
    model : fitted estimator or list of dict
        An estimator with ``history_``, or such a history: an entry an epoch, with ``epoch``,
        ``loss`` and, where there are several, its terms; ``validation_loss`` with early stopping.
    ax : Axes or None, default=None
        None makes a new figure, which pyplot does not know of.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError
        If ``model`` has no history.
    ValueError
        If its history is empty: the method has nothing to train.
    ImportError
        Without matplotlib.

    Notes
    -----
    Terms are as the method reports them, before their weights in the loss. With early stopping a
    vertical line marks the epoch whose weights were kept.
    """
    history = getattr(model, "history_", model)
    if not isinstance(history, list):
        raise InputTypeError(
            f"model must be a fitted estimator with history_, or a list of dict; got "
            f"{type(model).__name__}. A Pipeline's is that of its last step."
        )
    if not history:
        raise InputError("there is nothing to draw: history_ is empty, the model trains nothing.")
    lacking = [e for e in history if not (isinstance(e, dict) and {"epoch", "loss"} <= set(e))]
    if lacking:
        raise InputError(
            f"a history has an entry with 'epoch' and 'loss' for each epoch; got {lacking[0]!r}."
        )
    (ax,) = take_axes(ax, (1, 1), (6.5, 3.4), "plot_training").ravel()
    epochs = [entry["epoch"] for entry in history]
    drawn = [name for name in _LOSSES if name in history[0]]
    terms = [name for name in history[0] if name not in _NOT_TERMS]
    for name in drawn:
        words, colour = _LOSSES[name]
        ax.plot(epochs, [entry[name] for entry in history], color=colour, label=words)
    for name, colour in zip(terms, SERIES[2:] * len(terms)):
        if len(terms) > 1:  # a single term is the loss itself
            values = [entry[name] for entry in history]
            ax.plot(epochs, values, "--", color=colour, linewidth=1, label=name.replace("_", " "))
    if "validation_loss" in drawn and hasattr(model, "trainer_"):
        ax.axvline(
            model.trainer_.best_epoch_, color=GREY, linewidth=1, linestyle=":", label="kept"
        )
    ax.set(xlabel="Epoch", ylabel="Loss, mean over spots")
    ax.xaxis.get_major_locator().set_params(integer=True)
    quiet(ax)
    if len(ax.lines) > 1:
        ax.legend(frameon=False, fontsize=SMALL, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax
