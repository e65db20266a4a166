"""A line of a user's own questions to a sample; docs/jsonl.md says what a line may hold."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from reprlib import Repr
from typing import Any, cast, get_args

from merit_opt.data.benchmarks.benchmark import odd
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.sample import LETTERS, YES_NO, Media, Number, Sample
from merit_opt.data.suite import Role
from merit_opt.data.tables import Row
from merit_opt.errors import UserError

FIELDS = (
    "id", "media", "question", "options", "answer", "role", "categories", "group", "subtitles",
    "evidence",
)  # fmt: skip
NEEDED = ("id", "media", "question", "answer")
MEDIA_FIELDS = ("path", "start", "end", "fps")
NUMBER_FIELDS = ("value", "tolerance")

_short = Repr()
_short.maxstring = _short.maxother = 60


class BadLine(Exception):
    """A line that is no question.

    Attributes:
        problems: All of them.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read_question(text: str, copy: DatasetCopy) -> Sample:
    """The sample that a line says.

    Args:
        text: The line.
        copy: Where its media are.

    Raises:
        BadLine: It says none; with every problem found.
    """
    row = _object(text)
    problems = [*_misnamed(row, FIELDS, NEEDED)]
    parts: dict[str, Any] = {}
    for field, read in _READERS:
        if field in row or field not in NEEDED:
            try:
                parts |= read(row, copy)
            except ValueError as error:
                problems.append(str(error))
    if problems:
        raise BadLine(tuple(problems))
    return Sample(**parts)


def _object(text: str) -> Row:
    try:
        row = json.loads(text, object_pairs_hook=_without_twins)
    except (ValueError, RecursionError) as error:
        raise BadLine((f"is no JSON: {error}",)) from error
    if not isinstance(row, dict):
        raise BadLine((f"is to be an object in braces, not {_short.repr(row)}",))
    return cast(Row, row)


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} stands twice")
    return found


def _misnamed(row: Row, known: tuple[str, ...], needed: tuple[str, ...]) -> Iterator[str]:
    for name in row:
        if name not in known:
            near = get_close_matches(name[:60], known, n=1, cutoff=0.0)[0]
            yield f"{_short.repr(name)} is not known; did you mean `{near}`?"
    for name in needed:
        if name not in row:
            yield f"`{name}` is missing"


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"`{name}` is to be a text, not {_short.repr(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"`{name}` holds half a character: {_short.repr(value)}") from None
    if "\0" in value:
        raise ValueError(f"`{name}` holds a zero byte: {_short.repr(value)}")
    return value.strip()


def _named(row: Row, copy: DatasetCopy) -> dict[str, Any]:
    del copy
    given = row["id"]
    return {"id": str(given) if type(given) is int else _text("id", given)}


def _asked(row: Row, copy: DatasetCopy) -> dict[str, Any]:
    del copy
    return {"question": _text("question", row["question"])}


def _number(name: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            if math.isfinite(number := float(value)):
                return number
        except OverflowError:
            pass
    raise ValueError(f"`{name}` is to be a number, not {_short.repr(value)}")


def _several(value: object) -> list[object]:
    return cast(list[object], value) if isinstance(value, list) else [value]


def _shown(row: Row, copy: DatasetCopy) -> dict[str, Any]:
    media = tuple(_medium(copy, one) for one in _several(row["media"]))
    if not media:
        raise ValueError("`media` is to name one file at least")
    own = _first_path(row["media"])
    group = _text("group", row["group"]) if "group" in row else own
    return {"media": media, "group_id": group}


def _medium(copy: DatasetCopy, value: object) -> Media:
    row = {"path": value} if isinstance(value, str) else value
    if not isinstance(row, dict):
        raise ValueError(f"`media` is a path or an object with one, not {_short.repr(value)}")
    row = cast(dict[str, object], row)
    for problem in _misnamed(row, MEDIA_FIELDS, ("path",)):
        raise ValueError(f"`media`: {problem}")
    path = _text("path", row["path"])
    start, end, fps = (_time(name, row.get(name)) for name in ("start", "end", "fps"))
    if end is not None and end <= (start or 0.0):
        raise ValueError(f"`end` is to come after `start`: {path} has {start} and {end}")
    try:
        medium = copy.media(path, start=start, end=end, fps=fps)
        is_folder = medium.path.is_dir()
    except (UserError, OSError, RuntimeError) as error:  # pathlib's of a circle of links
        raise ValueError(f"cannot be read: {error}") from error
    if is_folder and not fps:
        raise ValueError(f"{path} is a folder of frames: give its `fps`, above 0")
    if medium.path.is_file() and fps is not None:
        raise ValueError(f"{path} is no folder of frames, which alone have an `fps` to give")
    return medium


def _time(name: str, value: object) -> float | None:
    if value is None:
        return None
    if (number := _number(name, value)) < 0:
        raise ValueError(f"`{name}` is to be 0 or more, not {number}")
    return number


def _first_path(value: object) -> str:
    first = _several(value)[0]
    return str(cast(Mapping[str, object], first)["path"] if isinstance(first, dict) else first)


def _answered(row: Row, copy: DatasetCopy) -> dict[str, Any]:
    del copy
    options, answer = _options(row.get("options")), row["answer"]
    if options:
        return {"options": options, "answer": _index(answer, options), "flags": odd(options)}
    if isinstance(answer, str) and answer.strip().lower() in YES_NO:
        index = YES_NO.index(answer.strip().lower())
        return {"options": YES_NO, "answer": index, "is_yes_no": True}
    if isinstance(answer, str | list | None | bool):
        raise ValueError(
            f"without `options`, `answer` is a number, yes or no, not {_short.repr(answer)}"
        )
    return {"options": (), "answer": _right_number(answer)}


def _options(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not 1 <= len(cast(list[object], value)) <= len(LETTERS):
        raise ValueError(
            f"`options` is a list of 1 to {len(LETTERS)} texts, not {_short.repr(value)}"
        )
    return tuple(_text("options", option) for option in cast(list[object], value))


def _index(answer: object, options: tuple[str, ...]) -> int:
    meant: set[int] = set()
    if type(answer) is int:
        meant = {answer} & set(range(len(options)))
    elif isinstance(answer, str):
        meant = {i for i, option in enumerate(options) if option == answer.strip()}
        meant |= {i for i, _ in enumerate(options) if LETTERS[i] == answer.strip()}
    if len(meant) == 1:
        return meant.pop()
    said = "none" if not meant else "several"
    raise ValueError(
        f"`answer` is the right option's index from 0, letter or text; {_short.repr(answer)} is "
        f"{said} of {len(options)} options"
    )


def _right_number(answer: object) -> Number:
    if not isinstance(answer, dict):
        return Number(_number("answer", answer), 0.0)
    row = cast(dict[str, object], answer)
    for problem in _misnamed(row, NUMBER_FIELDS, ("value",)):
        raise ValueError(f"`answer`: {problem}")
    tolerance = _number("tolerance", row.get("tolerance", 0))
    if tolerance < 0:
        raise ValueError(f"`tolerance` is to be 0 or more, not {tolerance}")
    return Number(_number("value", row["value"]), tolerance)


def _sorted(row: Row, copy: DatasetCopy) -> dict[str, Any]:
    del copy
    given, role = row.get("categories", {}), row.get("role", "other")
    if not isinstance(given, dict):
        raise ValueError(f"`categories` is an object of texts, not {_short.repr(given)}")
    if role not in get_args(Role):
        raise ValueError(f"`role` is TR, TP or other, not {_short.repr(role)}")
    pairs = cast(dict[str, object], given).items()
    categories = tuple((_text("categories", name), _text(name, value)) for name, value in pairs)
    if "role" in row and "role" in dict(categories):
        raise ValueError("`role` stands beside `categories` and in it; leave one")
    return {"categories": ((("role", str(role)),) if "role" in row else ()) + categories}


def _proved(row: Row, copy: DatasetCopy) -> dict[str, Any]:
    del copy
    given = row.get("evidence", [])
    if not isinstance(given, list):
        raise ValueError(f"`evidence` is a list of [start, end], not {_short.repr(given)}")
    return {"evidence": tuple(_span(one) for one in cast(list[object], given))}


def _span(value: object) -> tuple[float, float]:
    if isinstance(value, list) and len(ends := cast(list[object], value)) == 2:
        start, end = (_number("evidence", one) for one in ends)
        if 0.0 <= start < end:
            return start, end
    raise ValueError(
        f"`evidence` is of [start, end] in seconds, the end after the start, not "
        f"{_short.repr(value)}"
    )


def _heard(row: Row, copy: DatasetCopy) -> dict[str, Any]:
    if "subtitles" not in row:
        return {}
    path = _text("subtitles", row["subtitles"])
    try:
        cues = copy.subtitles(path)
    except (UserError, OSError, RuntimeError) as error:
        raise ValueError(f"`subtitles` cannot be read: {error}") from error
    if not cues:
        raise ValueError(f"`subtitles` {path} is not there, or has none in it")
    return {"subtitles": cues}


_READERS: tuple[tuple[str, Callable[[Row, DatasetCopy], dict[str, Any]]], ...] = (
    ("id", _named),
    ("media", _shown),
    ("question", _asked),
    ("answer", _answered),
    ("categories", _sorted),
    ("subtitles", _heard),
    ("evidence", _proved),
)
