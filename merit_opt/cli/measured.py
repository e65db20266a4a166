"""What earlier runs measured with a recipe, for the card of its export."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from merit_opt.cli.parts import Outputs
from merit_opt.cli.tables import difference_text
from merit_opt.models.card import Measured
from merit_opt.search.references import PREFIX


def measured_rows(outputs: Outputs, name: str, digest: str) -> Sequence[Measured]:
    """The final comparison of the study that `name` refers to, and every evaluation.

    Args:
        outputs: Where runs have written.
        name: The recipe, as the user named it.
        digest: The recipe's.
    """
    found = list(_of_evaluations(outputs, digest))
    if name.startswith(PREFIX):
        study = outputs.study(name.removeprefix(PREFIX).split("/")[0])
        found = [*_of_study(_read(study / "result.json"), digest), *found]
    return found


def _of_study(result: Mapping[str, Any], digest: str) -> Iterator[Measured]:
    if result.get("best", {}).get("digest") != digest:
        return
    suite = f"confirm side of study {result['study']}"
    confirm = result["confirm"]
    yield from _rows(suite, confirm, confirm["base"], confirm["best"])


def _of_evaluations(outputs: Outputs, digest: str) -> Iterator[Measured]:
    for path in sorted(outputs.root.glob(f"evaluations/*-{digest}/result.json")):
        result = _read(path)
        suite = result["suite"]
        yield from _rows(
            suite["name"], {**result, "n": suite["n"]}, result["base"], result["scores"]
        )


def _rows(
    suite: str, found: Mapping[str, Any], base: Mapping[str, float], merged: Mapping[str, float]
) -> Iterator[Measured]:
    for role, difference in found["difference"].items():
        yield Measured(
            suite=suite,
            role=role,
            n=found["n"][role],
            base=base[role],
            merged=merged[role],
            difference=difference_text(difference),
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
