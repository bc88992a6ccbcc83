"""The file of a model: a zip whose members are stored as they are, with a seal at its end.

====================== ========================================================
``README.md``          the model card
``manifest.json``      format, versions, what the model is, size and SHA-256 of members
``structure.json``     objects, parameters, small values
``arrays.safetensors`` arrays and tensors
====================== ========================================================

Nothing is compressed, so that no member can be larger than the file, and the bytes are the same
wherever a model is written. The comment of the zip holds the SHA-256 of all bytes before it.
"""

import hashlib
import json
import os
import zipfile

from ..exceptions import HistoexprError, InputError
from ..utils import written_aside

MAGIC = b"PK\x03\x04"
MANIFEST, STRUCTURE, ARRAYS, CARD = (
    "manifest.json", "structure.json", "arrays.safetensors", "README.md"
)  # fmt: skip
_SEAL = b"histoexpr model, SHA-256 of what stands before: "
_SEAL_LENGTH = len(_SEAL) + 64
_MOST_TEXT = 2**26  # bytes of a member of text: objects in memory are some 20 times larger
_BLOCK = 2**22


def write_archive(path, manifest, members):
    """Write members and their manifest, whole or not at all.

    Parameters
    ----------
    path : Path
    manifest : dict
        To which the size and checksum of each member are added, under "members".
    members : dict of str to bytes

    Raises
    ------
    ValueError
        If a member of text is larger than `read_archive` takes.
    """
    listed = {name: {"bytes": len(data), "sha256": _hash(data)} for name, data in members.items()}
    members = {**members, MANIFEST: as_json({**manifest, "members": listed}, indent=1)}
    for name in set(members) - {ARRAYS}:
        if len(members[name]) > _MOST_TEXT:
            raise InputError(
                f"{name} would have {len(members[name])} bytes, and {_MOST_TEXT} are the most that "
                "a reader takes: the model holds many small objects where arrays are expected."
            )
    with written_aside(path) as aside:
        with zipfile.ZipFile(aside, "w") as file:
            for name in sorted(members):
                file.writestr(_entry(name), members[name])
            file.comment = bytes(_SEAL_LENGTH)
        with open(aside, "r+b") as file:
            seal = _SEAL + _hash_file(file).encode()
            file.seek(-_SEAL_LENGTH, os.SEEK_END)
            file.write(seal)


def read_archive(path, max_bytes):
    """Read the members of a file, each checked against its checksum.

    Parameters
    ----------
    path : Path
    max_bytes : int

    Returns
    -------
    manifest : dict
    members : dict of str to bytes

    Raises
    ------
    ValueError
        If the file is larger than that, changed or cut short, or no archive of a model.
    """
    size = os.path.getsize(path)
    if size > max_bytes:
        raise InputError(f"it has {size} bytes, more than max_bytes={max_bytes}")
    with open(path, "rb") as file:
        _check_seal(file, size)
        try:
            with zipfile.ZipFile(file) as archive:
                return _read_members(archive, size)
        except HistoexprError:
            raise
        except Exception as error:  # zipfile, on a file that was made to mislead it
            said = f"{type(error).__name__}: {error}"
            raise InputError(f"it is no zip of a model ({said})") from error


def _check_seal(file, size):
    file.seek(max(0, size - _SEAL_LENGTH))
    seal = file.read(_SEAL_LENGTH)
    if not seal.startswith(_SEAL):
        raise InputError("it does not end as a model file does: cut short, or another kind of zip")
    if seal != _SEAL + _hash_file(file).encode():
        raise InputError("it is not as it was written: its checksum is another one")


def _read_members(archive, size):
    entries = {entry.filename: entry for entry in archive.infolist()}
    known = {MANIFEST, STRUCTURE, ARRAYS, CARD}
    if len(entries) != len(archive.infolist()) or set(entries) != known:
        names = [entry.filename[:100] for entry in archive.infolist()]
        raise InputError(f"its members are {names[:10]}, not {sorted(known)}, each once")
    for name, entry in entries.items():
        plain = _entry(name)
        same = ("compress_type", "external_attr", "flag_bits", "create_system")
        if any(getattr(entry, field) != getattr(plain, field) for field in same):
            raise InputError(f"member {name} is not stored as plain data")
        most = size if name == ARRAYS else min(size, _MOST_TEXT)
        if entry.file_size != entry.compress_size or entry.file_size > most:
            raise InputError(f"member {name} claims {entry.file_size} bytes")
    manifest = from_json(archive.read(MANIFEST), MANIFEST)
    return manifest, {name: archive.read(name) for name in sorted(known - {MANIFEST})}


def check_members(manifest, members):
    """Refuse members that are not those of the manifest, by name, size and checksum."""
    found = {name: {"bytes": len(data), "sha256": _hash(data)} for name, data in members.items()}
    listed = manifest.get("members")
    for name, properties in found.items():
        if not isinstance(listed, dict) or listed.get(name) != properties:
            raise InputError(f"member {name} is not as the manifest has it (size, SHA-256)")
    if set(listed) != set(found):
        raise InputError(f"the manifest lists members that are not there: {sorted(listed)}")


def as_json(value, indent=None):
    """JSON as bytes, in ASCII, the same for the same value."""
    return json.dumps(value, indent=indent, allow_nan=False).encode()


def from_json(data, name):
    """What a JSON member holds; ValueError if it is not strict JSON."""
    try:
        return json.loads(data, object_pairs_hook=_pairs, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not to be read as JSON: {error}") from error


def _pairs(pairs):
    if len(dict(pairs)) != len(pairs):
        raise InputError("a name stands there twice")
    return dict(pairs)


def _refuse(constant):
    raise InputError(f"{constant} is no JSON")


def _entry(name):
    entry = zipfile.ZipInfo(name)  # of 1980, as all of them
    entry.create_system = 3  # on Windows, too
    entry.external_attr = 0o644 << 16
    return entry


def _hash(data):
    return hashlib.sha256(data).hexdigest()


def _hash_file(file):
    """SHA-256 of all bytes before the seal."""
    digest, left = hashlib.sha256(), file.seek(0, os.SEEK_END) - _SEAL_LENGTH
    file.seek(0)
    while left > 0:
        block = file.read(min(_BLOCK, left))
        digest.update(block)
        left -= len(block) or left
    return digest.hexdigest()
