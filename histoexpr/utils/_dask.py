"""joblib's dask backend, for runs that survive the loss of a worker."""

import contextlib
import warnings

import joblib
from joblib.parallel import get_active_backend

_LARGE = 2**20  # bytes from which on data are sent once, and not with every task


class SurvivingClient:
    """A client of dask with which work of joblib survives the loss of a worker.

    joblib's dask backend leaves each array that it sends on one worker alone, and ends with a
    ``FutureCancelledError`` when that worker is lost. With this client, data of a MiB or more are
    kept by the scheduler and sent once to a worker that needs them, the rest goes along with its
    task, and what a lost worker had to do is done by another. `model_selection.benchmark` and
    `slides.predict_slides` use it by themselves; the functions of scikit-learn have to be given
    it.

    Parameters
    ----------
    client : distributed.Client

    Examples
    --------
    >>> import joblib
    >>> from distributed import Client  # doctest: +SKIP
    >>> client = SurvivingClient(Client("tcp://scheduler:8786"))  # doctest: +SKIP
    >>> with joblib.parallel_config("dask", client=client):  # doctest: +SKIP
    ...     cross_val_score(model, images, adata, groups=patients, cv=LeaveOneGroupOut())
    """

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        return getattr(self._client, name)

    def scatter(self, data, *, broadcast=False, **_):
        """Futures of data, as joblib asks for them: of a list at once, or of one, to be awaited."""
        from dask.sizeof import sizeof

        if broadcast:
            return [self._kept(value) for value in data]
        return _as_it_is(self._kept(data) if sizeof(data) >= _LARGE else data)

    def _kept(self, data):
        # A task that the scheduler can have done again. What is scattered is not: it is gone with
        # the last worker that has it, and dask reduces copies to one.
        with warnings.catch_warnings():  # that it is large
            warnings.simplefilter("ignore", UserWarning)
            return self._client.submit(_itself, data, pure=False)


def _itself(data):
    return data


async def _as_it_is(data):
    return data


def surviving(*data):
    """A context in which joblib's backend, if it is dask's, survives the loss of a worker.

    Parameters
    ----------
    *data : object
        What several tasks are given: sent once to each worker, and not with the tasks.
    """
    backend = _dask_backend()
    if backend is None:
        return contextlib.nullcontext()
    return joblib.parallel_config(
        "dask",
        client=SurvivingClient(backend.client),
        scatter=data,
        wait_for_workers_timeout=backend.wait_for_workers_timeout,
        **backend.submit_kwargs,
    )


def within_task():
    """A context for a task of dask: what it does in parallel stays in its process."""
    if _dask_backend() is None:
        return contextlib.nullcontext()
    return joblib.parallel_config("threading", n_jobs=1)


def _dask_backend():
    backend, _ = get_active_backend()
    return backend if type(backend).__name__ == "DaskDistributedBackend" else None
