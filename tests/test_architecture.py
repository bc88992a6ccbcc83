"""The shape of the package: imports go one way, keys and FAISS have one home each."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import histoexpr

PACKAGE = Path(histoexpr.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# A file imports only from what stands before its own place.
LAYERS = (
    "_version exceptions _keys _types utils data nn preprocessing metrics featurizers "
    "training retrieval datasets _spots _folds _featurized _inside io base calibration "
    "methods model_selection plotting slides report cli testing"
).split()

LAZY = {"scanpy", "anndata", "pandas", "timm", "faiss", "matplotlib", "torch", "sklearn", "skimage"}


def layer(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """(package, names) of each import in a file; the package in full."""
    parents = ["histoexpr", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield name, [alias.name for alias in node.names]


def imported_layers(path):
    for module, names in imports(path):
        parts = module.split(".")
        if parts[0] == "histoexpr":
            yield from [parts[1]] if len(parts) > 1 else names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    if path == PACKAGE / "__init__.py":
        return
    own = LAYERS.index(layer(path))
    later = {name for name in imported_layers(path) if LAYERS.index(name) > own}
    assert not later, f"{layer(path)} stands before {sorted(later)}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_readable(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    calls = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)]
    assert not [c for c in calls if getattr(c.func, "id", None) == "print"], "use logging"


def test_faiss_has_one_home():
    users = {layer(path) for path in FILES for name, _ in imports(path) if name == "faiss"}
    assert users == {"retrieval"}


def test_torch_code_knows_no_anndata_and_no_sklearn():
    for path in (PACKAGE / "nn").glob("*.py"):
        packages = {name.partition(".")[0] for name, _ in imports(path)}
        assert not packages & {"sklearn", "anndata", "scanpy", "pandas"}, path.name


def test_keys_of_anndata_have_one_home():
    from histoexpr import _keys

    keys = {value for name, value in vars(_keys).items() if name.isupper()} - {_keys.UNS}
    for path in FILES:
        if path.name == "_keys.py":
            continue
        found = [
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and node.value in keys
        ]
        assert not found, f"{path.relative_to(PACKAGE)} spells {found}: use histoexpr._keys"


def test_import_costs_nothing():
    code = "import sys, histoexpr; print(*{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not LAZY & set(loaded.stdout.split())


LATER = {"anndata", "scanpy", "timm", "matplotlib", "skimage", "tifffile", "h5py", "zarr", "dask"}


def test_a_name_loads_what_it_is_made_of_and_no_more():
    """Readers, networks and pictures come with a call; torch and FAISS not with the data."""
    names = sorted(histoexpr._HOME, key=lambda name: LAYERS.index(histoexpr._HOME[name]))
    code = (
        "import sys, histoexpr\n"
        "for name in sys.argv[1:]:\n"
        "    getattr(histoexpr, name)\n"
        "    print(name, *{module.partition('.')[0] for module in sys.modules})"
    )
    names += sorted(histoexpr._SUBMODULES)
    command = [sys.executable, "-c", code, *names]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    loaded = {name: set(modules) for name, *modules in map(str.split, shown.splitlines())}
    assert list(loaded) == names
    for name, modules in loaded.items():
        early = {"torch", "faiss"} if histoexpr._HOME.get(name) == "data" else set()
        assert not modules & (LATER | early), name


def test_everything_public_is_reachable():
    for name in histoexpr.__all__:
        assert getattr(histoexpr, name) is not None
        assert name in dir(histoexpr)
    with pytest.raises(AttributeError, match="no attribute 'STCO'"):
        histoexpr.STCO


def documented():
    """Everything public, and its own methods."""
    for name in histoexpr.__all__:
        thing = getattr(histoexpr, name)
        yield name, thing
        if isinstance(thing, type):
            yield from ((f"{name}.{k}", getattr(thing, k)) for k in dir(thing) if k[0] != "_")


def test_no_docstring_is_left_unfilled():
    for name, thing in documented():
        unfilled = re.findall(r"^ *\{\w+\}$", getattr(thing, "__doc__", None) or "", re.MULTILINE)
        assert not unfilled, f"{name}: {unfilled}"
