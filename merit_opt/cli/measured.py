"""What earlier runs measured with a recipe, for the card of its export."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from merit_opt.cli.parts import Outputs
from merit_opt.cli.tables import difference_text
from merit_opt.models.card import Measured
from merit_opt.search.references import PREFIX


def measured_rows(outputs: Outputs, name: str, digest: str, pair: str) -> Sequence[Measured]:
    """The final comparison of the study that `name` refers to, and every evaluation on the pair.

    What is torn or of another form is passed over.

    Args:
        outputs: Where runs have written.
        name: The recipe, as the user named it.
        digest: The recipe's.
        pair: The pair's digest.
    """
    found: list[Measured] = []
    if name.startswith(PREFIX):
        study = outputs.study(name.removeprefix(PREFIX).split("/")[0])
        found += _parsed(study / "result.json", lambda result: _of_study(result, digest))
    for path in sorted(outputs.root.glob(f"evaluations/*-{digest}/result.json")):
        found += _parsed(path, lambda result: _of_evaluation(result, pair))
    return found


def _parsed(path: Path, read: Callable[[Any], Iterator[Measured]]) -> list[Measured]:
    try:
        return list(read(json.loads(path.read_text())))
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _of_study(result: Any, digest: str) -> Iterator[Measured]:
    if result["best"]["digest"] == digest:
        confirm = result["confirm"]
        suite = f"confirm side of study {result['study']}"
        yield from _rows(suite, confirm["n"], confirm["base"], confirm["best"], confirm)


def _of_evaluation(result: Any, pair: str) -> Iterator[Measured]:
    if result["pair"] == pair:
        suite = result["suite"]
        yield from _rows(suite["name"], suite["n"], result["base"], result["scores"], result)


def _rows(
    suite: str,
    n: Mapping[str, int],
    base: Mapping[str, float],
    merged: Mapping[str, float],
    found: Mapping[str, Any],
) -> Iterator[Measured]:
    for role, difference in found["difference"].items():
        yield Measured(
            suite=suite,
            role=role,
            n=int(n[role]),
            base=float(base[role]),
            merged=float(merged[role]),
            difference=difference_text(difference),
        )
