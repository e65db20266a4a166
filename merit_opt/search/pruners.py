"""Whether, and by which rule, proposals are stopped before their last question."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from merit_opt.data.suite import Suite
from merit_opt.errors import UserError
from merit_opt.evaluation import curtail as exact
from merit_opt.evaluation.curtail import Curtailment, MissHistory, Stop
from merit_opt.evaluation.evaluation import Score
from merit_opt.evaluation.objective import Objective
from merit_opt.evaluation.pruning import Looks, MedianWatch, WilcoxonWatch
from merit_opt.evaluation.yardstick import Yardstick
from merit_opt.search.samplers import SeededSampler

Scores = Mapping[str, Score]


class Stops(Protocol):
    """Decides about the proposals of one study, from what its trials have shown."""

    def learn(self, recipe: str, scores: Scores, *, is_complete: bool) -> None:
        """What a recipe (its digest) scored, stopped or not."""
        ...

    def stop(self, leader: str, to_beat: float) -> Stop | None:
        """For a proposal; None measures it in full.

        Args:
            leader: Digest of the best recipe so far.
            to_beat: A proposal wins by a greater value.
        """
        ...


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

    def learn(self, recipe: str, scores: Scores, *, is_complete: bool) -> None:
        self._history.add(scores)

    def stop(self, leader: str, to_beat: float) -> Stop:
        return Curtailment(self._yardstick, to_beat, self._history.misses)


class _Complete:
    """Remembers the scores of every recipe that was measured in full."""

    def __init__(self, yardstick: Yardstick) -> None:
        self.yardstick = yardstick
        self.scores: dict[str, Scores] = {}

    def learn(self, recipe: str, scores: Scores, *, is_complete: bool) -> None:
        if is_complete and scores:
            self.scores[recipe] = scores


@dataclass(frozen=True, slots=True)
class _Wilcoxon:
    complete: _Complete
    looks: Looks
    p: float

    def learn(self, recipe: str, scores: Scores, *, is_complete: bool) -> None:
        self.complete.learn(recipe, scores, is_complete=is_complete)

    def stop(self, leader: str, to_beat: float) -> Stop | None:
        known = self.complete.scores.get(leader)
        if known is None:
            return None
        return WilcoxonWatch(self.complete.yardstick, known, self.looks, self.p)


@dataclass(frozen=True, slots=True)
class _Median:
    complete: _Complete
    looks: Looks
    startup: int

    def learn(self, recipe: str, scores: Scores, *, is_complete: bool) -> None:
        self.complete.learn(recipe, scores, is_complete=is_complete)

    def stop(self, leader: str, to_beat: float) -> Stop | None:
        finished = list(self.complete.scores.values())
        if len(finished) < self.startup:
            return None
        return MedianWatch(self.complete.yardstick, finished, self.looks)


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
    pruning = Pruning(
        f"wilcoxon p={p} first={first} every={every}",
        lambda yardstick: _Wilcoxon(_Complete(yardstick), looks, p),
        _no_leader_because,
    )
    return lambda _sampler: pruning


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
    pruning = Pruning(
        f"median startup={startup} first={first} every={every}",
        lambda yardstick: _Median(_Complete(yardstick), looks, startup),
        _no_leader_because,
    )
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
