"""Stopping a trial that most likely will not win: cheaper than curtailment, and at times wrong.

Optuna's own pruners want every partial result written to the storage, which costs as much as a
trial, and make the last of them the value of the trial they stop. Here the same tests look at the
scores at hand, and a stopped trial has no value.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from merit_opt.data.suite import Role
from merit_opt.evaluation.curtail import Packs
from merit_opt.evaluation.evaluation import Measure, Score
from merit_opt.evaluation.yardstick import Yardstick


@dataclass(frozen=True, slots=True)
class Looks:
    """How often a trial is looked at.

    Attributes:
        first: Questions that are asked before the first look, at least 2.
        every: Questions from one look to the next, at least 1; media are asked whole.
    """

    first: int
    every: int


class Watch:
    """A trial in progress: questions in one order for all trials, a look after every block.

    The order is drawn from the samples' names, so that the first questions are no easier than the
    rest and a partial mean of one trial compares with another's.
    """

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        self._next = looks.first

    def order(self, packs: Packs) -> list[int]:
        """Indices of `packs`, shuffled alike for every trial."""
        return sorted(range(len(packs)), key=lambda i: _drawn(packs[i][0]))

    def is_hopeless(self, scores: Mapping[str, Score]) -> bool:
        """Whether it is time for a look, and the look says stop."""
        if len(scores) < self._next:
            return False
        self._next = len(scores) + self._looks.every
        return self.is_behind(scores)

    def is_behind(self, scores: Mapping[str, Score]) -> bool:
        """What the test says."""
        raise NotImplementedError

    def bound(self, scores: Mapping[str, Score]) -> float | None:
        """A test proves nothing."""
        return None


def _drawn(ids: Sequence[str]) -> str:
    return hashlib.sha256("/".join(sorted(ids)).encode()).hexdigest()


class WilcoxonWatch(Watch):
    """Stops a trial that answers the same questions worse than the leader did.

    Wilcoxon's signed-rank test, one-sided, of the differences per question, each weighted by what
    it is worth in the objective near the base. As in Optuna's pruner, zeros are split, and a trial
    whose mean is not below the leader's goes on whatever the test says.

    Attributes:
        leader: Sample id -> score of the best trial so far.
        p: It stops below this.
    """

    def __init__(
        self, yardstick: Yardstick, leader: Mapping[str, Score], looks: Looks, p: float
    ) -> None:
        super().__init__(looks)
        self._measure: Measure = yardstick.objective.score
        self._weights = yardstick.weights
        self._leader = leader
        self._p = p

    def is_behind(self, scores: Mapping[str, Score]) -> bool:
        """See `Watch`."""
        found: list[float] = []
        for i, score in scores.items():
            other = self._leader[i].measured(self._measure) if i in self._leader else None
            own, weight = score.measured(self._measure), self._weights.get(i, 0.0)
            if own is not None and other is not None and weight > 0.0:
                found.append(weight * (own - other))
        return is_worse(found, self._p)


def is_worse(differences: Sequence[float], p: float) -> bool:
    """Whether they lie below zero, by Wilcoxon's test and by their mean.

    The normal approximation, whatever their number: exact p-values of tied scores take seconds.
    """
    if len(differences) < 2 or not np.isfinite(differences).all() or math.fsum(differences) >= 0.0:
        return False
    test: Any = stats.wilcoxon(
        differences, alternative="less", zero_method="zsplit", method="asymptotic"
    )
    return bool(test.pvalue < p)


class MedianWatch(Watch):
    """Stops a trial that is below the median of the finished ones on the same first questions.

    Attributes:
        finished: Sample id -> score, of each finished trial.
    """

    def __init__(
        self, yardstick: Yardstick, finished: Sequence[Mapping[str, Score]], looks: Looks
    ) -> None:
        super().__init__(looks)
        self._objective = yardstick.objective
        self._base = _by_role(yardstick)
        self._finished = finished

    def is_behind(self, scores: Mapping[str, Score]) -> bool:
        """See `Watch`."""
        own = self._partial(scores, scores)
        others = [self._partial(other, scores) for other in self._finished]
        known = [number for number in others if number is not None]
        return own is not None and bool(known) and own < float(np.median(known))

    def _partial(self, scores: Mapping[str, Score], among: Mapping[str, Score]) -> float | None:
        """The objective over those of the samples `among`; None where a role has none yet."""
        means: dict[Role, float] = {}
        base_means: dict[Role, float] = {}
        for role, base in self._base.items():
            numbers = {
                i: number
                for i in among.keys() & base.keys() & scores.keys()
                if (number := scores[i].measured(self._objective.score)) is not None
            }
            if not numbers:
                return None
            means[role] = math.fsum(numbers.values()) / len(numbers)
            base_means[role] = math.fsum(base[i] for i in numbers) / len(numbers)
        return self._objective(means, base_means)


def _by_role(yardstick: Yardstick) -> dict[Role, dict[str, float]]:
    """Sample id -> the base's score, by the roles that objectives compare."""
    found: dict[Role, dict[str, float]] = {"TR": {}, "TP": {}}
    base = yardstick.base.measured(yardstick.objective.score)
    for sample in yardstick.suite.samples:
        role = yardstick.suite.role(sample)
        if role in found and sample.id in base:
            found[role][sample.id] = base[sample.id]
    return found
