"""What is typed, as data, genes and featurizers."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import click

SHEET_SUFFIXES = {".csv", ".tsv", ".txt"}
HER2ST_PATCH = "224px"  # as the papers cut


@dataclass(frozen=True)
class Source:
    """Where sections are read from.

    Attributes
    ----------
    kind : {"her2st", "sheet"}
    path : Path
    """

    kind: str
    path: Path

    def load(self, patch_size=None, out_px=None, sections=None):
        """The patches and the counts.

        Parameters
        ----------
        patch_size : str or None, default=None
            Such as "224px" or "112um"; None is `default_patch`.
        out_px : int or None, default=None
            Side of the patches as returned, in pixels; None is the reader's own.
        sections : list of str or None, default=None
            None is all.

        Returns
        -------
        images : SpotPatches
        adata : AnnData
        """
        from .. import _keys, datasets

        cut = {"patch_size": patch_size or self.default_patch, "out_px": out_px}
        cut = {name: value for name, value in cut.items() if value is not None}
        if self.kind == "her2st":
            return datasets.load_her2st(self.path, sections, **cut)
        images, adata = datasets.load_sheet(self.path, **cut)
        if sections is None:
            return images, adata
        check_among(sections, set(adata.obs[_keys.SECTION]), "--sections", "sections")
        rows = adata.obs[_keys.SECTION].isin(sections).to_numpy()
        return images[rows], adata[rows].copy()

    @property
    def default_patch(self):
        """The size of patches where none is asked for; None is the reader's own."""
        return HER2ST_PATCH if self.kind == "her2st" else None

    def __str__(self):
        return f"her2st:{self.path}" if self.kind == "her2st" else str(self.path)


class SourceType(click.ParamType):
    """``her2st:FOLDER``, or the path of a sheet of sections."""

    name = "her2st:DIR|SHEET.csv"

    def convert(self, value, param, ctx):
        if isinstance(value, Source):
            return value
        kind, colon, rest = value.partition(":")
        if colon and kind == "her2st":
            path = Path(rest)
            if not path.is_dir():
                self.fail(f"there is no folder {rest!r}.", param, ctx)
            return Source("her2st", path)
        path = Path(value)
        if not path.is_file() or path.suffix.lower() not in SHEET_SUFFIXES:
            what = "is not there" if not path.exists() else "is no CSV or TSV"
            self.fail(
                f"{value!r} {what}; give her2st:DIR, the folder of the her2st data, or a sheet "
                "with a row a section (columns section, patient, path).",
                param,
                ctx,
            )
        return Source("sheet", path)


class Names(click.ParamType):
    """Names with commas between them, as a list."""

    name = "NAME,..."

    def convert(self, value, param, ctx):
        if isinstance(value, list):
            return value
        names = [name.strip() for name in value.split(",") if name.strip()]
        if not names or len(set(names)) < len(names):
            self.fail(f"{value!r} must name each thing once, with commas between.", param, ctx)
        return names


class FeaturizerType(click.ParamType):
    """``timm:NAME``, ``context:NAME`` or ``texture``."""

    name = "timm:NAME|context:NAME|texture"

    def convert(self, value, param, ctx):
        kind, colon, name = value.partition(":")
        if value == "texture" or (kind in ("timm", "context") and name):
            return value
        meant = f"{kind}:resnet50" if kind in ("timm", "context") else f"timm:{value}"
        self.fail(
            f"{value!r} is not timm:NAME, context:NAME or texture; for a model of timm's or of "
            f"the hub write {meant}.",
            param,
            ctx,
        )


def make_featurizer(text, weights=None, verbose=0):
    """The featurizer that `FeaturizerType` has let through.

    Parameters
    ----------
    text : str
        ``context:`` is every stage of the network, in two fields of view, over quarter turns.
    weights : str or None, default=None
        A file, for timm's.
    verbose : int, default=0
        Whether to show a progress bar.

    Returns
    -------
    TextureFeaturizer, TimmFeaturizer or ContextFeaturizer
    """
    from ..featurizers import ContextFeaturizer, TextureFeaturizer, TimmFeaturizer

    if text == "texture":
        if weights is not None:
            raise click.BadParameter("texture has no weights.", param_hint="--weights")
        return TextureFeaturizer(verbose=verbose)
    kind, _, name = text.partition(":")
    if kind == "timm":
        return TimmFeaturizer(name, checkpoint_path=weights, verbose=verbose)
    backbone = TimmFeaturizer(name, checkpoint_path=weights, pooling="stages")
    return ContextFeaturizer(backbone, verbose=verbose)


def read_genes(path, known):
    """The genes of a file, one a line, all of them among those of the data.

    Parameters
    ----------
    path : str or Path
        Empty lines and lines that begin with # are passed over.
    known : sequence of str

    Returns
    -------
    list of str
    """
    from ..utils import name_some
    from ..utils._reading import reading

    with reading(repr(str(path)), "is no text with a gene a line"):
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    genes = [line for line in lines if line and not line.startswith("#")]
    if not genes:
        raise click.BadParameter(f"{str(path)!r} names no gene.", param_hint="--genes")
    twice = [gene for gene, times in Counter(genes).items() if times > 1]
    if twice:
        raise click.BadParameter(
            f"{str(path)!r} names {name_some(twice)} more than once.", param_hint="--genes"
        )
    check_among(genes, known, "--genes")
    return genes


def check_among(names, known, option, what="genes"):
    """Refuse names that the data does not have.

    Parameters
    ----------
    names, known : collection of str
    option : str
        That gave the names.
    what : str, default="genes"
        What they name.

    Raises
    ------
    click.BadParameter
    """
    from ..utils import name_some

    unknown = sorted(set(names) - set(known))
    if not unknown:
        return
    upper = {name.upper(): name for name in known}
    near = [upper[name.upper()] for name in unknown if name.upper() in upper]
    hint = f" There they are written {name_some(near)}." if near else ""
    raise click.BadParameter(
        f"{len(unknown)} of {len(names)} {what} are not among the {len(known)} of the data: "
        f"{name_some(unknown)}.{hint} Leave them out, or see how the data names them (there are "
        f"{name_some(sorted(known), 3)}).",
        param_hint=option,
    )
