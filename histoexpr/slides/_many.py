"""Many slides, one after the other."""

import logging
from collections import Counter
from pathlib import Path

from ..exceptions import InputError
from ..utils import name_some
from ._model import SlideModel
from ._predict import predict_slide
from ._write import SUFFIXES

logger = logging.getLogger(__name__)


class SlidesFailed(InputError):
    """Some of many slides were not predicted; the others were.

    Attributes
    ----------
    failed : dict of Path to Exception
        Why, slide by slide.
    done : dict of Path to Path
        Slides, and where their predictions are.
    """

    def __init__(self, failed, done):
        self.failed, self.done = failed, done
        lines = [f"{path}: {error}" for path, error in failed.items()]
        super().__init__(
            f"{len(failed)} of {len(failed) + len(done)} slides were not predicted:\n"
            + "\n".join(lines)
        )


def predict_slides(model, slides, out, *, suffix=".h5ad", on_done=None, **options):
    """Predict expression over many slides; one that cannot be read does not stop the others.

    Parameters
    ----------
    model : estimator
        See `predict_slide`.
    slides : list of str or os.PathLike
        With file names that differ, whose stems name the predictions.
    out : str or os.PathLike
        A folder.
    suffix : {".h5ad", ".zarr"}, default=".h5ad"
        Of the predictions.
    on_done : callable or None, default=None
        ``on_done(slide, path)`` is called after each slide that was predicted.
    **options
        Those of `predict_slide`. What is finished is left as it is, and what was killed goes on,
        unless ``resume=False``.

    Returns
    -------
    dict of Path to Path
        Where the predictions of each slide are.

    Raises
    ------
    SlidesFailed
        At the end, if there are slides that could not be predicted; it names each, and why.
    ValueError
        If there are no slides, two have one name, or the suffix is another.
    """
    slides, out = [Path(slide) for slide in slides], Path(out)
    if suffix not in SUFFIXES:
        raise InputError(f"suffix must be one of {SUFFIXES}; got {suffix!r}.")
    repeated = [name for name, n in Counter(slide.stem for slide in slides).items() if n > 1]
    if repeated or not slides:
        what = f"{name_some(repeated)} stand for several" if repeated else "there are none"
        raise InputError(f"slides must be files with names of their own; {what}.")
    SlideModel(model)  # what is wrong with the model is wrong for all
    done, failed = {}, {}
    for slide in slides:
        try:
            done[slide] = predict_slide(model, slide, out / f"{slide.stem}{suffix}", **options)
        except (OSError, ValueError, ImportError) as error:
            logger.warning("%s was not predicted: %s", slide, error)
            failed[slide] = error
        else:
            if on_done is not None:
                on_done(slide, done[slide])
    if failed:
        raise SlidesFailed(failed, done)
    return done
