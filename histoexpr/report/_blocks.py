"""What a page is made of; templates/report.html says how each is written."""

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass
class Column:
    """A column of a table; ``kind`` is "number", "words", "names" (several) or "" (one)."""

    key: str
    name: str
    kind: str = "number"
    notes: tuple = ()


@dataclass
class Group:
    """Rows of a table that belong together; each a dict from the key of a column to str."""

    name: str
    rows: list


@dataclass
class Table:
    """A table. ``wide`` keeps its first column in sight where it is scrolled."""

    kind: ClassVar = "table"
    caption: str
    columns: list
    groups: list
    foot: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    wide: bool = False
    number: int = 0

    @property
    def id(self):
        return f"table-{self.number}"


@dataclass
class Figure:
    """Pictures (Markup) under one caption; "charts" are scrolled, "plates" stand side by side."""

    kind: ClassVar = "figure"
    caption: str
    pictures: list
    layout: str = "charts"
    number: int = 0

    @property
    def id(self):
        return f"figure-{self.number}"


@dataclass
class Text:
    """A paragraph."""

    kind: ClassVar = "text"
    text: str


@dataclass
class Heading:
    """A heading within a section."""

    kind: ClassVar = "heading"
    text: str


@dataclass
class Entries:
    """Names and their values."""

    kind: ClassVar = "entries"
    pairs: list


@dataclass
class Details:
    """Entries that are folded away."""

    kind: ClassVar = "details"
    summary: str
    pairs: list
    note: str = ""


@dataclass
class Section:
    """A part of the page with a heading."""

    id: str
    heading: str
    blocks: list


@dataclass
class Notice:
    """What a reader must not miss."""

    title: str
    text: str


def numbered(sections):
    """Sections with what they hold (None is left out), tables and figures numbered."""
    counts = {"table": 0, "figure": 0}
    for section in sections:
        section.blocks = [block for block in section.blocks if block is not None]
        for block in section.blocks:
            if block.kind in counts:
                counts[block.kind] += 1
                block.number = counts[block.kind]
    return [section for section in sections if section.blocks]
