"""The blocks of a slide, predicted one after the other: in one pass, or in two."""

import contextlib

import numpy as np
from tqdm.auto import tqdm

from ..data._slide_parts import SectionParts


def predict_blocks(model, ahead, patches, spots, store, columns, verbose=0):
    """Fill a store with what is missing of it.

    Parameters
    ----------
    model : SlideModel
    ahead : ReadAhead
        What `patches` are cut from.
    patches : SpotPatches of shape (n_spots, out_px, out_px, 3)
    spots : SpotGrid of n_spots
    store : Blocks
    columns : ndarray of int64
        What to keep of the model's genes.
    verbose : int, default=0
    """
    missing = store.missing()
    if not missing:
        return
    blocks, two_passes = store.blocks, model.needs_two_passes
    with tqdm(total=len(patches), desc="Spots", unit="spot", disable=not verbose) as bar:
        if not two_passes:
            bar.update(len(patches) - sum(len(blocks[number]) for number in missing))
            with ahead.reading(patches.spatial, [blocks[number] for number in missing]):
                for number in missing:
                    store.put(number, model.predict(patches[blocks[number]])[:, columns])
                    bar.update(len(blocks[number]))
            return
        passes = _TwoPasses(model, store.beside("features"))
        unread = passes.features.missing()
        with ahead.reading(patches.spatial, [blocks[number] for number in unread]):
            for number, block in enumerate(blocks):
                passes.see(number, patches[block])
                bar.update(len(block))
    for number in missing:
        rows = model.around(spots, blocks[number])
        predicted = passes.predict(rows, patches[rows])
        store.put(number, predicted[np.searchsorted(rows, blocks[number])][:, columns])


class _TwoPasses:
    """First the features of all spots, which are kept; then the predictions from them.

    In between, all is known that a model compares a spot with: the features of neighbours in
    other blocks, and the mean over the slide.

    Parameters
    ----------
    model : SlideModel
    features : Blocks
        Where they are kept.
    """

    def __init__(self, model, features):
        self.features = features
        self._model, self._featurizer = model, model.featurizer
        self._parts = SectionParts()

    def see(self, number, patches):
        """The first pass over a block."""
        compute = self._featurizer.transform

        def keep(X):
            if not self.features.has(number):
                self.features.put(number, np.asarray(compute(X), dtype=np.float32))
            return np.array(self.features.load(number))

        with self._parts.adding(), self._replaced(keep):
            self._model.predict(patches)

    def predict(self, rows, patches):
        """The second pass: what the model predicts for these rows of the grid."""
        with self._parts.known(), self._replaced(lambda X: self.features.take(rows)):
            return self._model.predict(patches)

    @contextlib.contextmanager
    def _replaced(self, transform):
        self._featurizer.transform = transform
        try:
            yield
        finally:
            del self._featurizer.transform  # that of its class shows again
