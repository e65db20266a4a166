"""Subtitle files to cues: SRT, WebVTT, and LongVideoBench's JSON."""

import codecs
import html
import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from merit_opt.data.sample import Cue
from merit_opt.errors import UserError

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)"
_CLOCK = re.compile(_TIME)
_SPAN = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_MARKUP = re.compile(r"</?[A-Za-z][^<>]*>|<[\d:.]+>|\{\\[^{}]*\}")
_LATEST_SECOND = 10_000 * 3600
_BYTE_ORDER = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_subtitles(name: str, content: bytes, offset: float) -> tuple[Cue, ...]:
    """The cues of a subtitle file, in order of time, without markup.

    Damaged cues are skipped, and those without words. One without an end is shown to the video's.

    Args:
        name: Its suffix says what it is: `.json`, or else SRT or WebVTT.
        content: The file's bytes: UTF-8, UTF-16 with its mark, or else Windows' western code page.
        offset: Seconds taken off every time; what then ends by 0 is dropped.

    Raises:
        UserError: There is something in it, and no cue can be found.
    """
    text = _decoded(content)
    read = _json if name.lower().endswith(".json") else _timed_text
    found = tuple(read(text))
    if not found and text.strip() not in ("", "[]") and not text.startswith("WEBVTT"):
        raise UserError(
            f"{name} is no table of subtitles: expected SRT, WebVTT, or a JSON list of "
            f"cues with their times, but it begins {text[:40]!r}; download it again"
        )
    return tuple(sorted(_shifted(found, offset), key=lambda cue: cue.start))


def cues_at(cues: Iterable[Cue], times: Iterable[float]) -> tuple[Cue, ...]:
    """Those shown at any of the times, in their own order, each once.

    Args:
        cues: A cue is shown from its start to just before its end.
        times: Seconds into the video, in any order.
    """
    frames = tuple(times)
    return tuple(cue for cue in cues if any(cue.start <= time < cue.end for time in frames))


def _decoded(content: bytes) -> str:
    marked = next((name for mark, name in _BYTE_ORDER if content.startswith(mark)), None)
    if marked is not None:
        text = content.decode(marked, errors="replace")
    else:
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            text = content.decode("cp1252", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _timed_text(text: str) -> Iterator[Cue]:
    """A cue's words are the lines from its times to the next empty line, or the next times."""
    lines = text.split("\n")
    starts = [i for i, line in enumerate(lines) if _SPAN.fullmatch(line)]
    for at, following in zip(starts, [*starts[1:], len(lines)], strict=False):
        parts = _SPAN.fullmatch(lines[at])
        words = lines[at + 1 : following]
        if "" in words:
            words = words[: words.index("")]
        elif following < len(lines) and words and words[-1].strip().isdigit():
            words = words[:-1]
        if parts is not None:
            start, end = _seconds(*parts.groups()[:3]), _seconds(*parts.groups()[3:])
            yield from _cue(start, end, " ".join(words))


def _json(text: str) -> Iterator[Cue]:
    try:
        rows: Any = json.loads(text)
    except (ValueError, RecursionError):
        return
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict):
            yield from _row(row)


def _row(row: dict[str, Any]) -> Iterator[Cue]:
    """``{"start": "00:00:01.200", "end": …, "line": …}`` or ``{"timestamp": [1.2, 3], "text": …}``."""
    times, words = row.get("timestamp"), row.get("text", row.get("line"))
    if not isinstance(times, list):
        times = [row.get("start"), row.get("end")]
    if len(times) == 2 and isinstance(words, str):
        start, end = _time(times[0]), math.inf if times[1] is None else _time(times[1])
        if start is not None and end is not None:
            yield from _cue(start, end, words)


def _time(value: object) -> float | None:
    if isinstance(value, str) and (parts := _CLOCK.fullmatch(value.strip())) is not None:
        return _seconds(*parts.groups())
    if isinstance(value, int | float) and abs(value) < _LATEST_SECOND:
        return float(value)
    return None


def _seconds(hours: str | None, minutes: str, seconds: str) -> float:
    return 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds.replace(",", "."))


def _cue(start: float, end: float, words: str) -> Iterator[Cue]:
    plain = " ".join(html.unescape(_MARKUP.sub("", words)).split())
    if plain and start < end:
        yield Cue(start, end, plain)


def _shifted(cues: Iterable[Cue], offset: float) -> Iterator[Cue]:
    for cue in cues:
        if cue.end > offset:
            start, end = max(cue.start - offset, 0.0), cue.end - offset
            yield Cue(round(start, 3), round(end, 3), cue.text)
