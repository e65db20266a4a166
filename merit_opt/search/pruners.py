"""Whether, and by which rule, proposals are stopped before their last question."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from merit_opt.data.suite import Suite
from merit_opt.errors import UserError
from merit_opt.evaluation import curtail as exact
from merit_opt.evaluation.curtail import Curtailment, MissHistory, Stop
from merit_opt.evaluation.evaluation import Score
from merit_opt.evaluation.objective import Objective
from merit_opt.evaluation.pruning import Looks, MedianWatch, WilcoxonWatch
from merit_opt.evaluation.yardstick import Yardstick
from merit_opt.recipe.recipe import Recipe
from merit_opt.search.samplers import SeededSampler
from merit_opt.tracking.record import TrialRecord

Scores = Mapping[str, Score]


class Stops(Protocol):
    """Decides about the proposals of one study, from what its trials have shown."""

    def learn(self, recipe: str, scores: Scores) -> None:
        """What a recipe (its digest) scored, stopped or not."""
        ...

    def stop(self, leader: str, to_beat: float) -> Stop | None:
        """For a proposal; None measures it in full.

        Args:
            leader: Digest of the best recipe so far.
            to_beat: A proposal wins by a greater value.
        """
        ...


@dataclass(frozen=True)
class Stopping:
    """Stops the proposals of one worker by what all workers and earlier sessions measured.

    Attributes:
        rule: Decides.
        known: The scores of a recipe that was measured; none where they cannot be had for nothing.
    """

    rule: Stops
    known: Callable[[Recipe], Scores]
    _heard: set[int] = field(default_factory=set[int], init=False)

    def stop(
        self, told: Mapping[int, TrialRecord], leader: TrialRecord, to_beat: float
    ) -> Stop | None:
        """See `Stops.stop`; each of the told trials is heard of once, by its number."""
        for number in sorted(told.keys() - self._heard):
            if told[number].state != "FAIL":
                recipe = told[number].recipe
                self.rule.learn(recipe.digest, self.known(recipe))
            self._heard.add(number)
        return self.rule.stop(leader.recipe.digest, to_beat)


@dataclass(frozen=True, slots=True)
class Pruning:
    """A rule that stops proposals.

    Attributes:
        name: What it is, its numbers included; of the study's fingerprint.
        make: For one study.
        in_full_because: Why no trial of such a study may be stopped; None where it may.
    """

    name: str
    make: Callable[[Yardstick], Stops]
    in_full_because: Callable[[Objective, Suite], str | None]


Pruner = Callable[[SeededSampler], Pruning | None]
"""How to stop the proposals of a sampler; None measures them in full."""


class _Curtailing:
    def __init__(self, yardstick: Yardstick) -> None:
        self._yardstick = yardstick
        self._history = MissHistory(yardstick)

    def learn(self, recipe: str, scores: Scores) -> None:
        self._history.add(scores)

    def stop(self, leader: str, to_beat: float) -> Stop:
        return Curtailment(self._yardstick, to_beat, self._history.misses)


Compare = Callable[[Yardstick, Mapping[str, Scores], str], Stop | None]
"""Stops a proposal by the recipes measured in full, by digest, and the digest of the leader."""


@dataclass(frozen=True, slots=True)
class _Comparing:
    """Remembers every recipe that was measured in full."""

    yardstick: Yardstick
    compare: Compare
    complete: dict[str, Scores] = field(default_factory=dict[str, Scores])

    def learn(self, recipe: str, scores: Scores) -> None:
        if len(scores) == len(self.yardstick.suite.samples):
            self.complete[recipe] = scores

    def stop(self, leader: str, to_beat: float) -> Stop | None:
        return self.compare(self.yardstick, self.complete, leader)


CURTAIL = Pruning("curtail", _Curtailing, exact.in_full_because)


def auto() -> Pruner:
    """Curtail where the sampler does not learn from values, which a stopped trial lacks."""
    return lambda sampler: None if sampler.learns else CURTAIL


def none() -> Pruner:
    """Measure every proposal in full."""
    return lambda _sampler: None


def curtail() -> Pruner:
    """Stop every proposal that can no longer win; a sampler that learns is told less."""
    return lambda _sampler: CURTAIL


def wilcoxon(*, p: float, first: int, every: int) -> Pruner:
    """Stop a proposal that answers the same questions worse than the leader did.

    Args:
        p: Of Wilcoxon's signed-rank test, one-sided; in (0, 1).
        first: Questions before the first look, at least 2.
        every: Questions from look to look, at least 1.

    Raises:
        UserError: A value out of its range.
    """
    if not 0.0 < p < 1.0:
        raise UserError(f"pruner.p lies between 0 and 1, got {p}")
    looks = _looks(first, every)

    def compare(yardstick: Yardstick, complete: Mapping[str, Scores], leader: str) -> Stop | None:
        known = complete.get(leader)
        return None if known is None else WilcoxonWatch(yardstick, known, looks, p)

    return _comparing(f"wilcoxon p={p} first={first} every={every}", compare)


def median(*, startup: int, first: int, every: int) -> Pruner:
    """Stop a proposal that is below the median of the finished trials on the same questions.

    Args:
        startup: Finished trials, controls included, before any is stopped; at least 1.
        first: Questions before the first look, at least 2.
        every: Questions from look to look, at least 1.

    Raises:
        UserError: A value out of its range.
    """
    if startup < 1:
        raise UserError(f"pruner.startup is 1 or more, got {startup}")
    looks = _looks(first, every)

    def compare(yardstick: Yardstick, complete: Mapping[str, Scores], leader: str) -> Stop | None:
        finished = list(complete.values())
        return None if len(finished) < startup else MedianWatch(yardstick, finished, looks)

    return _comparing(f"median startup={startup} first={first} every={every}", compare)


def _comparing(name: str, compare: Compare) -> Pruner:
    pruning = Pruning(name, lambda yardstick: _Comparing(yardstick, compare), _no_leader_because)
    return lambda _sampler: pruning


def _looks(first: int, every: int) -> Looks:
    if first < 2 or every < 1:
        raise UserError(
            f"pruner.first is 2 or more and pruner.every 1 or more; got {first} and {every}"
        )
    return Looks(first, every)


def _no_leader_because(objective: Objective, _: Suite) -> str | None:
    """A test needs a leader, not a bound."""
    return objective.unbounded_because
