"""What `merit-opt attribute` left in a folder, as far as it is of this pair and this recipe."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pyarrow import ArrowException

from merit_opt.reporting.facts import Attribution, Row

LAYERS = ("scan", "mask", "gradient", "leave_out")
FRAMES = "frames"
RESULT = "result.json"
REASONS = (OSError, ValueError, KeyError, TypeError, AttributeError, ArrowException)
NEEDED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(LAYERS, ("layer", "part", "role", "difference")),
    FRAMES: ("sample", "model", "method", "frame", "start_s", "end_s", "attribution"),
}


def read_attribution(folder: Path, identity: Mapping[str, str]) -> Attribution:
    """The tables of a folder; what is torn, of another form or of another pair is left out.

    A table is read where result.json says whose it is: it may be left of another pair.

    Args:
        folder: Of one recipe; may be missing.
        identity: What must be alike where the folder says it: `pair` and `recipe` digests.
    """
    if not folder.is_dir():
        return Attribution()
    refused: list[str] = []
    runs = _runs(folder, refused)
    if strange := _strange(runs, identity):
        return Attribution(refused=(f"{folder} is left out: {strange}",))
    if not runs and not refused and _tables(folder):
        refused.append(f"{folder} is left out: without {RESULT} its tables may be of another pair")
    tables = {name: _listed(folder, name, runs, refused) for name in NEEDED}
    return Attribution(
        layers=[{"method": name, **row} for name in LAYERS for row in tables[name]],
        frames=tables[FRAMES],
        runs=runs,
        refused=tuple(refused),
    )


def _runs(folder: Path, refused: list[str]) -> dict[str, Any]:
    path = folder / RESULT
    if not path.is_file():
        return {}
    try:
        found = dict(json.loads(path.read_text()))
        _require_entries(found)
        return found
    except REASONS as error:
        refused.append(f"{path} cannot be read ({error}), so that no table beside it is shown")
        return {}


def _require_entries(found: Mapping[str, Any]) -> None:
    for name, entry in found.get("methods", {}).items():
        if not (isinstance(entry["provenance"], dict) and isinstance(entry["files"], list)):
            raise TypeError(f"method {name} does not say whose its files are")


def _tables(folder: Path) -> list[str]:
    return [name for name in NEEDED if (folder / f"{name}.parquet").is_file()]


def _listed(folder: Path, name: str, runs: Mapping[str, Any], refused: list[str]) -> list[Row]:
    """Rows of a table that a method of result.json wrote."""
    files = {file for entry in runs.get("methods", {}).values() for file in entry["files"]}
    if f"{name}.parquet" in files:
        return _rows(folder, name, refused)
    if runs and name in _tables(folder):
        path = folder / f"{name}.parquet"
        refused.append(f"{path} is left out: {RESULT} names no method that wrote it")
    return []


def _rows(folder: Path, name: str, refused: list[str]) -> list[Row]:
    path = folder / f"{name}.parquet"
    if not path.is_file():
        return []
    try:
        table = pq.read_table(path)
        if missing := set(NEEDED[name]) - set(table.column_names):
            raise ValueError(f"no column {', '.join(sorted(missing))}")
        return table.to_pylist()
    except REASONS as error:
        refused.append(f"{path} cannot be read ({error})")
        return []


def _strange(runs: Mapping[str, Any], identity: Mapping[str, str]) -> str:
    for key, told in _told(runs):
        if told and told != identity[key]:
            return f"it is of {key} {told}, and the study's is {identity[key]}"
    return ""


def _told(runs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Digests that the folder and each of its methods' runs name."""
    yield "pair", runs.get("pair", "")
    for entry in runs.get("methods", {}).values():
        for key in ("pair", "recipe"):
            yield key, entry.get("provenance", {}).get(key, "")
