"""Features once: what was computed is found again, to the bit, and nothing else is."""

import errno
import os
import pickle
import threading
import time
import warnings
from pathlib import Path

import cache_stress
import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline

from histoexpr import (
    ContextFeaturizer,
    FeatureCache,
    STco,
    StainNormalizer,
    TextureFeaturizer,
    TimmFeaturizer,
    Trainer,
)
from histoexpr.data import SpotPatches, open_slide
from histoexpr.featurizers import _cache, _cache_folder, clear_feature_cache
from histoexpr.featurizers._cache_block import encode
from histoexpr.featurizers._cache_folder import FolderStore
from histoexpr.slides._ahead import ReadAhead

NAME = bytes(range(16))


def rows(n, start=0, width=12):
    """Keys with features, for a store."""
    return {cache_stress.KEYS[i]: cache_stress.row(NAME, cache_stress.KEYS[i])[:width]
            for i in range(start, start + n)}  # fmt: skip


def texture(**params):
    return TextureFeaturizer(("stain",), **params)


def resnet(**params):
    defaults = {
        "pretrained": False, "random_state": 0, "input_size": 32, "precision": "float32",
    }  # fmt: skip
    return TimmFeaturizer("test_resnet", **defaults | params)


@pytest.fixture
def counted(monkeypatch):
    """How many patches were computed, call by call."""
    found = []
    for featurizer in (TextureFeaturizer, TimmFeaturizer):

        def compute(self, X, original=featurizer._compute_features):
            found.append(len(X))
            return original(self, X)

        monkeypatch.setattr(featurizer, "_compute_features", compute)
    return found


def section(seed, side=120):
    coarse = np.random.default_rng(seed).integers(60, 220, (side // 8, side // 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sections")
    for seed, name in enumerate("AB"):
        Image.fromarray(section(seed)).save(folder / f"{name}.png")
    return {name: folder / f"{name}.png" for name in "AB"}


@pytest.fixture
def X(files):
    """Ten spots of two sections, one after the other."""
    spatial = 20 + 8.0 * np.arange(20).reshape(10, 2) % 80
    return SpotPatches.from_images(
        files, spatial, section=list("ABABABABAB"), mpp=1.0, patch_size="24px", out_px=32
    )


# --- a hit is a miss, to the bit --------------------------------------------------------------


@pytest.mark.parametrize("make", [texture, resnet])
@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_what_was_computed_is_found_again(make, kind, X, tmp_path, counted):
    cache = FeatureCache(tmp_path / "features" if kind == "folder" else None)
    expected = make(cache=None).fit(X).transform(X)
    counted.clear()
    featurizer = make(cache=cache).fit(X)
    first = featurizer.transform(X)
    assert counted == [len(X)]
    again = clone(featurizer).fit(X[4:]).transform(X)  # other spots at fit: another fold
    assert counted == [len(X)]
    for features in (first, again):
        assert features.dtype == np.float32
        np.testing.assert_array_equal(features, expected)
    again[:] = 0  # what is returned is the caller's
    np.testing.assert_array_equal(featurizer.transform(X), expected)


def test_only_what_is_missing_is_computed(X, counted):
    featurizer = texture(cache=FeatureCache()).fit(X)
    expected = texture(cache=None).fit(X).transform(X)
    counted.clear()
    np.testing.assert_array_equal(featurizer.transform(X[[7, 2]]), expected[[7, 2]])
    order = np.array([9, 2, 2, 0, 7, 9])
    np.testing.assert_array_equal(featurizer.transform(X[order]), expected[order])
    assert counted == [2, 2]
    np.testing.assert_array_equal(featurizer.transform(X), expected)
    assert counted == [2, 2, 6]


def test_arrays_are_known_by_their_pixels(X, counted):
    featurizer = texture(cache=FeatureCache()).fit(X)
    patches = np.asarray(X)
    features = featurizer.transform(patches)
    np.testing.assert_array_equal(featurizer.transform(SpotPatches.from_arrays(patches)), features)
    np.testing.assert_array_equal(featurizer.transform(patches[::-1].copy()), features[::-1])
    assert counted == [len(X)]
    patches[3] = 255 - patches[3]
    changed = featurizer.transform(patches)
    assert counted == [len(X), 1]
    np.testing.assert_array_equal(np.delete(changed, 3, 0), np.delete(features, 3, 0))
    assert (changed[3] != features[3]).any()


def test_large_X_is_looked_up_part_by_part(X, counted, monkeypatch):
    expected = texture(cache=None).fit(X).transform(X)
    monkeypatch.setattr(_cache, "_SPOTS", 4)
    monkeypatch.setattr(_cache, "_PATCHES", 3)
    for images in (X, np.asarray(X)):
        counted.clear()
        featurizer = texture(cache=FeatureCache()).fit(images)
        np.testing.assert_array_equal(featurizer.transform(images), expected)
        np.testing.assert_array_equal(featurizer.transform(images), expected)
        assert sum(counted) == len(X) and max(counted) <= 4


# --- what misses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"random_state": 1},
        {"pooling": "stages"},
        {"precision": "bfloat16"},
        {"input_size": 48},
        {"mean": 0.3},
        {"model_kwargs": {"drop_rate": 0.5}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_network_misses(change, X, counted):
    cache = FeatureCache()
    resnet(cache=cache).fit(X).transform(X)
    resnet(cache=cache, **change).fit(X).transform(X)
    assert counted == [len(X)] * 2
    resnet(cache=cache, batch_size=4, verbose=0).fit(X).transform(X)  # these do not decide
    assert counted == [len(X)] * 2


def test_the_versions_of_what_computes_count(X, counted, monkeypatch):
    cache = FeatureCache()
    texture(cache=cache).fit(X).transform(X)
    monkeypatch.setattr("histoexpr.featurizers._feature_keys._version", lambda name: "99")
    texture(cache=cache).fit(X).transform(X)
    assert counted == [len(X)] * 2


@pytest.mark.parametrize("change", [{"features": ("stain", "lbp")}, {"levels": 8}])
def test_another_texture_misses(change, X, counted):
    cache = FeatureCache()
    texture(cache=cache).fit(X).transform(X)
    texture(cache=cache).set_params(**change).fit(X).transform(X)
    assert counted == [len(X)] * 2


def test_what_cannot_be_told_apart_is_not_kept(X, counted):
    class Inverted(TextureFeaturizer):
        """It may do anything."""

    cache = FeatureCache()
    kinds = [Inverted(("stain",), cache=cache), resnet(cache=cache, model_kwargs={"a": print})]
    kinds[1].set_params(model_kwargs={"act_layer": _activation})
    for featurizer in kinds:
        for _ in range(2):
            featurizer.fit(X).transform(X)
    assert counted == [len(X)] * 4 and cache.n_bytes == 0


def _activation(inplace=False):
    from torch import nn

    return nn.ReLU()


def test_trained_networks_are_not_kept(X):
    cache = FeatureCache()
    trained = resnet(cache=cache, trainable=True, freeze_batch_norm=False)
    model = STco(trained, trainer=Trainer(max_epochs=1), random_state=0)
    model.fit(X, np.random.default_rng(0).random((len(X), 4), dtype=np.float32))
    model.featurizer_.transform(X)
    assert cache.n_bytes == 0


def test_a_file_that_has_changed_is_refused_and_a_new_one_misses(tmp_path, counted):
    path = tmp_path / "section.png"
    Image.fromarray(section(0)).save(path)

    def images():
        return SpotPatches.from_images(path, [[60, 60]] * 2, patch_size="24px")

    X = images()
    featurizer = texture(cache=FeatureCache()).fit(X)
    features = featurizer.transform(X)
    Image.fromarray(section(1)).save(path)
    os.utime(path, ns=(0, 0))
    with pytest.raises(ValueError, match="has changed since"):
        featurizer.transform(X)
    assert (featurizer.transform(images()) != features).any()
    assert counted == [1, 1]  # equal spots are one


# --- in scikit-learn --------------------------------------------------------------------------


def test_clones_share_and_pickles_are_empty(X, counted, tmp_path):
    memory, folder = FeatureCache(), FeatureCache(tmp_path, max_bytes=10**6)
    for cache in (memory, folder):
        assert clone(cache) is cache
        featurizer = texture(cache=cache)
        assert clone(featurizer).cache is cache
        features = featurizer.fit(X).transform(X)
        assert cache.n_bytes >= features.nbytes
        loaded = pickle.loads(pickle.dumps(cache))
        assert repr(loaded) == repr(cache)
    assert len(pickle.dumps(memory)) < 200
    assert pickle.loads(pickle.dumps(memory)).n_bytes == 0
    counted.clear()
    again = pickle.loads(pickle.dumps(featurizer))
    np.testing.assert_array_equal(again.transform(X), features)
    assert counted == []  # the folder is the same


def test_parameters(X, tmp_path):
    for make in (texture, resnet, ContextFeaturizer):
        assert make().get_params()["cache"] == "memory"
        with pytest.raises(ValueError, match="'cache' parameter"):
            make(cache=3).fit(X)
    wrong = (3, None, TypeError), (None, -1, ValueError), (None, 1e9, ValueError)
    for folder, limit, error in wrong:
        with pytest.raises(error, match="must be"):
            FeatureCache(folder, limit)
    texture(cache=str(tmp_path / "a")).fit(X).transform(X)
    texture(cache=tmp_path / "b").fit(X).transform(X)
    assert FeatureCache(tmp_path / "a").n_bytes == FeatureCache(tmp_path / "b").n_bytes > 0


def test_the_memory_of_the_process(X, counted, monkeypatch):
    monkeypatch.setenv("HISTOEXPR_FEATURE_CACHE_GB", "0.001")
    _cache._memory.cache_clear()
    try:
        texture().fit(X).transform(X)
        clone(texture()).fit(X).transform(X)
        assert counted == [len(X)]
        clear_feature_cache()
        texture().fit(X).transform(X)
        assert counted == [len(X)] * 2
        monkeypatch.setenv("HISTOEXPR_FEATURE_CACHE_GB", "much")
        _cache._memory.cache_clear()
        with pytest.raises(ValueError, match="must be a number of GiB; got 'much'"):
            texture().fit(X)
    finally:
        _cache._memory.cache_clear()


def test_a_search_computes_each_spot_once(X, counted):
    y = np.random.default_rng(0).random((len(X), 4), dtype=np.float32)
    model = STco(
        resnet(cache=FeatureCache()), trainer=Trainer(max_epochs=1, batch_size=8), random_state=0
    )
    grid = {"trainer__lr": [1e-3, 1e-4], "projection_dim": [4, 8]}
    folds = GroupKFold(5)
    search = GridSearchCV(model, grid, cv=folds, error_score="raise", refit=True)
    search.fit(X, y, groups=np.arange(len(X)) // 2)
    assert sum(counted) == len(X)
    assert len(pickle.dumps(search.best_estimator_)) < 200_000  # no features in it


def test_behind_a_stain_normalizer(X, counted):
    cache = FeatureCache()
    expected = texture(cache=None).fit(X).transform(StainNormalizer().fit(X).transform(X))
    counted.clear()
    pipeline = make_pipeline(StainNormalizer(), texture(cache=cache))
    np.testing.assert_array_equal(pipeline.fit(X).transform(X), expected)
    np.testing.assert_array_equal(clone(pipeline).fit(X).transform(X), expected)
    assert counted == [len(X)]
    one = X[X.section == "A"]
    clone(pipeline).fit(one).transform(X)  # another reference: other pixels
    assert counted == [len(X)] * 2


def test_patches_changed_by_a_function_are_known_by_their_pixels(X, counted, monkeypatch):
    monkeypatch.setattr(_cache, "_PATCHES", 4)
    add, read = 0, []

    def function(patches, spots):
        read.append(len(patches))
        return patches ^ np.uint8(add)

    featurizer = texture(cache=FeatureCache()).fit(X)
    mapped = X.map(function)
    first = featurizer.transform(mapped)
    assert sum(read) == len(X)  # for the key and the features at once
    np.testing.assert_array_equal(first, texture(cache=None).fit(X).transform(X))
    np.testing.assert_array_equal(featurizer.transform(mapped), first)
    add = 15  # the same function: only its pixels tell
    assert (featurizer.transform(mapped) != first).any(axis=1).all()


def test_context_is_kept_once(X, counted):
    cache = FeatureCache()
    context = ContextFeaturizer(resnet(cache=cache), turns=4, cache=cache)
    expected = context.fit(X).transform(X)
    kept = cache.n_bytes
    assert sum(counted) == 2 * 4 * len(X)
    one = clone(context).set_params(fields_of_view=(2.0,)).fit(X)
    np.testing.assert_array_equal(one.transform(X), expected[:, expected.shape[1] // 2 :])
    assert sum(counted) == 2 * 4 * len(X) and cache.n_bytes == kept < 2 * expected.nbytes + 10**4
    clone(context).set_params(turns=1).fit(X).transform(X)
    assert sum(counted) == (2 * 4 + 2) * len(X)
    clone(context).set_params(featurizer=resnet(random_state=1)).fit(X).transform(X)
    assert sum(counted) == (2 * 4 + 2 + 2 * 4) * len(X)
    foreign = ContextFeaturizer(make_pipeline(resnet(cache=cache)), turns=1, cache=cache)
    for _ in range(2):
        foreign.fit(X).transform(X)
    assert sum(counted) == (2 * 4 + 2 + 2 * 4 + 4) * len(X)


def test_a_slide_read_ahead_is_not_kept(files):
    cache = FeatureCache()
    X = SpotPatches.from_images(ReadAhead(open_slide(files["A"])), [[60, 60]], patch_size="24px")
    texture(cache=cache).fit(X).transform(X)
    assert cache.n_bytes == 0


# --- bounds -----------------------------------------------------------------------------------


def test_the_least_recently_used_goes_first(tmp_path):
    old, used, new = rows(4), rows(4, 4), rows(4, 8)
    for cache in (FeatureCache(max_bytes=1700), FeatureCache(tmp_path, max_bytes=600)):
        store = cache._store()
        for seconds, part in enumerate((old, used)):
            store.put(NAME, part)
            for path in tmp_path.glob("*.features"):
                if path.stat().st_mtime > 10:
                    os.utime(path, (seconds, seconds))
        assert store.get(NAME, {**old, **used}) == {**old, **used}
        for seconds, path in enumerate(sorted(tmp_path.glob("*.features"))):
            os.utime(path, (0, 0))
        assert store.get(NAME, used) == used
        store.put(NAME, new)
        assert cache.n_bytes <= cache.max_bytes
        assert store.get(NAME, {**old, **used, **new}) == {**used, **new}
        cache.clear()
        assert cache.n_bytes == 0 and store.get(NAME, new) == {}


def test_small_blocks_become_one(tmp_path, monkeypatch):
    monkeypatch.setattr(_cache_folder, "_MANY", 4)
    store, reader, everything = FolderStore(tmp_path, 10**6), FolderStore(tmp_path, 10**6), rows(30)
    for start in range(30):
        store.put(NAME, rows(1, start))
        assert len(list(tmp_path.glob("*.features"))) <= 5
        assert len(reader.get(NAME, everything)) == start + 1
    assert FolderStore(tmp_path, 10**6).get(NAME, everything) == everything


def test_more_than_fits_is_computed_all_the_same(X, counted, tmp_path):
    expected = texture(cache=None).fit(X).transform(X)
    counted.clear()
    for cache in (FeatureCache(max_bytes=600), FeatureCache(tmp_path, max_bytes=600)):
        featurizer = texture(cache=cache).fit(X)
        for _ in range(2):
            np.testing.assert_array_equal(featurizer.transform(X), expected)
        assert 0 < cache.n_bytes <= 600


# --- damage -----------------------------------------------------------------------------------


def test_no_damaged_byte_is_ever_read(tmp_path):
    """Each byte of a block in turn: the row is right, or not there."""
    everything, other = rows(3), bytes(16)
    block = encode(NAME, everything)
    path = tmp_path / f"{NAME.hex()}-{other.hex()}.features"
    damaged = [bytearray(block) for _ in block]
    for place, data in enumerate(damaged):
        data[place] ^= 1
    damaged += [block[:length] for length in range(len(block))]
    damaged += [block + b"\0", b"\0" * len(block), encode(other, everything), b"\x80\x04K\x01."]
    for data in damaged:
        path.write_bytes(data)
        store = FolderStore(tmp_path, 10**6)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for key, row in everything.items():
                assert store.get(NAME, [key]).get(key, row) == row
            store.get(NAME, everything)
        assert [str(w.message).partition("are damaged")[1] for w in said] == ["are damaged"]
        assert not path.exists()


def test_damage_is_mended_and_said_once(X, counted, tmp_path):
    featurizer = texture(cache=FeatureCache(tmp_path, 10**6)).fit(X)
    features = featurizer.transform(X)
    with pytest.warns(UserWarning, match="are damaged .* computed again"):
        _damage(tmp_path)
        np.testing.assert_array_equal(featurizer.transform(X), features)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _damage(tmp_path)
        np.testing.assert_array_equal(featurizer.transform(X), features)
        np.testing.assert_array_equal(featurizer.transform(X), features)
    assert counted == [len(X)] * 3


def _damage(folder):
    for path in folder.glob("*.features"):
        path.write_bytes(path.read_bytes()[:-1])


def test_a_folder_that_is_full_costs_nothing_but_the_keeping(X, counted, tmp_path, monkeypatch):
    featurizer = texture(cache=FeatureCache(tmp_path, 10**6)).fit(X)
    half = featurizer.transform(X[:5])

    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(UserWarning, match="No space left.*Free some space"):
        features = featurizer.transform(X)
    np.testing.assert_array_equal(features[:5], half)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(featurizer.transform(X), features)
    assert counted == [5, 5]  # this process goes on in its memory
    assert len(list(tmp_path.glob("*.features"))) == 1 and not list(tmp_path.glob(".*"))


def test_a_folder_that_cannot_be_written_to(X, tmp_path, monkeypatch):
    expected = texture(cache=None).fit(X).transform(X)

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    for name in ("replace", "utime", "unlink"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.warns(UserWarning, match="Permission denied.*make it writable") as said:
        featurizer = texture(cache=FeatureCache(tmp_path, 10**6)).fit(X)
        np.testing.assert_array_equal(featurizer.transform(X), expected)
    assert len(said) == 1


def test_a_folder_that_is_not_ours_is_refused_at_fit(X, tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(ValueError, match="is no folder of features: it holds 'thesis.tex'"):
        texture(cache=tmp_path).fit(X)
    for make in (resnet, ContextFeaturizer):
        with pytest.raises(OSError, match="cannot be made or opened"):
            make(cache=tmp_path / "thesis.tex").fit(X)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_folder_of_ours_stays_ours(X, tmp_path):
    texture(cache=tmp_path).fit(X).transform(X)
    (tmp_path / "CACHEDIR.TAG").write_text("damaged")
    texture(cache=tmp_path).fit(X)
    (tmp_path / ".DS_Store").write_text("what a file browser leaves")
    texture(cache=tmp_path).fit(X)
    FeatureCache(tmp_path).clear()
    assert (tmp_path / ".DS_Store").exists() and not list(tmp_path.glob("*.features"))


def test_a_folder_that_is_removed_is_made_again(X, tmp_path):
    import shutil

    featurizer = texture(cache=tmp_path / "features").fit(X)
    features = featurizer.transform(X)
    shutil.rmtree(tmp_path / "features")
    np.testing.assert_array_equal(featurizer.transform(X), features)
    assert list((tmp_path / "features").glob("*.features"))


def test_what_a_killed_process_left_behind_is_removed(tmp_path):
    store = FolderStore(tmp_path, 10**6)
    store.put(NAME, rows(1))
    (block,) = tmp_path.glob("*.features")
    left, under_way = (tmp_path / f".{n * 32}.{block.name}" for n in "ab")
    for path in (left, under_way):
        path.write_bytes(b"half")
    os.utime(left, (0, 0))
    store.put(NAME, rows(1, 1))
    assert under_way.exists() and not left.exists()


# --- several processes ------------------------------------------------------------------------


def test_processes_that_damage_and_die_share_without_a_wrong_byte(tmp_path):
    result = cache_stress.stress(tmp_path, n_processes=3, seconds=2)
    assert result["rows"] > 0 and result["wrong"] == result["failed"] == 0
    assert result["damaged"] > 0


def test_threads_share(tmp_path):
    store, everything, wrong = FolderStore(tmp_path, 10**6), rows(300), []

    def ask():
        found = store.fill(NAME, everything, lambda missing: {k: everything[k] for k in missing})
        wrong.append(found != everything)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [False] * 4


def _compute_slowly(folder, begin=None):
    """Fill the cache; returns which keys were computed."""
    computed = []

    def compute(missing):
        if begin is not None:
            begin.set()
        time.sleep(2e-3 * len(missing))
        computed.extend(missing)
        return {key: cache_stress.row(NAME, key) for key in missing}

    keys = cache_stress.KEYS[:500]
    found = FolderStore(Path(folder), 10**7).fill(NAME, keys, compute)
    assert found == {key: cache_stress.row(NAME, key) for key in keys}
    return computed


def _compute_in_a_process(folder, begin, queue):
    queue.put(_compute_slowly(folder, begin))


def test_processes_share_the_work(tmp_path):
    context, begin = cache_stress.context, cache_stress.context.Event()
    queue = context.Queue()
    process = context.Process(target=_compute_in_a_process, args=(tmp_path, begin, queue))
    process.start()
    assert begin.wait(60)
    own, others = _compute_slowly(tmp_path), queue.get(timeout=60)
    process.join()
    assert not set(own) & set(others)
    assert sorted(own + others) == sorted(cache_stress.KEYS[:500])
    assert min(len(own), len(others)) > 100


def test_nobody_waits_for_a_process_that_was_killed(tmp_path):
    context, begin = cache_stress.context, cache_stress.context.Event()
    queue = context.Queue()
    process = context.Process(target=_compute_in_a_process, args=(tmp_path, begin, queue))
    process.start()
    assert begin.wait(60)  # it holds its first rows
    process.kill()
    process.join()
    started = time.monotonic()
    assert len(_compute_slowly(tmp_path)) == 500
    assert time.monotonic() - started < 10


def test_nobody_waits_for_ever_for_a_process_that_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(_cache_folder, "_PATIENCE", 0.2)
    keys = cache_stress.KEYS[:5]
    store = FolderStore(tmp_path, 10**6)
    monkeypatch.setattr(
        "histoexpr.featurizers._claims._take", lambda file, byte: False  # all are another's
    )
    assert store.fill(NAME, keys, lambda missing: rows(5)) == rows(5)


def test_without_locks_everything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr("histoexpr.featurizers._claims.fcntl", None)
    assert len(_compute_slowly(tmp_path)) == 500


def _transform(featurizer, X):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return featurizer.fit(X).transform(X)


def test_fits_in_processes_share_a_folder(X, tmp_path):
    featurizer = texture(cache=tmp_path)
    expected = texture(cache=None).fit(X).transform(X)
    with cache_stress.context.Pool(2) as pool:
        found = pool.starmap(_transform, [(featurizer, X), (featurizer, X), (featurizer, X[5:])])
    for features in found:
        np.testing.assert_array_equal(features, expected[-len(features) :])
    n_bytes = sum(path.stat().st_size for path in tmp_path.glob("*.features"))
    assert n_bytes < 2 * (expected.nbytes + 32 * len(X))  # none was kept twice
