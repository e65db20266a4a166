"""Tables of a report, and how they are written: CSV for machines, the others for readers."""

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Literal

from merit_opt.evaluation.stats import ALPHA
from merit_opt.tracking.markdown import plain

NONE = "-"
LEVEL = f"{ALPHA:g}"
RULE = f"Significant means that the 95 % interval leaves out 0 and that p is below {LEVEL}."
EMPTY = (
    f"An empty mark is not significant: its interval includes 0, or its p is not below {LEVEL}."
)
FORMULAS = ("=", "+", "-", "@", "\t", "\n")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval.

    Attributes:
        value: The estimate.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


Cell = str | int | float | Estimate | None
Form = Literal["text", "count", "share", "signed", "number", "p"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        key: Its name in CSV.
        title: Its name for readers.
        form: How its numbers are written for readers; CSV has them in full.
    """

    key: str
    title: str
    form: Form = "text"

    @property
    def is_text(self) -> bool:
        """Whether it is set to the left."""
        return self.form == "text"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns.

    Attributes:
        name: Its files' name, of letters, digits and hyphens.
        title: What it shows, in a line.
        columns: From left to right.
        rows: A cell a column; None is unknown.
        note: What a reader must know, in sentences; may be empty.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    @property
    def shown(self) -> list[list[str]]:
        """The rows as readers see them."""
        return [
            [text(cell, column.form) for cell, column in zip(row, self.columns, strict=True)]
            for row in self.rows
        ]


def text(cell: Cell, form: Form = "text") -> str:
    """A cell as readers see it; numbers in ASCII."""
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return NONE
    if isinstance(cell, Estimate):
        ends = f"{text(cell.low, form)}, {text(cell.high, form)}"
        return f"{text(cell.value, form)} [{ends}]"
    return cell if isinstance(cell, str) else FORMS[form](cell)


def p_text(p: float) -> str:
    """A p-value; below 0.0001 the bound alone, which is what 9999 resamples can tell.

    What would be rounded to 0.05 has the digits that tell on which side of it it lies.
    """
    if p < 0.0001:
        return "< 0.0001"
    told = f"{p:.2g}"
    near = (f"{p:.{digits}g}" for digits in range(3, 16))
    return told if told != LEVEL else next((one for one in near if float(one) != ALPHA), told)


def p_words(p: float) -> str:
    """A p-value in a sentence: `p = 0.02`, or `p < 0.0001`."""
    told = p_text(p)
    return f"p {told}" if told.startswith("<") else f"p = {told}"


def _plainly(number: float) -> str:
    if not isinstance(number, float):
        return str(number)
    return f"{number:,.0f}" if 1e3 <= abs(number) < 1e6 else f"{number:.3g}"


def _signed(number: float) -> str:
    told = f"{number:+.3f}"
    return "+0.000" if told == "-0.000" else told


FORMS: Mapping[Form, Callable[[float], str]] = {
    "text": _plainly,
    "number": _plainly,
    "count": "{:,.0f}".format,
    "share": "{:.3f}".format,
    "signed": _signed,
    "p": p_text,
}


def to_csv(table: Table) -> str:
    """With a header; an interval's ends have columns of their own."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    wide = [
        any(isinstance(row[i], Estimate) for row in table.rows) for i in range(len(table.columns))
    ]
    writer.writerow(
        name
        for column, has_ends in zip(table.columns, wide, strict=True)
        for name in _names(column, has_ends=has_ends)
    )
    for row in table.rows:
        writer.writerow(
            value
            for cell, has_ends in zip(row, wide, strict=True)
            for value in _values(cell, has_ends=has_ends)
        )
    return out.getvalue()


def _names(column: Column, *, has_ends: bool) -> Iterator[str]:
    yield column.key
    if has_ends:
        yield f"{column.key}_low"
        yield f"{column.key}_high"


def _values(cell: Cell, *, has_ends: bool) -> Iterator[str | float]:
    if isinstance(cell, Estimate):
        yield from (cell.value, cell.low, cell.high)
        return
    yield "" if cell is None else _no_formula(cell) if isinstance(cell, str) else cell
    if has_ends:
        yield from ("", "")


def _no_formula(words: str) -> str:
    """Words that a spreadsheet shows instead of working them out: after an apostrophe.

    A carriage return, which would end the row, is a new line.
    """
    kept = words.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{kept}" if kept.startswith(FORMULAS) else kept


def to_markdown(table: Table) -> str:
    """A table as GitHub reads it, under its title."""
    ruler = ["---" if column.is_text else "---:" for column in table.columns]
    lines = [[column.title for column in table.columns], ruler, *table.shown]
    body = "\n".join(f"| {' | '.join(plain(c) for c in line)} |" for line in lines)
    note = f"\n{plain(table.note)}\n" if table.note else ""
    return f"**{plain(table.title)}**\n\n{body}\n{note}"


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"$<$",
    ">": r"$>$",
    "·": r"$\cdot$",
    "λ": r"$\lambda$",
    "→": r"$\rightarrow$",
    "…": r"\ldots{}",
}


def latex(words: str) -> str:
    """Words as LaTeX sets them."""
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(words.split()))


def latex_number(words: str) -> str:
    """A number as LaTeX sets it: with a minus, not a hyphen."""
    return latex(words).replace("-", "$-$") if words[:1] in "+-" or "[" in words else latex(words)


def alignment(columns: Sequence[Column]) -> str:
    """The column specification of a LaTeX tabular."""
    return "".join("l" if column.is_text else "r" for column in columns)
