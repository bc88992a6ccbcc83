"""Finished fits on disk, so that a benchmark that was stopped goes on where it was."""

import contextlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..data._checked_arrays import load_checked, save_checked
from ..data._hashing import digest
from ..exceptions import MissingFileError
from ..utils import written_aside
from ..utils._h5ad import write_h5ad
from ..utils._hdf5 import opened_h5
from ..utils._reading import check_sparse, read_json, reading


@contextlib.contextmanager
def _damaged_is_said(path):
    with reading(repr(str(path)), "is damaged: remove it, and it is computed again"):
        try:
            yield
        except FileNotFoundError as error:  # which is no damage
            raise MissingFileError(f"{str(path)!r} was removed while it was read.") from error


def _checksum(entry):
    """Of an entry without it, as it is written in JSON: floats are the same when they are read."""
    return digest(json.dumps(entry).encode()).hex()


@dataclass(frozen=True)
class Store:
    """A folder with the results of fits, each file whole or not there.

    Attributes
    ----------
    folder : Path
        ``fits/{key}.json`` holds the scores of a reading of a fit, ``predictions/{key}.h5ad`` its
        predictions, ``features/{key}.npy`` features, ``checkpoints/{key}/`` trainings under way.
    """

    folder: Path

    def read(self, key, with_predictions):
        """What `write` was given, or None when it is not there in full.

        Parameters
        ----------
        key : str
        with_predictions : bool
            Whether predictions are asked for.

        Returns
        -------
        dict or None
        """
        if not self.has(key, with_predictions):
            return None
        with _damaged_is_said(self._fit(key)):
            entry = read_json(self._fit(key))
            if entry.pop("checksum", None) != _checksum(entry):
                raise ValueError("it is not as it was written")
            entry["scores"] = pd.DataFrame(entry["scores"])
        if with_predictions:
            import anndata

            with _damaged_is_said(self._predictions(key)):
                with opened_h5(self._predictions(key)):
                    entry["predictions"] = check_sparse(anndata.read_h5ad(self._predictions(key)))
        return entry

    def has(self, key, with_predictions):
        """Whether `read` would find it."""
        return self._fit(key).exists() and (
            not with_predictions or self._predictions(key).exists()
        )

    def write(self, key, entry):
        """Keep a reading of a finished fit.

        Parameters
        ----------
        key : str
        entry : dict
            ``scores`` is a DataFrame, ``predictions`` an AnnData or None; all else JSON.
        """
        if entry["predictions"] is not None:
            with written_aside(self._predictions(key)) as aside:
                write_h5ad(entry["predictions"], aside, compression="lzf")
        plain = {k: v for k, v in entry.items() if k != "predictions"}
        plain["scores"] = entry["scores"].to_dict("list")
        with written_aside(self._fit(key)) as aside:
            aside.write_text(json.dumps({**plain, "checksum": _checksum(plain)}))

    def features(self, key, compute):
        """Features of a key, computed when they are not there.

        Parameters
        ----------
        key : str
        compute : callable
            Without arguments; returns an ndarray of shape (n_spots, n_features).

        Returns
        -------
        ndarray of shape (n_spots, n_features)
            Mapped from the file: workers share it.
        """
        path = self.folder / "features" / f"{key}.npy"
        if not path.exists():
            save_checked(path, compute())
        with _damaged_is_said(path):
            return load_checked(path)

    def write_settings(self, protocol, settings):
        """Keep the settings of a run in words."""
        with written_aside(self.folder / f"settings_{protocol}.json") as aside:
            aside.write_text(json.dumps(settings, indent=2))

    def is_here(self):
        """Whether this process sees the folder, as a worker on another machine may not."""
        return any(self.folder.glob("settings_*.json"))

    def checkpoints(self, key):
        """The folder for trainings of a fit that is under way."""
        return self.folder / "checkpoints" / key

    def forget_checkpoints(self, key):
        """Remove them, when the fit is done."""
        shutil.rmtree(self.checkpoints(key), ignore_errors=True)

    def _fit(self, key):
        return self.folder / "fits" / f"{key}.json"

    def _predictions(self, key):
        return self.folder / "predictions" / f"{key}.h5ad"
