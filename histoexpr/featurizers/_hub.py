"""Weight files of the model hub: from its cache, or asked for with bounded patience."""

import threading
import urllib.request
from concurrent.futures import Future
from pathlib import Path

from ..exceptions import FileError, MissingFileError

PATIENCE = 10  # seconds until the hub counts as out of reach; its own client retries for 45
TIMEOUT = 5  # seconds, of one connection


def hub_file(repo, filenames):
    """The first of these files that a hub repository has, downloaded if need be.

    A file in the cache is taken as it is, without asking the hub.

    Parameters
    ----------
    repo : str
        ``owner/name``, or ``owner/name@revision``.
    filenames : sequence of str
        In order of preference.

    Returns
    -------
    Path

    Raises
    ------
    OSError
        If the hub cannot be reached, refuses, or has none of the files; says why.
    """
    import huggingface_hub

    repo, _, revision = repo.partition("@")
    revision = revision or None
    try:
        for name in filenames:
            cached = huggingface_hub.try_to_load_from_cache(repo, name, revision=revision)
            if isinstance(cached, str):
                return Path(cached)
        name = _within(PATIENCE, lambda: _first_present(repo, filenames, revision))
        return Path(huggingface_hub.hf_hub_download(repo, name, revision=revision))
    except Exception as error:  # the client's errors share no base class over its versions
        raise FileError(_why(error, repo)) from error


def url_file(url):
    """A weights file from a plain URL, kept in torch's cache as timm does.

    Raises
    ------
    OSError
        If it is not cached and its host cannot be reached.
    """
    from timm.models._hub import check_cached_file, download_cached_file

    address = url if isinstance(url, str) else url[0]
    if not check_cached_file(url):
        request = urllib.request.Request(address, method="HEAD")
        try:
            _within(PATIENCE, lambda: urllib.request.urlopen(request, timeout=TIMEOUT).close())
        except Exception as error:
            raise FileError(f"{address} was not reached ({_short(error)}).") from error
    return Path(download_cached_file(url))


def _first_present(repo, filenames, revision):
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    for name in filenames:
        try:
            get_hf_file_metadata(hf_hub_url(repo, name, revision=revision), timeout=TIMEOUT)
            return name
        except EntryNotFoundError:
            continue
    raise MissingFileError(f"it holds none of {', '.join(filenames)}")


def _within(seconds, call):
    """The result of ``call()``, or TimeoutError: looking a name up knows no time-out itself."""
    future = Future()

    def work():
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future.result(seconds)


def _why(error, repo):
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return (
            f"the hub refuses {repo!r} (HTTP {status}): it is gated, private or misspelt. Accept "
            "its licence on its page and log in (`hf auth login`), or get the files elsewhere."
        )
    if status is not None or isinstance(error, FileNotFoundError):
        return f"the hub does not give a file of {repo!r}: {_short(error)}."
    return f"the hub was not reached, and {repo!r} is not in its cache ({_short(error)})."


def _short(error):
    first = (str(error).strip().splitlines() or [""])[0][:150].rstrip(".")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
