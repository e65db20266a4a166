"""What a report's page is made of, before anything is drawn or written."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from itertools import groupby
from math import isfinite
from typing import Any, Generic, TypeVar

from matplotlib.figure import Figure

from merit_opt.reporting.tables import Estimate, Table

T = TypeVar("T")
DIGITS, PLACES = 6, 9


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph.

    Attributes:
        words: Plain text.
        tone: `lead` for what was found, `notice` for what is missing or must be known first.
    """

    words: str
    tone: str = ""
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Code:
    """What is to be typed or copied.

    Attributes:
        words: As they are.
        title: What it is.
    """

    words: str
    title: str
    kind: str = "code"


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what they stand for, such as versions."""

    rows: tuple[tuple[str, str], ...]
    kind: str = "facts"


@dataclass(frozen=True, slots=True)
class Picture(Generic[T]):
    """A figure that is not drawn yet.

    Attributes:
        name: Its files' name, of letters, digits and hyphens.
        title: What it shows, in a line.
        caption: How to read it.
        alt: What it shows to who cannot see it.
        data: All that is drawn.
        draw: Draws `data` in whatever style is set.
        facts: Names and what they stand for, told below it.
        is_photo: Whether it shows photographs, in one colour scheme for light and dark.
    """

    name: str
    title: str
    caption: str
    alt: str
    data: T
    draw: Callable[[T], Figure]
    facts: tuple[tuple[str, str], ...] = ()
    is_photo: bool = False
    kind: str = "picture"

    def drawn(self) -> Figure:
        """The figure, in whatever style is set."""
        return self.draw(self.data)


@dataclass(frozen=True, slots=True)
class TableBlock:
    """A table.

    Attributes:
        table: What it holds.
        is_long: Whether it is folded until a reader opens it.
    """

    table: Table
    is_long: bool = False
    kind: str = "table"


Block = Text | Code | Facts | Picture[Any] | TableBlock


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page.

    Attributes:
        id: Its anchor.
        title: Its heading.
        blocks: From top to bottom.
    """

    id: str
    title: str
    blocks: tuple[Block, ...]

    @property
    def placed(self) -> Iterator[tuple[Block, bool]]:
        """Each block, and whether it is a figure that no other stands beside."""
        drawn = [isinstance(block, Picture) and not block.is_photo for block in self.blocks]
        for is_drawn, run in groupby(zip(self.blocks, drawn, strict=True), key=lambda b: b[1]):
            blocks = [block for block, _ in run]
            alone = len(blocks) - 1 if is_drawn and len(blocks) % 2 else -1
            yield from ((block, i == alone) for i, block in enumerate(blocks))


@dataclass(frozen=True, slots=True)
class Report:
    """A whole page.

    Attributes:
        title: The study's name.
        subtitle: What it was about, in a line.
        sections: From top to bottom.
        foot: Who made it, of what.
    """

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    foot: str

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Of all sections."""
        return tuple(block for section in self.sections for block in section.blocks)

    @property
    def pictures(self) -> tuple[Picture[Any], ...]:
        """In the page's order."""
        return tuple(block for block in self.blocks if isinstance(block, Picture))

    @property
    def tables(self) -> tuple[Table, ...]:
        """In the page's order."""
        return tuple(block.table for block in self.blocks if isinstance(block, TableBlock))


def data(report: Report) -> dict[str, Any]:
    """All that the page says and shows, as JSON has it; numbers to six digits."""
    return {
        "title": report.title,
        "subtitle": report.subtitle,
        "sections": [
            {"id": s.id, "title": s.title, "blocks": [_block(block) for block in s.blocks]}
            for s in report.sections
        ],
    }


def _block(block: Block) -> dict[str, Any]:
    match block:
        case Picture():
            return {
                "figure": block.name,
                "title": block.title,
                "caption": block.caption,
                "data": plain(block.data),
                **({"facts": dict(block.facts)} if block.facts else {}),
            }
        case TableBlock(table=table):
            rows = [
                {c.key: plain(cell) for c, cell in zip(table.columns, row, strict=True)}
                for row in table.rows
            ]
            return {"table": table.name, "title": table.title, "note": table.note, "rows": rows}
        case Facts():
            return {"facts": dict(block.rows)}
        case Text() | Code():
            return {block.kind: block.words}


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Estimate):
        return [plain(value.value), plain(value.low), plain(value.high)]
    if is_dataclass(value) and not isinstance(value, type):
        return {k: plain(v) for k, v in _fields(value).items()}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return round(float(f"{value:.{DIGITS}g}"), PLACES) if isfinite(value) else None
    return value


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def slug(name: str) -> str:
    """A file's name of any name."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name).strip("-") or "field"
