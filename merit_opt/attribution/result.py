"""`result.json` of an attribution: one entry for each method that was run on a recipe."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from merit_opt.attribution.method import Found
from merit_opt.attribution.tables import write_table
from merit_opt.errors import UserError
from merit_opt.files import write_text
from merit_opt.recipe.recipe import Recipe, to_json

SCHEMA = 1
RESULT = "result.json"


@dataclass(frozen=True, slots=True)
class Provenance:
    """What an entry's numbers depend on.

    Attributes:
        pair: Digest of the pair.
        recipe: Digest of the recipe.
        suite: Name of the suite.
        split: Which side of it was measured on.
        samples: Digest of these samples.
        search_samples: Digest of those that the recipe was chosen by; means are taken over them.
        merit_opt: Version.
        engine: What can move a score: scorers, readers, device, libraries.
    """

    pair: str
    recipe: str
    suite: str
    split: str
    samples: str
    search_samples: str
    merit_opt: str
    engine: str


@dataclass(frozen=True, slots=True)
class Run:
    """One method's run.

    Attributes:
        method: Its name.
        settings: As its option gives them.
        seed: Of draws and resampling.
        provenance: What its numbers depend on.
        n: Samples by role.
        seconds: Wall time.
        warnings: What a reader of the numbers must know.
    """

    method: str
    settings: Mapping[str, Any]
    seed: int
    provenance: Provenance
    n: Mapping[str, int]
    seconds: float
    warnings: Sequence[str]


def keep(folder: Path, name: str, recipe: Recipe, run: Run, found: Found) -> tuple[Path, ...]:
    """Write a run's tables, and its entry beside those of other methods.

    Entries of another pair or recipe, which no table beside them belongs to any more, are dropped.

    Args:
        folder: Where; made as needed.
        name: The recipe, as the user named it.
        recipe: The recipe.
        run: What was run.
        found: What it found.

    Returns:
        The files written.

    Raises:
        UserError: The folder cannot be written.
    """
    tables = tuple(write_table(folder, table, rows) for table, rows in found.tables.items())
    entry = {
        "settings": dict(run.settings),
        "seed": run.seed,
        "provenance": asdict(run.provenance),
        "n": dict(run.n),
        "evaluations": found.evaluations,
        "failed": dict(found.failed),
        "left_out": dict(found.left_out),
        "seconds": round(run.seconds, 3),
        "warnings": list(run.warnings),
        "files": [path.name for path in tables],
        "summary": dict(found.summary),
    }
    path = folder / RESULT
    try:
        with FileLock(folder / ".lock"):
            value = {
                "schema": SCHEMA,
                "pair": run.provenance.pair,
                "recipe": {
                    "name": name,
                    "digest": recipe.digest,
                    "merged_layers": list(recipe.merged_layers),
                    "value": json.loads(to_json(recipe)),
                },
                "methods": {**_known(path, run.provenance), run.method: entry},
            }
            write_text(path, json.dumps(value, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return (path, *tables)


def methods_run(folder: Path, own: Provenance) -> frozenset[str]:
    """Names of the methods that the folder has an entry of, for the same pair and recipe."""
    return frozenset(_known(folder / RESULT, own))


def _known(path: Path, own: Provenance) -> dict[str, Any]:
    """Entries of the same pair and recipe; what is torn or of another form is passed over."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        value = json.loads(path.read_text())
        if value["schema"] == SCHEMA and value["pair"] == own.pair:
            return {
                name: entry
                for name, entry in value["methods"].items()
                if entry["provenance"]["recipe"] == own.recipe
            }
    return {}
