"""The cutaneous squamous cell carcinoma sections of Ji et al. (GSE144240, legacy ST)."""

import re

from .. import _keys
from ..exceptions import InputError, MissingFileError
from ..utils import name_some
from ._files import read_table
from ._join import read_sections
from ._legacy_st import join_spots
from ._section import OUT_PX, PATCH_SIZE, as_names, existing, make_section

_LAYOUT = (
    "the files of GSE144240 are needed: *P2_ST_rep1_stdata.tsv, *spot*P2_ST_rep1.tsv (both may be "
    "gzipped) and *P2_ST_rep1.jpg"
)
_IMAGES = ("jpg", "jpeg", "png", "tif", "tiff")


def load_cscc(
    root, sections=None, *, patch_size=PATCH_SIZE, out_px=OUT_PX, fill=255, genes="intersection"
):
    """Load sections of the cSCC data set as its series on GEO holds them, unpacked.

    Parameters
    ----------
    root : path
        The folder with the files, or one above it.
    sections : str or list of str, default=None
        Names such as "P2_ST_rep1"; None takes all that have counts.
    patch_size, out_px, fill, genes
        As in :func:`load_visium`. The papers cut "224px".

    Returns
    -------
    images : SpotPatches of shape (n_spots, out_px, out_px, 3)
    adata : AnnData of shape (n_spots, n_genes)
        As :func:`load_visium` returns them. The patient is what stands before the first "_" of
        the section's name; ``obs_names`` are ``"{section}_{x}x{y}"``.

    Raises
    ------
    FileNotFoundError
        If a file is not there.
    ValueError
        If a section is unknown or named twice, a table lacks a column, no spot has both counts
        and a position, or a spot lies outside the image.

    Notes
    -----
    The sections are legacy ST, 200 um from spot to spot, whatever READMEs call them: micrometres
    per pixel come from that pitch, as in :func:`load_her2st`.

    References
    ----------
    A. L. Ji et al., "Multimodal analysis of composition and spatial architecture in human
    squamous cell carcinoma", Cell 182, 497-514 (2020).
    """
    root = existing(root, "folder with the files of GSE144240")
    cut = {"patch_size": patch_size, "out_px": out_px, "fill": fill}
    names = _choose(root, sections)
    return read_sections([cscc_job(root, name, **cut) for name in names], genes=genes)


def cscc_job(path, section, **options):
    """Name of a section, and the function that reads it."""
    return section, lambda: _read_cscc(path, section, **options)


def _choose(root, sections):
    pattern = re.compile(r"(?:GSM\d+_)?(.+)_stdata\.tsv(?:\.gz)?")
    matches = (pattern.fullmatch(path.name) for path in root.rglob("[!.]*_stdata.tsv*"))
    found = sorted({match[1] for match in matches if match})
    if not found:
        raise MissingFileError(f"There are no count tables in {str(root)!r}: {_LAYOUT}.")
    if sections is None:
        return found
    names = as_names(sections, "sections")
    unknown = [name for name in names if name not in found]
    if unknown or not names:
        raise InputError(
            f"There is no section {name_some(unknown) or 'in an empty list'}; there are "
            f"{', '.join(found)}."
        )
    return names


def _read_cscc(root, section, *, patient=None, **cut):
    root = existing(root, "folder with the files of GSE144240")
    counts = _find(root, f"*{section}_stdata.tsv", f"*{section}_stdata.tsv.gz")
    spots = _find(root, f"*spot*{section}.tsv", f"*spot*{section}.tsv.gz")
    image = _find(root, *(f"*{section}.{suffix}" for suffix in _IMAGES))
    adata, positions, mpp = join_spots(
        read_table(counts, sep="\t", index_col=0), read_table(spots, sep="\t"), section
    )
    return make_section(
        adata,
        adata.obsm[_keys.SPATIAL],
        positions=positions,
        section=section,
        patient=patient or section.split("_")[0],
        image=image,
        mpp=mpp,
        **cut,
    )


def _find(root, *patterns):
    found = sorted(path for pattern in patterns for path in root.rglob(pattern))
    if not found:
        packed = list(root.rglob(f"{patterns[0]}.gz"))
        hint = f" Unpack {packed[0].name!r} first (gunzip)." if packed else ""
        raise MissingFileError(f"There is no {patterns[0]} in {str(root)!r}: {_LAYOUT}.{hint}")
    if len(found) > 1:
        raise InputError(
            f"{str(root)!r} holds {len(found)} files for {patterns[0]}: "
            f"{name_some(path.name for path in found)}; leave one there."
        )
    return found[0]
