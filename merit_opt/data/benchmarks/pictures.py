"""What benchmarks of pictures have in common: pictures in tables, options in texts, numbers."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.sample import LETTERS, Media, Number
from merit_opt.data.tables import Row

NO_OPTIONS = "its options cannot be told from its text"

_HEADER = re.compile(r"\s*\b(?:choices?|options?)\s*:", re.IGNORECASE)
_STYLES = (r"\({}\)", r"{}:", r"{}\.", r"{}\)")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


def picture(copy: DatasetCopy, row: Row, embedded: str, *names: str) -> Media:
    """The picture of a row: in the table itself, else a file.

    Args:
        copy: The user's copy.
        row: Of a table.
        embedded: The column that holds the picture where the table does: its bytes, or the hub's
            struct of bytes and path.
        names: Where the file may lie otherwise, relative to the copy; the first says the suffix.
    """
    held = row.get(embedded)
    content = held.get("bytes") if isinstance(held, Mapping) else held
    if isinstance(content, bytes) and content:
        return copy.picture(names[0], content)
    return copy.media(*names)


def beside(name: str, *folders: str) -> tuple[str, ...]:
    """A file's name, as it is and in each of the folders."""
    return (name, *(PurePosixPath(folder, name).as_posix() for folder in folders))


def split_options(text: str) -> tuple[str, tuple[str, ...]]:
    """A question and the options written behind it; none where there are none.

    Options are ``(A) one (B) two``, ``A: one, B: two``, ``A. one`` or ``A) one``, each on a line or
    all on one, behind `Choices:` or `Options:` or without it. All are written in one way, in order
    of their letters.
    """
    headers = [m for m in _HEADER.finditer(text) if _first(text, m.end(), at_once=True)]
    if headers:
        begin, start = headers[-1].start(), headers[-1].end()
    else:
        begin = start = 0
    found = _first(text, start, at_once=bool(headers))
    if found is None:
        return text.strip(), ()
    mark, style = found
    marks = list(_following(text, mark, style))
    ends = [m.start() for m in marks[1:]] + [len(text)]
    options = tuple(text[m.end() : end].strip() for m, end in zip(marks, ends, strict=True))
    return text[: begin if headers else mark.start()].strip(), options


def _first(text: str, start: int, *, at_once: bool) -> tuple[re.Match[str], str] | None:
    """The mark of option A, in the style that option B is marked in too."""
    for style in _STYLES:
        mark = _mark("A", style).search(text, start)
        near = mark is not None and (not at_once or not text[start : mark.start()].strip())
        if mark is not None and near and _mark("B", style).search(text, mark.end()):
            return mark, style
    return None


def _following(text: str, mark: re.Match[str], style: str) -> Iterator[re.Match[str]]:
    yield mark
    for letter in LETTERS[1:]:
        if (following := _mark(letter, style).search(text, mark.end())) is None:
            return
        mark = following
        yield mark


def _mark(letter: str, style: str) -> re.Pattern[str]:
    return re.compile(r"(?:^|,?\s+|(?<=:))" + style.format(letter) + r"\s*", re.MULTILINE)


def gold_index(gold: str, options: tuple[str, ...]) -> int | None:
    """Which option `B`, `(B)` or an option's own text means; None for none or several."""
    gold = gold.strip()
    letter = re.fullmatch(r"\(?([A-Z])\)?\.?", gold)
    if letter is not None and LETTERS.index(letter[1]) < len(options):
        return LETTERS.index(letter[1])
    return options.index(gold) if options.count(gold) == 1 else None


def plain_number(text: str, tolerance: float | None = None) -> Number | None:
    """The number that a text is and nothing else; None where it is more than that.

    Args:
        text: Digits, with a sign and decimals or without.
        tolerance: How far off is right; None for what rounds to the decimals given, and for a whole
            number only itself.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text) is None:
        return None
    decimals = len(text.partition(".")[2])
    if tolerance is None:
        tolerance = 0.5 * 10.0**-decimals if decimals else 0.0
    return Number(float(text), tolerance)
