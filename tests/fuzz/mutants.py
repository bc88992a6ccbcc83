"""Files changed at random: as by a broken copy, by a careless hand, by an enemy."""

import copy
import gzip
import json
import struct
import zlib

import h5py
import numpy as np
import pandas as pd

OTHER_FILES = [
    b"",
    b"\0" * 64,
    b"not what you think\n",
    b"PK\x03\x04" + b"\0" * 30,
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0\0\x10JFIF",
    b"II*\0\x08\0\0\0\x01\0",
    b"\x89HDF\r\n\x1a\n" + b"\xff" * 40,
    b"\x1f\x8b\x08\0" + b"\0" * 20,
    b"PAR1PAR1",
    b"\xef\xbb\xbf,,,\n,,,\n",
    b"[" * 5000,
]
CELLS = ["", "nan", "inf", "-1", "0", "1e400", "99999999999999999999", "0.5", "x", "2x3", "\x00",
         '"', "é", "None", "1e18", "-inf", "True", "[]", "../../etc", "a\tb,c\nd"]  # fmt: skip
VALUES = [None, True, False, 0, -1, 1e-300, 1e300, 10**400, "x", "", "1.5", [], {}, [[1]],
          {"a": {}}, float("nan"), float("inf"), 2**63]  # fmt: skip
ARRAYS = [
    np.zeros((0,)),
    np.zeros((2, 2, 2)),
    np.array(3.5),
    np.array([np.nan, np.inf, -1.0]),
    np.array([2**62, -1, 7]),
    np.array(["x", "y"], dtype="S3"),
    np.array([True, False]),
    np.zeros(3, dtype=[("a", "i4"), ("b", "f8")]),
]


def changed(path, rng):
    """Change a file in some way that fits its kind, or as bytes."""
    content, kind = path.read_bytes(), path.name.split(".", 1)[-1].lower()
    by_kind = {
        "csv": text, "tsv": text, "tsv.gz": packed, "mtx.gz": packed, "json": json_values,
        "h5": hdf5, "h5ad": hdf5, "parquet": parquet, "png": png, "tif": tiff, "svs": tiff,
        "ome.tif": tiff, "gz": packed,
    }  # fmt: skip
    if path.name in ("zarr.json", ".zarray", ".zattrs"):
        kind = "json"
    special = by_kind.get(kind)
    if special is None or rng.random() < 0.4:
        path.write_bytes(raw(content, rng))
    elif special in (hdf5, parquet):
        special(path, rng)
    else:
        path.write_bytes(special(content, rng))


def raw(content, rng):
    """Bytes cut off, flipped, zeroed, repeated, put in; or another file altogether."""
    how = rng.choice(["cut", "cut", "flip", "flip", "zero", "repeat", "insert", "other"])
    n = len(content)
    place = rng.randrange(n + 1)
    length = min(rng.choice([1, 4, 16, 512, 4096]), max(1, n - place))
    if how == "other":
        return rng.choice(OTHER_FILES)
    if how == "cut":
        return content[:place]
    if how == "insert":
        return content[:place] + rng.randbytes(length) + content[place:]
    if how == "repeat":
        return content[: place + length] + content[place:]
    out = bytearray(content)
    if how == "zero":
        out[place : place + length] = bytes(len(out[place : place + length]))
        return bytes(out)
    # Headers and directories stand at the ends, and decide more than what is between.
    ends = [*range(min(n, 256)), *range(max(0, n - 256), n)] if rng.random() < 0.5 else range(n)
    for _ in range(rng.choice([1, 1, 2, 8])):
        if n:
            at = rng.choice(ends)
            out[at] = rng.choice([0, 255, out[at] ^ (1 << rng.randrange(8)), rng.randrange(256)])
    return bytes(out)


def packed(content, rng):
    """A gzipped text with another text, or a broken one."""
    return gzip.compress(text(gzip.decompress(content), rng), 1)


def text(content, rng):
    """Cells replaced, columns and rows removed, doubled or exchanged."""
    lines = content.decode().splitlines()
    separator = "\t" if "\t" in lines[0] else "," if "," in lines[0] else " "
    rows = [line.split(separator) for line in lines]
    for _ in range(rng.choice([1, 1, 2, 5])):
        how = rng.choice(["cell", "cell", "head", "row", "column", "double", "column of one"])
        rows = rows or [[""]]
        row, column = rng.randrange(len(rows)), rng.randrange(max(1, *map(len, rows)))
        if how == "row" and len(rows) > 1:
            del rows[row]
        elif how == "double":
            rows.insert(row, list(rows[row]))
        elif how == "column":
            rows = [cells[:column] + cells[column + 1 :] for cells in rows]
        elif how == "column of one":
            cell = rng.choice(CELLS)
            rows = [rows[0]] + [r[:column] + [cell] + r[column + 1 :] for r in rows[1:]]
        else:
            row = 0 if how == "head" else row
            if rows[row]:
                rows[row][column % len(rows[row])] = rng.choice(CELLS + rows[0])
    return "\n".join(separator.join(cells) for cells in rows).encode() + b"\n"


def json_values(content, rng):
    """A value anywhere in it replaced by one of another kind, or removed."""
    value = json.loads(content)
    places = list(_places(value))
    for _ in range(rng.choice([1, 1, 3])):
        place = rng.choice(places)
        holder = value
        try:
            for key in place[:-1]:
                holder = holder[key]
            if not place:
                value = copy.deepcopy(rng.choice(VALUES))
            elif rng.random() < 0.3:
                del holder[place[-1]]
            else:
                other = rng.choice([*VALUES, 10 ** rng.randrange(20)])
                holder[place[-1]] = copy.deepcopy(other)  # as it may be changed in turn
        except (KeyError, IndexError, TypeError):  # changed before
            continue
    return json.dumps(value).encode()


def _places(value, place=()):
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in inner:
        if isinstance(part, (dict, list)):
            yield from _places(part, (*place, key))
        else:
            yield (*place, key)


def hdf5(path, rng):
    """Data sets and attributes removed, swapped, or of another type, shape or size."""
    with h5py.File(path, "r+") as file:
        names, linked = [], None
        file.visit(names.append)
        for _ in range(rng.choice([1, 1, 2])):
            names = [name for name in names if name != linked and name in file]
            if not names:
                return
            name = rng.choice(names)
            item = file[name]
            how = rng.choice(["delete", "replace", "values", "huge", "attribute", "swap", "link"])
            if how == "attribute" and len(item.attrs):
                key = rng.choice(list(item.attrs))
                del item.attrs[key]
                if rng.random() < 0.7:
                    item.attrs[key] = rng.choice(["x", 3, np.array([1e30, 2]), np.nan, b"\xff"])
            elif how == "values" and isinstance(item, h5py.Dataset) and 0 < item.size < 2**20:
                values = item[()]
                if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
                    odd = [0, -1, 2**31 - 1, 1e30, np.nan] if values.dtype.kind == "f" else [0, 99]
                    odd += [] if values.dtype.kind == "f" else [np.iinfo(values.dtype).max]
                    values.flat[rng.randrange(values.size)] = rng.choice(odd)
                    del file[name]
                    file[name] = values
            elif how == "swap":
                other = rng.choice(names)
                del file[name]
                if other in file:
                    file[name] = file[other]
            elif how == "link":
                del file[name]
                file[name], linked = h5py.ExternalLink("other.h5", "/x"), name
            elif how == "huge":
                del file[name]
                shape = rng.choice([(2**40,), (2**20, 2**20), (2**33, 2)])
                file.create_dataset(name, shape, rng.choice(["f4", "S100", "i8"]), chunks=True)
            else:
                del file[name]
                if how == "replace":
                    file[name] = rng.choice(ARRAYS)


def parquet(path, rng):
    """The table with other cells or columns."""
    table = pd.read_parquet(path)
    how = rng.choice(["column", "cell", "drop", "rename", "rows"])
    column = rng.choice(list(table.columns))
    if how == "drop":
        table = table.drop(columns=column)
    elif how == "rename":
        table = table.rename(columns={column: "x"})
    elif how == "rows":
        table = table.iloc[: rng.choice([0, 1, 2])]
    elif how == "column":
        table[column] = rng.choice(["x", 1e300, -1, True, None])
    else:
        table[column] = table[column].astype(object)
        table.loc[rng.randrange(len(table)), column] = rng.choice([None, np.nan])
    table.to_parquet(path, index=False)


def png(content, rng):
    """A chunk with other bytes, and a right checksum."""
    chunks, at = [], 8
    while at < len(content):
        length = struct.unpack(">I", content[at : at + 4])[0]
        chunks.append([content[at + 4 : at + 8], content[at + 8 : at + 8 + length]])
        at += 12 + length
    chunk = rng.choice([chunks[0], rng.choice(chunks)])
    if chunk[0] == b"IHDR" and rng.random() < 0.5:
        size = [rng.choice([0, 1, 2**14, 2**20, 2**31 - 1]) for _ in "xy"]
        chunk[1] = struct.pack(">II", *size) + chunk[1][8:]
    else:
        chunk[1] = raw(chunk[1], rng)
    if rng.random() < 0.1:
        chunks.insert(1, [b"zTXt", b"k\0\0" + zlib.compress(bytes(2**24))])
    whole = (struct.pack(">I", len(data)) + name + data
             + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks)  # fmt: skip
    return content[:8] + b"".join(whole)


def tiff(content, rng):
    """Tags with another type, count or value; directories that lead elsewhere."""
    out = bytearray(content)
    if content[:4] != b"II*\0":
        return raw(content, rng)
    directories, at = [], struct.unpack_from("<I", content, 4)[0]
    while at and at + 2 <= len(content) and len(directories) < 20:
        directories.append(at)
        n_tags = struct.unpack_from("<H", content, at)[0]
        at = struct.unpack_from("<I", content, at + 2 + 12 * n_tags)[0]
    for _ in range(rng.choice([1, 1, 2])):
        at = rng.choice(directories)
        n_tags = struct.unpack_from("<H", content, at)[0]
        tag = at + 2 + 12 * rng.randrange(n_tags)
        number = rng.choice([0, 1, 2, 3, 7, 8, 16, 255, 2**16, 10**5, 2**31 - 1, 2**32 - 1,
                             directories[0], len(content) - 4, rng.randrange(2**32)])  # fmt: skip
        how = rng.choice(["value", "value", "value", "count", "type", "code", "next"])
        if how == "next":
            struct.pack_into("<I", out, at + 2 + 12 * n_tags, number)
        elif how in ("type", "code"):
            new = rng.choice([*range(14), 254, 256, 257, 258, 259, 262, 277, 322, 339, 347])
            struct.pack_into("<H", out, tag + 2 * (how == "type"), new)
        else:
            struct.pack_into("<I", out, tag + 8 - 4 * (how == "count"), number)
    return bytes(out)
