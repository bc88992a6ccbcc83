"""Model files of a hostile author, who knows the format and gets every checksum right."""

import hashlib
import json
import zipfile

from safetensors import numpy as safetensors

from histoexpr import save
from histoexpr.io import _archive
from histoexpr.io._archive import ARRAYS, STRUCTURE


def seal(path):
    """Put the right seal on a zip whose comment has its length."""
    data = path.read_bytes()[: -_archive._SEAL_LENGTH]
    path.write_bytes(data + _archive._SEAL + hashlib.sha256(data).hexdigest().encode())


def unpack(path):
    """Manifest, nodes and arrays of a file."""
    with zipfile.ZipFile(path) as file:
        manifest = json.loads(file.read("manifest.json"))
        nodes = json.loads(file.read(STRUCTURE))
        return manifest, nodes, safetensors.load(file.read(ARRAYS))


def pack(path, manifest, nodes, arrays):
    """A file of them, with all its checksums."""
    members = {"README.md": b"", STRUCTURE: as_bytes(nodes), ARRAYS: safetensors.save(arrays)}
    _archive.write_archive(path, manifest, members)


def as_bytes(value):
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def forged(path, model, change):
    """Save a model, and let ``change(manifest, nodes, arrays)`` change what is in the file."""
    save(model, path)
    manifest, nodes, arrays = unpack(path)
    changed = change(manifest, nodes, arrays)
    pack(path, *(changed or (manifest, nodes, arrays)))
    return path


def state_of(nodes, name):
    """The state of the object of a class, the last one of it in a file."""
    objects = [payload for kind, payload in nodes if kind == "object"]
    return [o["state"] for o in objects if o["class"].endswith(f".{name}")][-1]


def put_first(nodes, node):
    """Make a node the first one, to which {"@": 0} refers."""
    nodes[:] = [node, *_one_further(nodes)]


def _one_further(value):
    if isinstance(value, list):
        return [_one_further(item) for item in value]
    if isinstance(value, dict):
        if set(value) == {"@"}:
            return {"@": value["@"] + 1}
        return {key: _one_further(item) for key, item in value.items()}
    return value


def rezip(path, names, *, attributes=0o644 << 16, compression=zipfile.ZIP_STORED):
    """A sealed zip of members of these names."""
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, attributes
            entry.compress_type = compression
            file.writestr(entry, b"{}" + bytes(100_000 if compression else 0))
        file.comment = bytes(_archive._SEAL_LENGTH)
    seal(path)
    return path
