"""Files that somebody made to do harm, or that were damaged: refused, with nothing run or written.

The author of such a file knows the format, and gets every checksum right.
"""

import json
import pickle
import stat
import zipfile

import numpy as np
import pytest
import timm
from forge import as_bytes, forged, pack, put_first, rezip, seal, state_of, unpack

import histoexpr
from histoexpr.exceptions import InputError
from histoexpr.io import _archive
from histoexpr.io._archive import ARRAYS, STRUCTURE


class Bomb:
    """What pickle turns into a call."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return open, (str(self.canary), "w")


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A place for a file, alone in its folder, from which nothing may be written anywhere."""
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder / "model.histoexpr"
    assert [p.name for p in folder.iterdir()] == ["model.histoexpr"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def refuse(path, match):
    with pytest.raises(InputError, match=match) as caught:
        histoexpr.load(path)
    assert str(path) in str(caught.value) and str(caught.value).endswith(".")


# Damage


def test_cut_short_anywhere(path, retriever):
    histoexpr.save(retriever, path)
    whole = path.read_bytes()
    for n_bytes in [0, 1, 3, 4, 30, *range(50, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:n_bytes])
        refuse(path, "cut short|no model file")
    path.write_bytes(whole + b"\0")
    refuse(path, "cut short, or another kind of zip")


def test_a_flipped_bit_anywhere(path, retriever):
    histoexpr.save(retriever, path)
    whole = path.read_bytes()
    ends = [*range(60), *range(len(whole) - 300, len(whole))]  # headers, directory and seal
    for place in [*ends, *range(60, len(whole), 31)]:
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        refuse(path, "checksum|cut short|no model file")


def test_members_that_the_manifest_does_not_vouch_for(path, retriever):
    histoexpr.save(retriever, path)
    manifest, nodes, arrays = unpack(path)
    pack(path, manifest, nodes, arrays)
    listed = unpack(path)[0]["members"]
    for change in (
        {**listed, STRUCTURE: {**listed[STRUCTURE], "sha256": "0" * 64}},
        {**listed, ARRAYS: {**listed[ARRAYS], "bytes": 3}},
        {**listed, "more": listed[ARRAYS]},
        {},
        None,
        [1],
    ):
        with zipfile.ZipFile(path) as file:
            members = {name: file.read(name) for name in file.namelist()}
        members["manifest.json"] = json.dumps({**manifest, "members": change}).encode()
        with zipfile.ZipFile(path, "w") as file:
            for name, data in members.items():
                file.writestr(_archive._entry(name), data)
            file.comment = bytes(_archive._SEAL_LENGTH)
        seal(path)
        refuse(path, "not as the manifest has it|lists members that are not there")


# Pickles, zips


def test_a_pickle_is_not_opened(path, tmp_path):
    canary = tmp_path / "canary"
    for data in (pickle.dumps(Bomb(canary)), b"PK\x03\x04" + pickle.dumps(Bomb(canary))):
        path.write_bytes(data)
        refuse(path, "can run any code|cut short")
    assert not canary.exists()


def test_a_pickle_in_place_of_a_member(path, retriever, tmp_path):
    bomb = pickle.dumps(Bomb(tmp_path / "canary"))
    histoexpr.save(retriever, path)
    manifest, nodes, arrays = unpack(path)
    for members in (
        {"README.md": bomb, STRUCTURE: bomb, ARRAYS: bomb},
        {"README.md": bomb, STRUCTURE: as_bytes(nodes), ARRAYS: bomb},
    ):
        _archive.write_archive(path, manifest, members)
        refuse(path, "not to be read as JSON|not as safetensors writes it")
    _archive.write_archive(path, manifest, {**members, "evil.pkl": bomb})
    refuse(path, r"its members are .*'evil.pkl'")


NAMES = ["README.md", ARRAYS, "manifest.json", STRUCTURE]


@pytest.mark.parametrize(
    "names",
    [
        ["../evil.py", *NAMES[1:]],
        ["/etc/evil", *NAMES],
        [*NAMES, "README.md"],
        [*NAMES, "a" * 60_000],
        NAMES[:3],
        [],
        ["readme.md", *NAMES[1:]],
        [*NAMES, "folder/"],
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_other_members(path, names):
    rezip(path, names)
    refuse(path, "its members are|cut short|no model file")


def test_members_that_are_no_plain_files(path):
    rezip(path, NAMES, attributes=(stat.S_IFLNK | 0o777) << 16)
    refuse(path, "not stored as plain data")
    rezip(path, NAMES, compression=zipfile.ZIP_DEFLATED)
    refuse(path, "not stored as plain data")


def test_sizes_that_the_file_does_not_have(path):
    """A zip bomb says that a member is larger than the file."""
    rezip(path, NAMES)
    data = bytearray(path.read_bytes())
    for place in range(len(data) - 4):
        if data[place : place + 4] == b"PK\x01\x02":  # an entry of the directory
            data[place + 20 : place + 28] = 2 * (2**32 - 2).to_bytes(4, "little")
    path.write_bytes(data)
    seal(path)
    refuse(path, "claims 4294967294 bytes")


def test_a_limit_of_size(path, retriever):
    histoexpr.save(retriever, path)
    with pytest.raises(InputError, match="more than max_bytes=100"):
        histoexpr.load(path, max_bytes=100)


# Manifests


@pytest.mark.parametrize(
    "change, message",
    [
        ({"format_version": 2}, "format 2.*reads up to 1: upgrade histoexpr"),
        ({"format_version": "1"}, "not that of a model"),
        ({"format_version": True}, "not that of a model"),
        ({"format_version": -1}, "not that of a model"),
        ({"format": "other"}, "not that of a model"),
        ({"model": None}, "states another class"),
        ({"model": {"class": "histoexpr.retrieval.SpotRetriever"}}, "states another genes"),
    ],
)
def test_manifests(path, retriever, change, message):
    forged(path, retriever, lambda manifest, nodes, arrays: manifest.update(change))
    refuse(path, message)


def test_other_versions_are_told(path, retriever):
    def older(manifest, nodes, arrays):
        manifest["versions"]["scikit-learn"] = "0.1"

    forged(path, retriever, older)
    with pytest.warns(UserWarning, match=r"scikit-learn 0\.1 \(here .*its predictions may differ"):
        histoexpr.load(path)


# Structures


def with_nodes(path, retriever, data, match):
    """A file that has these nodes."""
    histoexpr.save(retriever, path)
    manifest, _, _ = unpack(path)
    pack(path, manifest, data, {})
    refuse(path, match)


@pytest.mark.parametrize(
    "name",
    [
        "os.system", "builtins.eval", "builtins.open", "subprocess.Popen", "joblib.Memory",
        "sklearn.preprocessing.FunctionTransformer", "histoexpr.io.load", "sklearn.base.os",
        "histoexpr.methods.np", "histoexpr.nn.EndToEnd", "torch.nn.Module", "", ".", "STco", None,
        ["histoexpr.methods.STco"], {"a": 1}, 3, "histoexpr.methods", "sklearn.neighbors.KDTree",
        "torch.nn.Linear.__class__", "histoexpr.methods._linear_probe.pearson_per_gene",
    ],
)  # fmt: skip
def test_names_that_are_not_on_the_list(path, retriever, name):
    for kind in ("object", "module"):
        payload = {"class": name, "state": {}}
        if kind == "module":
            rest = "attributes parameters buffers transient modules".split()
            payload = {"class": name, "training": False} | {part: {} for part in rest}
        with_nodes(path, retriever, [[kind, payload]], "not among|is no module")
    with_nodes(path, retriever, [["function", name]], "not among")
    with_nodes(path, retriever, [["type", str(name)]], r"node 0 \(type\)")


DEEP = b"[" * 200_000 + b"]" * 200_000


@pytest.mark.parametrize(
    "data, message",
    [
        (DEEP, "not to be read as JSON"),
        (b'{"a":' * 200_000, "not to be read as JSON"),
        (b"[NaN]", "not to be read as JSON.*NaN"),
        (b'[["dict", {"a": 1, "a": 2}]]', "a name stands there twice"),
        (b"[1e999]", "node 0"),
        (b"[" + b"9" * 5000 + b"]", "not to be read as JSON"),
        (b"\xff\xfe", "not to be read as JSON"),
        ([], "belong to nothing"),
        ({}, "a list is expected, not a dict"),
        ([None], r"node 0 \(None\)"),
        ([["list"]], r"node 0 \(list\)"),
        ([["lists", []]], r"node 0 \(lists\)"),
        ([[["list"], []]], "node 0"),
        ([["list", "abc"]], "a list is expected, not a str"),
        ([["list", [{"@": 0}]]], "refers to no earlier node"),
        ([["list", [{"@": 1}]], ["list", [{"@": 0}]]], "refers to no earlier node"),
        ([["list", []], ["list", [{"@": -1}]]], "refers to no earlier node"),
        ([["list", []], ["list", [{"@": True}]]], "refers to no earlier node"),
        ([["list", []], ["list", [{"@": 0, "x": 0}]]], "node 1"),
        ([["list", []], ["list", []]], "belong to nothing"),
        ([["list", [1]]], "holds a list, not an estimator"),
        ([["dict", [["a", 1], ["a", 2]]]], "a key stands there twice"),
        ([["list", []], ["dict", [[{"@": 0}, 1]]]], "unhashable"),
        ([["path", 3]], "a str is expected"),
        ([["device", "gpu!"]], r"node 0 \(device\)"),
        ([["slice", {"start": 0}]], "are expected"),
        ([["strings", {"shape": [2], "values": ["a"]}]], "do not fill the shape"),
        ([["strings", {"shape": [-1], "values": ["a"]}]], "a whole number from 0"),
        ([["strings", {"shape": [2], "values": ["a", 1]}]], "strings are expected"),
        ([["strings", {"shape": [40_000], "values": ["a"] * 39_999 + ["b" * 10**6]}]], "memory"),
        ([["array", {"name": "a", "dtype": "<f4", "shape": [1], "order": "C"}]], "no array 'a'"),
        ([["array", {"name": "a", "dtype": "|O8", "shape": [1], "order": "C"}]], "no type of num"),
        ([["tensor", {"name": "a", "dtype": "float32", "shape": [1]}]], "no array 'a'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_structures_that_are_no_model(path, retriever, data, message):
    with_nodes(path, retriever, data, message)


def test_few_nodes_that_unfold_to_very_many(path, retriever):
    nodes = [["list", []]] + [["list", [{"@": i}, {"@": i}]] for i in range(60)]
    with_nodes(path, retriever, nodes, "unfolds to more than a model is made of")
    nodes = [["tuple", []]] + [["tuple", [{"@": i}]] for i in range(2000)]
    with_nodes(path, retriever, nodes, "unfolds to more than a model is made of")


ONE = {"a": np.zeros(4, np.float32)}


@pytest.mark.parametrize(
    "arrays, payload, message",
    [
        (ONE, {"dtype": "<f8", "shape": [4]}, "was to be float64"),
        (ONE, {"dtype": "<f4", "shape": [2, 2]}, "was to be float32 of shape"),
        (ONE, {"dtype": "<f4", "shape": [2**62, 2**62]}, "was to be float32 of shape"),
        (ONE, {"dtype": ">f4", "shape": [4]}, "was to be >f4"),
        ({"a": np.zeros(16, np.uint8)}, {"dtype": ">f4", "shape": [5]}, "node 0"),
        ({"a": np.zeros(15, np.uint8)}, {"dtype": ">f4", "shape": [4]}, "node 0"),
        ({**ONE, "b": ONE["a"]}, {"dtype": "<f4", "shape": [4]}, "belong to nothing: .'b'"),
    ],
)
def test_arrays_that_are_not_as_the_structure_says(path, retriever, arrays, payload, message):
    histoexpr.save(retriever, path)
    nodes = [["array", {"name": "a", "order": "C", **payload}]]
    pack(path, unpack(path)[0], nodes, arrays)
    refuse(path, message)


def sparse(indices, indptr, shape):
    arrays = {"data": np.ones(2), "indices": np.array(indices), "indptr": np.array(indptr)}
    nodes = [
        ["array", {"name": n, "dtype": a.dtype.str, "shape": list(a.shape), "order": "C"}]
        for n, a in arrays.items()
    ]
    parts = [{"@": 0}, {"@": 1}, {"@": 2}]
    matrix = {"format": ["csr", "matrix"], "shape": shape, "parts": parts}
    return [*nodes, ["sparse", matrix]], arrays


@pytest.mark.parametrize(
    "indices, indptr, shape",
    [
        ([0, 10**9], [0, 1, 2], [2, 3]),
        ([0, -5], [0, 1, 2], [2, 3]),
        ([0, 1], [0, 99, 2], [2, 3]),
        ([0, 1], [0, 2], [2, 3]),
        ([0, 1], [0, 1, 2], [2, -1]),
        ([0.0, 1.0], [0, 1, 2], [2, 3]),
    ],
)
def test_sparse_matrices_that_point_outside(path, retriever, indices, indptr, shape):
    histoexpr.save(retriever, path)
    pack(path, unpack(path)[0], *sparse(indices, indptr, shape))
    refuse(path, r"node 3 \(sparse\)")


def test_a_random_state_beyond_its_numbers(path):
    """NumPy believes the position, and would read what lies behind."""
    from sklearn.dummy import DummyRegressor

    def beyond(manifest, nodes, arrays):
        next(payload for kind, payload in nodes if kind == "random_state")["position"] = 10**6

    model = DummyRegressor(constant=np.random.RandomState(0))
    forged(path, model, beyond)
    refuse(path, "a whole number from 0 to 624 is expected, not 1000000")


# Objects that do not hold together


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("predict", 1, "SpotRetriever.predict is the class's own"),
        ("_parameter_constraints", None, "_parameter_constraints is the class's own"),
        ("_defaults", 1, "_defaults is the class's own"),
        ("__class__", 1, "'__class__' is no attribute"),
        ("a b", 1, "'a b' is no attribute"),
        ("metric", "manhattan", "The 'metric' parameter of SpotRetriever"),
        ("n_features_in_", 5, "embeddings_ have another width"),
        ("n_features_in_", -1, "n_features_in_ is -1"),
        ("n_outputs_", 7, "n_outputs_ is 7, but 2 genes are named"),
        ("units_", 1, "units_ is 1"),
        ("_dtype", "float64", "_dtype is 'float64'"),
        ("_one_dimensional", True, "_one_dimensional is True"),
        ("embeddings_", None, "embeddings_ are no matrix"),
        ("targets_", [], "node"),
    ],
)
def test_attributes_that_do_not_go_together(path, retriever, name, value, message):
    def change(manifest, nodes, arrays):
        if value is not None or name.startswith("_"):
            state_of(nodes, "SpotRetriever")[name] = value
            return None
        number = state_of(nodes, "SpotRetriever")[name]["@"]
        old = nodes[number][1]
        arrays[old["name"]] = arrays[old["name"]].astype(np.float64)
        old["dtype"] = "<f8"
        return None

    forged(path, retriever, change)
    refuse(path, message)


@pytest.fixture
def approximate():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1100, 4)), rng.normal(size=(1100, 2))
    return histoexpr.SpotRetriever(3, index="ivf", recall=0.9).fit(X, y)


def test_an_index_is_built_again_unless_it_is_trusted(path, approximate):
    """FAISS would believe whatever bytes say that they are an index."""
    queries = approximate.embeddings_[:9]
    expected = approximate.predict(queries)
    histoexpr.save(approximate, path)
    loaded = histoexpr.load(path)
    assert not hasattr(loaded, "_index")
    np.testing.assert_array_equal(loaded.predict(queries), expected)
    trusted = histoexpr.load(path, trusted=[histoexpr.SpotRetriever])
    assert hasattr(trusted, "_index")
    np.testing.assert_array_equal(trusted.predict(queries), expected)

    def nonsense(manifest, nodes, arrays):
        name = next(name for name in arrays if name.startswith("_index"))
        arrays[name][:] = 255

    forged(path, approximate, nonsense)
    np.testing.assert_array_equal(histoexpr.load(path).predict(queries), expected)


def test_orders_to_faiss_need_trust(path, retriever):
    retriever.index = "IVF4096,Flat"
    histoexpr.save(retriever, path)
    refuse(path, r"an order to FAISS itself.*trusted=\[histoexpr.SpotRetriever\]")
    assert histoexpr.load(path, trusted=[histoexpr.SpotRetriever]).index == "IVF4096,Flat"


def test_targets_of_other_spots(path, retriever):
    def fewer(manifest, nodes, arrays):
        payload = nodes[state_of(nodes, "SpotRetriever")["targets_"]["@"]][1]
        payload["shape"][0] -= 1
        arrays[payload["name"]] = arrays[payload["name"]][1:]

    forged(path, retriever, fewer)
    refuse(path, "targets_ have shape .* beside 8 embeddings_")


def array_of(nodes, path):
    return next(p for kind, p in nodes if kind in ("array", "parameter") and p["name"] == path)


@pytest.mark.parametrize(
    "model, name, message",
    [
        ("STco", "module_.image_encoder.projection.weight", "layers of module_ do not fit"),
        ("Reg2ST", "module_.expression_head.3.weight", "layers of module_ do not fit"),
        ("KNN", "regressor_._fit_X", "_fit_X has shape"),
        ("Ridge", "regressor_.steps[1][1].coef_", "coef_ has shape"),
        ("ContrastiveEnsemble", "members_.linear.rotations_", "heads take"),
    ],
)
def test_weights_that_do_not_fit_each_other(path, fitted, model, name, message):
    """Compiled code would read beyond them."""

    def narrower(manifest, nodes, arrays):
        payload = array_of(nodes, name)
        axis = 0 if payload["name"].endswith("rotations_") else -1
        cut = np.delete(arrays[name], 0, axis=axis)
        arrays[name] = np.ascontiguousarray(cut)
        payload["shape"] = list(cut.shape)
        if "order" in payload:
            payload["order"] = "C"

    forged(path, fitted[model][0], narrower)
    refuse(path, message)


@pytest.mark.parametrize(
    "state, name, value, message",
    [
        ("BackboneSpec", "architecture", "hf-hub:evil/model", "no plain name of timm's"),
        ("BackboneSpec", "architecture", "../evil", "no plain name of timm's"),
        ("BackboneSpec", "more", 1, "not the fields of BackboneSpec"),
        ("TimmFeaturizer", "cache", "folder", "cache names a folder"),
        ("TimmFeaturizer", "n_features_out_", "many", "n_features_out_ is 'many'"),
        ("TrainingPatches", "mpp", "0.5", "mpp is '0.5'"),
        ("Trainer", "checkpoint_dir", "folder", "checkpoint_dir names a folder"),
        ("Pipeline", "memory", "folder", "memory names a folder"),
        ("_StainMap", "method", "macenko", "no array of shape"),
    ],
)
def test_what_would_reach_beyond_computing(path, fitted, state, name, value, message):
    """A hub, a file of weights, a folder to write to or to unpickle from."""

    def change(manifest, nodes, arrays):
        state_of(nodes, state)[name] = value

    forged(path, fitted["Pipeline"][0], change)
    refuse(path, message)


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("url", "https://example.org/resnet50_a1.pth", "does not have the address"),
        ("hf_hub_id", "../../folder", "no name on a hub"),
        ("hf_hub_filename", "/etc/passwd", "no name on a hub"),
        ("file", "weights.pth", "names a file of weights"),
    ],
)
def test_weights_from_elsewhere(path, fitted, name, value, message):
    """What comes from an address would stay in torch's cache, under the name of honest weights."""

    def change(manifest, nodes, arrays):
        config = nodes[state_of(nodes, "BackboneSpec")["config"]["@"]][1]
        config[:] = [pair for pair in config if pair[0] not in (name, "hf_hub_id")]
        config.append([name, value])

    forged(path, fitted["Pipeline"][0], change)
    refuse(path, message)


def test_addresses_that_timm_has(path, fitted):
    def change(manifest, nodes, arrays):
        spec = state_of(nodes, "BackboneSpec")
        spec["architecture"] = "gcvit_tiny"
        config = nodes[spec["config"]["@"]][1]
        config[:] = [pair for pair in config if pair[0] not in ("url", "hf_hub_id")]
        config.append(["url", timm.models.get_pretrained_cfg("gcvit_tiny.in1k").url])

    forged(path, fitted["Pipeline"][0], change)
    assert histoexpr.load(path)[1]._spec.architecture == "gcvit_tiny"


@pytest.mark.parametrize("owner", ["BackboneSpec.model_args", "TimmFeaturizer.model_kwargs"])
def test_arguments_that_make_timm_read_files(path, fitted, owner):
    def change(manifest, nodes, arrays):
        put_first(nodes, ["dict", [["checkpoint_path", "evil.pth"]]])
        state, _, name = owner.partition(".")
        state_of(nodes, state)[name] = {"@": 0}

    forged(path, fitted["Pipeline"][0], change)
    refuse(path, r"holds \['checkpoint_path'\], which would read a file")
