"""Stopping a trial that can no longer win, without changing who wins."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from merit_opt.data.suite import Suite
from merit_opt.evaluation.evaluation import Measure, Score
from merit_opt.evaluation.objective import Objective
from merit_opt.evaluation.yardstick import GREATEST, Yardstick

Packs = Sequence[tuple[Sequence[str], int]]
"""Sample ids and rows of what is asked together."""


class Stop(Protocol):
    """When an evaluation is not worth finishing, and in which order to ask."""

    def order(self, packs: Packs) -> list[int]:
        """Indices of `packs`, the first to ask first."""
        ...

    def is_hopeless(self, scores: Mapping[str, Score]) -> bool:
        """Whether to stop after `scores` (by sample id)."""
        ...

    def bound(self, scores: Mapping[str, Score]) -> float | None:
        """What no completion of `scores` exceeds; None where that is not known."""
        ...


def in_full_because(objective: Objective, suite: Suite) -> str | None:
    """Why no trial may be stopped before its end; None where it may."""
    if math.isinf(GREATEST[objective.score]):
        return (
            f"objective.score={objective.score} has no greatest value, so that what is not yet "
            "asked could always make a trial win: every trial is measured in full"
        )
    if (why := objective.unbounded_because) is not None:
        return why
    if suite.asking.scorer == "generate":
        return (
            "suite.scorer=generate leaves other samples unscored for every recipe, so that no bound "
            "holds: every trial is measured in full"
        )
    return None


@dataclass(frozen=True, eq=False, slots=True)
class Curtailment:
    """When to stop, and in which order to ask so that it comes soon.

    A trial stops once its bound does not exceed what it must beat. Its own value, whatever the
    remaining answers, is then at most that: for a given list of recipes the incumbents and the
    winner are those of full evaluation.

    Attributes:
        yardstick: Gives bounds.
        to_beat: What a value must exceed to win, now or later.
        misses: Sample id -> how far its score is expected to stay below the greatest possible;
            it decides the order alone.
    """

    yardstick: Yardstick
    to_beat: float
    misses: Mapping[str, float]

    def is_hopeless(self, scores: Mapping[str, Score]) -> bool:
        """Whether no completion of `scores` exceeds what it must beat."""
        return self.yardstick.bound(scores) <= self.to_beat

    def bound(self, scores: Mapping[str, Score]) -> float:
        """See `Yardstick.bound`."""
        return self.yardstick.bound(scores)

    def order(self, packs: Packs) -> list[int]:
        """Indices of `packs`, those first that are expected to lower the bound most per row."""
        weights = self.yardstick.weights

        def fall(index: int) -> float:
            ids, rows = packs[index]
            return sum(weights.get(i, 0.0) * self.misses.get(i, 0.0) for i in ids) / rows

        return sorted(range(len(packs)), key=lambda index: (-fall(index), index))


class MissHistory:
    """How far each sample's score stayed below the greatest possible, on average so far."""

    def __init__(self, yardstick: Yardstick) -> None:
        self._measure: Measure = yardstick.objective.score
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self.add(yardstick.base.by_id)

    def add(self, scores: Mapping[str, Score]) -> None:
        """Learn from the scores of an evaluation, complete or curtailed."""
        for i, score in scores.items():
            if (number := score.measured(self._measure)) is not None:
                self._sums[i] = self._sums.get(i, 0.0) + GREATEST[self._measure] - number
                self._counts[i] = self._counts.get(i, 0) + 1

    @property
    def misses(self) -> Mapping[str, float]:
        """Sample id -> mean miss."""
        return {i: total / self._counts[i] for i, total in self._sums.items()}
