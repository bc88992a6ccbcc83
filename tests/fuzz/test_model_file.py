"""Model files changed at random, by an author who gets every checksum right.

Whatever is changed: a file is loaded, or refused by an exception of this library. What is loaded
may predict nonsense, or refuse to; it must not end the process.
"""

import hashlib
import io
import json
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline

from histoexpr import (
    ExpressionTargetRegressor,
    LinearProbe,
    Reg2ST,
    SpotFeatures,
    STco,
    StInfer,
    Trainer,
    load,
    save,
)
from histoexpr.exceptions import HistoexprError
from histoexpr.io import _archive
from histoexpr.io._archive import ARRAYS, CARD, MANIFEST, STRUCTURE

QUICK = Trainer(max_epochs=1)
MODELS = {
    "STco": STco(featurizer=None, trainer=QUICK, projection_dim=4, random_state=0),
    "StInfer": StInfer(featurizer=None, random_state=0),
    "Reg2ST": Reg2ST(
        hidden_dim=4, n_layers=1, n_heads=2, graph_neighbors=2, trainer=QUICK, random_state=0
    ),
    "LinearProbe": LinearProbe(featurizer=None, n_components=3, cv=2, random_state=0),
    "KNN": ExpressionTargetRegressor(KNeighborsRegressor(2, algorithm="kd_tree")),
    "Ridge": ExpressionTargetRegressor(make_pipeline(PCA(2, random_state=0), Ridge())),
}
MEMBERS = [CARD, MANIFEST, STRUCTURE, ARRAYS]

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-2, 20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.integers(0, 40).map(lambda number: {"@": number}),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    placed = {
        "positions": np.stack([np.arange(12) % 4, np.arange(12) // 4], axis=1),
        "section": np.repeat(["A", "B"], 6),
    }
    X = SpotFeatures(rng.normal(size=(12, 5)), **placed)
    return X, rng.poisson(4, size=(12, 3)).astype(float)


@pytest.fixture(scope="module")
def files(data, tmp_path_factory):
    """The members of a file of each model."""
    path = tmp_path_factory.mktemp("models") / "model.histoexpr"
    found = {}
    for name, model in MODELS.items():
        save(model.fit(*data), path)
        with zipfile.ZipFile(path) as file:
            found[name] = {member: file.read(member) for member in MEMBERS}
    return found


@pytest.fixture
def loads(data, tmp_path):
    """Writes a file, loads it and predicts."""
    path = tmp_path / "changed.histoexpr"

    def write_and_load(content):
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model = load(path)
            except HistoexprError as error:
                assert len(str(error)) < 2500
                return
            try:
                model.predict(data[0])
            except Exception:  # whatever it says: it is an exception, and not the end
                return

    return write_and_load


def zipped(members):
    """A model file of these members; checksums, and the seal, are right."""
    manifest = json.loads(members[MANIFEST])
    if isinstance(manifest, dict) and "members" in manifest:
        manifest["members"] = {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in members.items()
            if name != MANIFEST
        }
    return sealed({**members, MANIFEST: json.dumps(manifest).encode()})


def sealed(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name in sorted(members):
            file.writestr(_archive._entry(name), members[name])
        file.comment = bytes(_archive._SEAL_LENGTH)
    return with_seal(out.getvalue())


def with_seal(content):
    content = content[: -_archive._SEAL_LENGTH]
    return content + _archive._SEAL + hashlib.sha256(content).hexdigest().encode()


def places(value, path=()):
    """The path of every part of a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        if isinstance(inner, (dict, list)):
            yield from places(inner, (*path, key))
        else:
            yield (*path, key)


def changed(value, path, draw):
    """The value with the part at a path replaced, removed, doubled or swapped for another."""
    if not path:
        return draw(JSON)
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    action = draw(st.sampled_from(["replace", "remove", "nudge", "another"]))
    if action == "remove":
        del holder[path[-1]]
    elif action == "nudge" and type(holder[path[-1]]) in (int, float):
        holder[path[-1]] += draw(st.sampled_from([-1, 1, 0.5, 2**31, 2**62]))
    elif action == "another":
        parts = [part for part in places(value) if part]
        part = parts[draw(st.integers(0, len(parts) - 1))]
        other = value
        for key in part:
            other = other[key]
        holder[path[-1]] = json.loads(json.dumps(other))
    else:
        holder[path[-1]] = draw(JSON)
    return value


@given(draw=st.data(), name=st.sampled_from(sorted(MODELS)))
def test_structure(files, loads, draw, name):
    nodes = json.loads(files[name][STRUCTURE])
    for _ in range(draw.draw(st.integers(1, 3))):
        paths = list(places(nodes)) if isinstance(nodes, (list, dict)) else [()]
        nodes = changed(nodes, paths[draw.draw(st.integers(0, len(paths) - 1))], draw.draw)
    loads(zipped({**files[name], STRUCTURE: json.dumps(nodes).encode()}))


@given(draw=st.data())
def test_manifest(files, loads, draw):
    manifest = json.loads(files["KNN"][MANIFEST])
    paths = list(places(manifest))
    manifest = changed(manifest, paths[draw.draw(st.integers(0, len(paths) - 1))], draw.draw)
    loads(sealed({**files["KNN"], MANIFEST: json.dumps(manifest).encode()}))


def with_bytes(content, draw):
    """A few bytes replaced, removed or put in."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.sampled_from([0, 1, 1, 1, 4, 8]))
        content[place : place + length] = draw(st.binary(min_size=length, max_size=length + 1))
    return bytes(content)


@given(draw=st.data(), name=st.sampled_from(sorted(MODELS)), member=st.sampled_from(MEMBERS))
def test_bytes_of_members(files, loads, draw, name, member):
    members = {**files[name], member: with_bytes(files[name][member], draw.draw)}
    try:
        content = zipped(members)
    except ValueError:  # no JSON any more
        content = sealed(members)
    loads(content)


@given(draw=st.data())
def test_bytes_of_the_zip(files, loads, draw):
    content = zipped(files["Ridge"])
    at_the_end = draw.draw(st.booleans())  # the directory
    cut = len(content) - 600 if at_the_end else 0
    loads(with_seal(content[:cut] + with_bytes(content[cut:], draw.draw)))


@given(content=st.binary(max_size=300))
def test_any_bytes(loads, content):
    loads(content)
    loads(b"PK\x03\x04" + content)
