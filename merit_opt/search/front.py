"""Who leads among told trials: of one value the thriftiest, of two the one that is picked."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from merit_opt.errors import UserError
from merit_opt.evaluation.objective import Objective, ParetoGain, PickRule
from merit_opt.tracking.record import TrialRecord

Choice = Callable[[Sequence[TrialRecord]], TrialRecord]
"""Which of some feasible trials, at least one, a study returns."""


@dataclass(frozen=True, slots=True)
class Thrift:
    """How the winner is picked by one value: the fewest switches on of all near the greatest.

    Of as many the greatest value, of equals the earliest. What gains little on few questions is as
    likely to lose on others; at a share of 0 the greatest value wins. The rule is ours, after the
    one-standard-error rule of Breiman et al., Classification and Regression Trees (1984).

    Attributes:
        share: Of the greatest value, what may be given up for fewer switches, in [0, 1).

    Raises:
        UserError: It lies elsewhere.
    """

    share: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.share < 1.0:
            raise UserError(f"study.least_share lies in [0, 1), got {self.share}")

    def __call__(self, records: Sequence[TrialRecord]) -> TrialRecord:
        """One of `records`, which are complete and not empty."""
        floor = self._floor(max(map(value_of, records)))
        near = [r for r in records if value_of(r) >= floor]
        return min(near, key=lambda r: (r.switched_on, -value_of(r), r.number))

    def to_beat(self, records: Sequence[TrialRecord], number: int, switched_on: int) -> float:
        """What a proposal must exceed to be picked, now or after whatever else is told.

        It is no more than the greatest value, by which all are judged. Below the floor it is out,
        and the floor only rises; and a rival with no more switches on is near where it is.

        Args:
            records: All that is told and may be picked, at least one.
            number: Of the proposal.
            switched_on: How many switches it has on.
        """
        greatest = max(map(value_of, records))
        bars = [math.nextafter(self._floor(greatest), -math.inf)]
        for rival in records:
            if rival.switched_on <= switched_on:
                is_first = (rival.switched_on, rival.number) < (switched_on, number)
                value = value_of(rival)
                bars.append(value if is_first else math.nextafter(value, -math.inf))
        return min(max(bars), greatest)

    def _floor(self, greatest: float) -> float:
        return greatest * (1.0 - self.share) if greatest > 0.0 else greatest


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

    def __call__(self, records: Sequence[TrialRecord]) -> TrialRecord:
        """One of the front of `records`, which are complete and not empty."""
        front = pareto_front(records)
        return _knee(front) if self.how == "knee" else _within(front, self.epsilon)


def choice_of(objective: Objective, least_share: float) -> Thrift | Pick:
    """How the winner of a study with this objective is picked.

    Raises:
        UserError: `least_share` is out of its range.
    """
    if isinstance(objective, ParetoGain):
        return Pick(objective.pick, objective.epsilon)
    return Thrift(least_share)


def leader(records: Iterable[TrialRecord], choose: Choice) -> TrialRecord | None:
    """The best of the feasible records; None without one."""
    feasible = [r for r in records if r.feasible]
    return choose(feasible) if feasible else None


def leaders(records: Iterable[TrialRecord], choose: Choice, n: int) -> list[TrialRecord]:
    """The best, the best of the others, and so on: at most `n`, of distinct recipes."""
    left = list(records)
    found: list[TrialRecord] = []
    while len(found) < n and (one := leader(left, choose)) is not None:
        found.append(one)
        left = [r for r in left if r.recipe != one.recipe]
    return found


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


def value_of(record: TrialRecord) -> float:
    """What the search optimises; less than any number where it is unknown."""
    return -math.inf if record.value is None else record.value
