"""The HER2-positive breast cancer sections of Andersson et al. (legacy ST)."""

import io
import zipfile
from pathlib import Path

import anndata
import pandas as pd

from .. import _keys
from ..data import SpotPatches
from ..exceptions import InputError, MissingFileError
from ..utils import name_some
from ..utils._files import as_path
from ..utils._reading import read_text, reading
from ._files import read_table
from ._legacy_st import by_position, join_spots, key_of
from ._section import as_names, make_section

_LAYOUT = (
    "root must hold data/ST-cnts/{A1}.tsv.gz, data/ST-spotfiles/{A1}_selection.tsv and "
    "data/ST-imgs/{A}/{A1}/*.jpg, as the GitHub repository almaan/her2st does"
)
_IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}


def load_her2st(root, sections=None, patch_size="155um", out_px=224, *, fill=255, join="outer"):
    """Load sections of the her2st data set from the layout of its public repository.

    Parameters
    ----------
    root : str or path-like
        The folder that holds ``data/`` and ``res/``.
    sections : str or list of str, default=None
        Names such as ``"A1"``; None takes all sections that have counts.
    patch_size : str, default="155um"
        Side of the square around each spot. ``"155um"`` shows the same piece of tissue in all
        patients; ``"224px"`` is what the papers cut, about 155 um but 206 um in patient A.
    out_px : int, default=224
        Side of the patch as returned, in pixels.
    fill : int or tuple of 3 int, default=255
        Colour beyond the border of the image, 0 to 255.
    join : {"outer", "inner"}, default="outer"
        Genes of any section, zero where a section's table lacks the gene, or genes that all
        sections have.

    Returns
    -------
    images : SpotPatches of shape (n_spots, out_px, out_px, 3)
        Row i is the spot of row i of ``adata``; it carries ``spatial``, ``positions``,
        ``section``, ``patient`` and ``mpp``.
    adata : AnnData of shape (n_spots, n_genes)
        ``X`` holds raw counts (CSR, float32). ``obs_names`` are ``"{section}_{x}x{y}"``. ``obs``
        holds ``section``, ``patient`` (the section's first letter), ``array_row`` (y),
        ``array_col`` (x), ``cell_type`` (the largest of the eight deconvolved proportions) and
        ``domain`` (the pathologist's label, or the expression cluster where the section has no
        pathologist's labels); both are categories, missing where the section has no such file
        or the file not this spot. ``obsm["spatial"]`` holds (x, y) in pixels of the image.

    Raises
    ------
    FileNotFoundError
        If the folder or one of the files a section needs is not there.
    ValueError
        If a section is unknown or named twice, a table lacks a column, an image folder holds
        more than one image, no spot has both counts and a position, or a spot lies outside the
        image.

    Notes
    -----
    Counts and positions are joined on ``"{round(x)}x{round(y)}"``; what stands in one of them
    only is dropped, and counted in a log line (level INFO).

    ``mpp`` is 200 um, the pitch of legacy ST arrays, over the pixels per unit of the measured
    (fractional) array coordinates ``new_x``, ``new_y``: the ratio of the root mean square
    distances from the centroid, in pixels and in array units.

    The clusters are numbered within a patient: cluster 1 of B is not cluster 1 of C.

    References
    ----------
    A. Andersson et al., "Spatial deconvolution of HER2-positive breast cancer delineates
    tumor-associated cell type interactions", Nature Communications 12, 6012 (2021).
    """
    if join not in ("outer", "inner"):
        raise InputError(f"join must be 'outer' or 'inner'; got {join!r}.")
    root = as_path(root)
    names = _choose_sections(root, sections)
    parts, images, mpp = [], {}, {}
    for name in names:
        part, mpp[name] = _read_section(root, name)
        images[name] = _find_image(root, name)
        parts.append(part)
    adata = anndata.concat(parts, join=join, fill_value=0)
    if adata.n_vars == 0:
        raise InputError(f"Sections {name_some(names)} have no gene in common; use join='outer'.")
    for key in (_keys.SECTION, _keys.PATIENT, _keys.CELL_TYPE, _keys.DOMAIN):
        adata.obs[key] = adata.obs[key].astype("category")
    patches = SpotPatches.from_images(
        images,
        adata.obsm[_keys.SPATIAL],
        section=adata.obs[_keys.SECTION],
        patient=adata.obs[_keys.PATIENT],
        positions=adata.obs[[_keys.ARRAY_COL, _keys.ARRAY_ROW]],
        mpp=mpp,
        patch_size=patch_size,
        out_px=out_px,
        fill=fill,
    )
    return patches, adata


def her2st_job(path, section, patient=None, **cut):
    """Name of a section, and the function that reads it."""
    return section, lambda: _read_alone(Path(path), section, patient, cut)


def _read_alone(root, section, patient, cut):
    _choose_sections(root, section)
    part, mpp = _read_section(root, section)
    part.obs_names = part.obs_names.str.removeprefix(f"{section}_")
    return make_section(
        part,
        part.obsm[_keys.SPATIAL],
        positions=part.obs[[_keys.ARRAY_COL, _keys.ARRAY_ROW]],
        section=section,
        patient=patient or section[0],
        image=_find_image(root, section),
        mpp=mpp,
        **cut,
    )


def _choose_sections(root, sections):
    folder = root / "data" / "ST-cnts"
    found = sorted({path.name.split(".")[0] for path in folder.glob("[!.]*.tsv*")})
    if not found:
        raise MissingFileError(f"There are no count tables in {str(folder)!r}: {_LAYOUT}.")
    if sections is None:
        return found
    names = as_names(sections, "sections")
    unknown = [name for name in names if name not in found]
    if unknown:
        raise InputError(f"There is no section {name_some(unknown)}; there are {', '.join(found)}.")
    if not names or len(set(names)) < len(names):
        raise InputError(f"sections must name each section once; got {names}.")
    return names


def _read_section(root, name):
    """One section as AnnData, without categories yet, and its micrometres per pixel."""
    counts = _read_table(root / "data" / "ST-cnts", f"{name}.tsv", index_col=0)
    spots = _read_table(root / "data" / "ST-spotfiles", f"{name}_selection.tsv")
    part, position, mpp = join_spots(counts, spots, name)
    keys = [f"{x}x{y}" for x, y in position]
    part.obs = pd.DataFrame(
        {
            _keys.SECTION: name,
            _keys.PATIENT: name[0],
            _keys.ARRAY_ROW: position[:, 1],
            _keys.ARRAY_COL: position[:, 0],
            _keys.CELL_TYPE: _cell_types(root, name).reindex(keys).to_numpy(object),
            _keys.DOMAIN: _domains(root, name).reindex(keys).to_numpy(object),
        },
        index=[f"{name}_{key}" for key in keys],
    )
    return part, mpp


def _find_image(root, name):
    folder = root / "data" / "ST-imgs" / name[0] / name
    found = sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() in _IMAGE_SUFFIXES)
    if not found:
        raise MissingFileError(f"There is no image in {str(folder)!r}: {_LAYOUT}.")
    if len(found) > 1:
        raise InputError(
            f"{str(folder)!r} holds {len(found)} images, {name_some(p.name for p in found)}; "
            "leave the H&E image of the section there alone."
        )
    return found[0]


def _cell_types(root, name):
    """The cell class of the largest proportion, by ``"{x}x{y}"``; empty without a file."""
    props = root / "res" / "ST-deconv" / "props"
    file = f"{name}-proportion.tsv"
    if (props / "major" / file).is_file():
        table = read_table(props / "major" / file, sep="\t", index_col=0)
    elif (props / "major.zip").is_file():
        path = props / "major.zip"
        with reading(repr(str(path))), zipfile.ZipFile(path) as archive:
            member = next((m for m in archive.namelist() if m.split("/")[-1] == file), None)
            if member is None:
                return pd.Series(dtype=object)
            with archive.open(member) as opened:
                text = read_text(opened, path)
            table = pd.read_csv(io.BytesIO(text), sep="\t", index_col=0)
    else:
        return pd.Series(dtype=object)
    table.index = key_of(table.index.astype(str), name)
    table = table[~table.index.duplicated()].dropna(how="all")
    return table.idxmax(axis=1).astype(object)


def _domains(root, name):
    """The label of each spot by ``"{x}x{y}"``; empty without a file."""
    for folder, file in (
        (root / "data" / "ST-pat" / "lbl", f"{name}_labeled_coordinates.tsv"),
        (root / "res" / "ST-cluster" / "lbl", f"{name}-cluster-annotation.tsv"),
    ):
        if any((folder / (file + end)).is_file() for end in ("", ".gz")):
            table = _read_table(folder, file, dtype={"label": str})
            return by_position(table, ["label"], name)["label"]
    return pd.Series(dtype=object)


def _read_table(folder, file, **kwargs):
    """A tab-separated table, gzipped or not."""
    for path in (folder / f"{file}.gz", folder / file):
        if path.is_file():
            return read_table(path, sep="\t", **kwargs)
    raise MissingFileError(f"There is no {file} or {file}.gz in {str(folder)!r}: {_LAYOUT}.")
