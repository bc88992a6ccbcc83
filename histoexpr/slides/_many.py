"""Many slides, one after the other or several at a time."""

import logging
import os
from collections import Counter
from collections.abc import Iterable

from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend

from ..exceptions import FileError, InputError, InputTypeError, MissingFileError
from ..utils import check_n_jobs, name_some
from ..utils._dask import surviving, within_task
from ..utils._files import as_path
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


def predict_slides(model, slides, out, *, suffix=".h5ad", n_jobs=None, on_done=None, **options):
    """Predict expression over many slides; one that cannot be read does not stop the others.

    Parameters
    ----------
    model : estimator
        See `predict_slide`.
    slides : list of str or os.PathLike
        With file names that differ, whose stems name the predictions.
    out : str or os.PathLike
        A folder. Workers on other machines have to see it, and the slides, under the same names.
    suffix : {".h5ad", ".zarr"}, default=".h5ad"
        Of the predictions.
    n_jobs : int or None, default=None
        Slides at a time, as in joblib, whose backends (``joblib.parallel_config``) all serve; on
        dask's, the run survives the loss of workers. A model on a processor keeps its cores busy
        with one slide: see there how to divide them.
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
        If there are no slides, two have one name, the suffix is another, or n_jobs is 0.
    TypeError
        If n_jobs is no whole number.
    """
    if isinstance(slides, (str, os.PathLike)) or not isinstance(slides, Iterable):
        raise InputTypeError(f"slides must be a list of files; got {slides!r}.")
    slides, out = [as_path(slide) for slide in slides], as_path(out)
    if suffix not in SUFFIXES:
        raise InputError(f"suffix must be one of {SUFFIXES}; got {suffix!r}.")
    repeated = [name for name, n in Counter(slide.stem for slide in slides).items() if n > 1]
    if repeated or not slides:
        what = f"{name_some(repeated)} stand for several" if repeated else "there are none"
        raise InputError(f"slides must be files with names of their own; {what}.")
    check_n_jobs(n_jobs)
    SlideModel(model)  # what is wrong with the model is wrong for all
    paths = [out / f"{slide.stem}{suffix}" for slide in slides]
    tasks = (
        delayed(_predict)(i, model, slide.absolute(), path.absolute(), options)
        for i, (slide, path) in enumerate(zip(slides, paths))
    )
    done, failed = {}, {}
    with surviving(model):
        n_jobs = min(effective_n_jobs(n_jobs), len(slides))
        streams = get_active_backend()[0].supports_return_generator
        parallel = Parallel(n_jobs, return_as="generator_unordered" if streams else "list")
        for i, error in parallel(tasks):
            slide, path = slides[i], paths[i]
            error = _seen_from_here(error, slide, path)
            if error is not None:
                logger.warning("%s was not predicted: %s", slide, error)
                failed[slide] = error
                continue
            done[slide] = path
            if on_done is not None:
                on_done(slide, path)
    done, failed = ({s: found[s] for s in slides if s in found} for found in (done, failed))
    if failed:
        raise SlidesFailed(failed, done)
    return done


def _predict(i, model, slide, path, options):
    """Predict one of many slides, in whatever process; its number, and the error or None."""
    try:
        with within_task():
            predict_slide(model, slide, path, **options)
    except (OSError, ValueError, ImportError) as error:
        return i, error
    return i, None


def _seen_from_here(error, slide, path):
    """The error of a slide, with what to do where a worker sees other files than this process."""
    if error is None and not path.exists():
        return FileError(
            f"{str(path)!r} was written by a worker, and is not to be seen from here: `out` has to "
            "be a folder of a file system that is shared."
        )
    if isinstance(error, FileNotFoundError) and slide.exists():
        return MissingFileError(
            f"{error} It can be seen from here: workers have to see it, too, under the same name."
        )
    return error
