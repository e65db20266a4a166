"""Who leads among told trials: of one value the greatest, of two the one that is picked."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from merit_opt.evaluation.objective import ParetoGain, PickRule
from merit_opt.tracking.record import TrialRecord


@dataclass(frozen=True, slots=True)
class Pick:
    """How the winner is picked from the front of two gains.

    Attributes:
        how: `knee`: furthest above the line through the front's ends, both gains scaled to the
            front's ranges. `tp_loss`: the greatest TR gain that costs at most `epsilon` of TP.
        epsilon: TP that may be lost, in units of what the search optimises.
    """

    how: PickRule
    epsilon: float

    @classmethod
    def of(cls, objective: object) -> Self | None:
        """The rule of an objective; None where it has one value."""
        if isinstance(objective, ParetoGain):
            return cls(objective.pick, objective.epsilon)
        return None

    def __call__(self, front: Sequence[TrialRecord]) -> TrialRecord:
        """One of `front`, which is not empty."""
        return _knee(front) if self.how == "knee" else _within(front, self.epsilon)


def leader(records: Iterable[TrialRecord], pick: Pick | None) -> TrialRecord | None:
    """The best of the feasible records; the earliest of equals."""
    feasible = [r for r in records if r.feasible]
    if pick is None or not feasible:
        return max(feasible, key=lambda r: (_value(r), -r.number), default=None)
    return pick(pareto_front(feasible))


def leaders(records: Iterable[TrialRecord], pick: Pick | None, n: int) -> list[TrialRecord]:
    """The best, the best of the others, and so on: at most `n`, of distinct recipes."""
    left = list(records)
    found: list[TrialRecord] = []
    while len(found) < n and (one := leader(left, pick)) is not None:
        found.append(one)
        left = [r for r in left if r.recipe != one.recipe]
    return found


def simplest(records: Iterable[TrialRecord], leading: TrialRecord, share: float) -> TrialRecord:
    """The recipe that names layers: each must be worth `share` of the leader's value.

    Of a falling number of layers the one that keeps most: the greatest value less `share` of the
    leader's for every merged layer; the earliest of equals. The leader itself where it gains
    nothing. The rule is ours.
    """
    price = share * (leading.value or 0.0)
    if price <= 0.0:
        return leading
    feasible = [r for r in records if r.feasible]
    return max(
        feasible, key=lambda r: (_value(r) - price * len(r.recipe.merged_layers), -r.number)
    )


def pareto_front(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Those that no other record beats in one value without losing in the other, by falling first.

    Of equals the earliest alone.
    """
    found: list[TrialRecord] = []
    for record in sorted(records, key=lambda r: (-r.values[0], -r.values[1], r.number)):
        if not found or record.values[1] > found[-1].values[1]:
            found.append(record)
    return found


def _knee(front: Sequence[TrialRecord]) -> TrialRecord:
    """Equally far: the greater sum of gains, then the greater TP gain, then the earlier.

    So a front of two ends is decided by the sum, and one without a bulge is never by an end that
    pays more than it gains.
    """
    spans = [_span([r.values[side] for r in front]) for side in (0, 1)]

    def height(record: TrialRecord) -> float:
        scaled = [(v - low) / width for v, (low, width) in zip(record.values, spans, strict=True)]
        return round(math.fsum(scaled), 12)  # the ends lie on the line, whatever the rounding

    return max(front, key=lambda r: (height(r), math.fsum(r.values), r.values[1], -r.number))


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return low, (high - low) or 1.0


def _within(front: Sequence[TrialRecord], epsilon: float) -> TrialRecord:
    """Where none keeps to it, as before the base is told, the one that loses least."""
    kept = [r for r in front if -r.values[1] <= epsilon]
    if not kept:
        return max(front, key=lambda r: (r.values[1], -r.number))
    return max(kept, key=lambda r: (r.values[0], -r.number))


def _value(record: TrialRecord) -> float:
    return -math.inf if record.value is None else record.value
