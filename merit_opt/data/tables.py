"""Annotation files to rows: JSON, JSON lines, CSV, TSV and Parquet as they come."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from merit_opt.errors import UserError

Row = Mapping[str, Any]


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        UserError: It cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from error


def read_rows(path: Path) -> tuple[Row, ...]:
    """The rows of a table, by the file's suffix.

    Raises:
        UserError: It cannot be read, or its suffix is none of those known.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise UserError(f"{path}: a table is one of {', '.join(READERS)}, not {suffix!r}")
    try:
        return tuple(READERS[suffix](path))
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as {suffix[1:]}: {error}") from error


def _json(path: Path) -> Iterator[Row]:
    rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("expected a list of objects")
    yield from rows


def _json_lines(path: Path) -> Iterator[Row]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not an object")
            yield row


def _csv(path: Path, separator: str = ",") -> Iterator[Row]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.DictReader(file, delimiter=separator, strict=True), 1):
            if None in row or None in row.values():
                raise ValueError(f"row {number} has not as many cells as the header")
            yield row


def _tsv(path: Path) -> Iterator[Row]:
    return _csv(path, "\t")


def _parquet(path: Path) -> Iterator[Row]:
    from pyarrow import parquet

    yield from parquet.read_table(path).to_pylist()


READERS: Mapping[str, Callable[[Path], Iterator[Row]]] = MappingProxyType(
    {".json": _json, ".jsonl": _json_lines, ".csv": _csv, ".tsv": _tsv, ".parquet": _parquet}
)
