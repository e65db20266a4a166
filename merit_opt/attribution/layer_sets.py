"""Sets of layers to compare the selected ones with, and what the comparison says."""

import math
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from merit_opt.errors import UserError

FEWEST = 20

Kind = Literal["selected", "unselected", "random"]
Layers = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LayerSets:
    """Sets of one size, each different from all others of its kind.

    Attributes:
        selected: The layers that the recipe merges.
        random: Drawn from all layers, never the selected set itself.
        unselected: Drawn from the layers that the recipe does not merge.
    """

    selected: Layers
    random: tuple[Layers, ...]
    unselected: tuple[Layers, ...]

    def by_kind(self) -> dict[Kind, tuple[Layers, ...]]:
        """All of them."""
        return {
            "selected": (self.selected,),
            "random": self.random,
            "unselected": self.unselected,
        }


def require_draws(count: int) -> None:
    """None, or enough to say anything.

    Raises:
        UserError: It is another number.
    """
    if count and count < FEWEST:
        raise UserError(f"method.random_sets is 0 or at least {FEWEST}, got {count}")


def draw_sets(n_layers: int, selected: Sequence[int], count: int, seed: int) -> LayerSets | None:
    """At most `count` sets of each kind: all there are, where there are no more.

    Returns:
        None where the recipe merges no layer, or all, or none is to be drawn.
    """
    if not count or not 0 < len(selected) < n_layers:
        return None
    own, rng = tuple(sorted(selected)), random.Random(seed)
    others = [i for i in range(n_layers) if i not in own]
    return LayerSets(
        own,
        _drawn(range(n_layers), own, count, rng),
        _drawn(others, own, count, rng),
    )


def _drawn(
    pool: Sequence[int], selected: Layers, count: int, rng: random.Random
) -> tuple[Layers, ...]:
    size = len(selected)
    possible = math.comb(len(pool), size) - set(selected).issubset(pool)
    if possible <= count:
        return tuple(c for c in combinations(pool, size) if c != selected)
    found = dict[Layers, None]()
    while len(found) < count:
        one = tuple(sorted(rng.sample(pool, size)))
        if one != selected:
            found[one] = None
    return tuple(found)


def permutation_p(selected: float, others: Collection[float], failed: int = 0) -> float:
    """Share of sets, the selected one among them, whose value is at least the selected one's.

    Sets that could not be measured count as such: a mask that destroys the model may fail.
    B. Phipson and G. K. Smyth, "Permutation p-values should never be zero", Statistical
    Applications in Genetics and Molecular Biology 9(1), 2010.
    """
    greater = sum(other >= selected for other in others)
    return (1 + greater + failed) / (1 + len(others) + failed)


def contrasts(
    rows: Sequence[Mapping[str, Any]], failed: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """How masking the selected layers compares with masking others, by all that tells rows apart.

    Drops are positive where masking lowers the score. `ratio` is TR drop over TP drop, None
    where TP does not drop. p-values are one-sided, of a drop as great by chance; that of `TR - TP` is
    whether the layers matter more for reasoning than for perception.

    Args:
        rows: Of the table of sets.
        failed: What tells the rows of sets apart that could not be measured; they are counted,
            and in p as drops at least as great as the selected layers'.
    """
    names = ("variant", "model", "part", "unit")
    lost = Counter(tuple(one[name] for name in (*names[:-1], "set")) for one in failed)
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    found: list[dict[str, Any]] = []
    for key, own in groups.items():
        drops = {kind: _drops(own, kind) for kind in ("selected", "random", "unselected")}
        if drops["selected"]:
            counts = {kind: lost[(*key[:-1], kind)] for kind in drops}
            found.append(dict(zip(names, key, strict=True)) | _contrast(drops, counts))
    return found


Drops = dict[str, list[float]]


def _drops(rows: Sequence[Mapping[str, Any]], kind: str) -> Drops:
    """By role, and of TR beyond TP, of the sets that both were measured on."""
    by_draw: dict[int, dict[str, float]] = {}
    for row in rows:
        if row["set"] == kind:
            by_draw.setdefault(row["draw"], {})[row["role"]] = -row["difference"]
    whole = [drop for drop in by_draw.values() if drop.keys() >= {"TR", "TP"}]
    if not whole:
        return {}
    return {
        "TR": [drop["TR"] for drop in whole],
        "TP": [drop["TP"] for drop in whole],
        "TR - TP": [drop["TR"] - drop["TP"] for drop in whole],
    }


def _contrast(drops: Mapping[str, Drops], failed: Mapping[str, int]) -> dict[str, Any]:
    selected = {name: values[0] for name, values in drops["selected"].items()}
    found: dict[str, Any] = {"selected": selected | {"ratio": _ratio(selected)}}
    for kind in ("random", "unselected"):
        others, lost = drops[kind], failed[kind]
        means = {name: math.fsum(v) / len(v) for name, v in others.items()}
        found[kind] = {
            "sets": len(others.get("TR", [])),
            "failed": lost,
            "mean": means | {"ratio": _ratio(means)} if means else None,
            "p": {k: permutation_p(selected[k], v, lost) for k, v in others.items()} or None,
        }
    return found


def _ratio(drops: Mapping[str, float]) -> float | None:
    return drops["TR"] / drops["TP"] if drops["TP"] > 0 else None
