"""What the search maximises: arithmetic on role means, nothing else."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from merit_opt.data.suite import Role, Suite
from merit_opt.errors import UserError
from merit_opt.evaluation.evaluation import Measure

Means = Mapping[Role, float]
PickRule = Literal["knee", "tp_loss"]
TP_LOSS = "TP loss"


class Objective(Protocol):
    """Role means against the base's on the same samples, as the search and as readers want them."""

    @property
    def score(self) -> Measure:
        """What the role means are means of."""
        ...

    @property
    def identity(self) -> str:
        """What must not change while a study is resumed."""
        ...

    @property
    def price(self) -> float:
        """What a lost point of TP costs in points of TR, where one number must do."""
        ...

    @property
    def widest(self) -> float:
        """No two recipes differ by more, in accuracy."""
        ...

    @property
    def unbounded_because(self) -> str | None:
        """Why the samples not asked yet can always make a trial win; None where they cannot."""
        ...

    def __call__(self, means: Means, base: Means) -> float:
        """The one number that is reported."""
        ...

    def values(self, means: Means, base: Means) -> tuple[float, ...]:
        """What the search maximises, each."""
        ...

    def constraints(self, means: Means, base: Means) -> Mapping[str, float]:
        """What must not be above zero, by name."""
        ...


@dataclass(frozen=True, slots=True)
class PenalisedGain:
    """``(TR - TR_base) - penalty * max(0, TP_base - TP)``.

    MERIT rewards TR gain and penalises TP loss (its abstract); this form of it is ours.

    Attributes:
        score: What the role means are means of.
        penalty: Price of one point of TP in points of TR; at least 0.

    Raises:
        UserError: An unknown score or a negative penalty.
    """

    score: Measure
    penalty: float

    def __post_init__(self) -> None:
        _require_score(self.score)
        _require_amount("objective.penalty", self.penalty)

    @property
    def identity(self) -> str:
        """See `Objective`."""
        return repr(self)

    @property
    def price(self) -> float:
        """See `Objective`."""
        return self.penalty

    @property
    def widest(self) -> float:
        """See `Objective`."""
        return 2.0 + self.penalty

    @property
    def unbounded_because(self) -> str | None:
        """It never falls when a mean rises: the greatest scores bound it."""
        return None

    def __call__(self, means: Means, base: Means) -> float:
        """See `Objective`."""
        return _gain(means, base) - self.penalty * max(0.0, _loss(means, base))

    def values(self, means: Means, base: Means) -> tuple[float, ...]:
        """See `Objective`."""
        return (self(means, base),)

    def constraints(self, means: Means, base: Means) -> Mapping[str, float]:
        """None."""
        return {}


@dataclass(frozen=True, slots=True)
class ConstrainedGain:
    """``TR - TR_base``, where ``TP_base - TP`` is at most `epsilon`.

    Attributes:
        score: What the role means are means of.
        epsilon: TP that may be lost, in units of `score`; at least 0, so that the base may win.

    Raises:
        UserError: An unknown score or a negative epsilon.
    """

    score: Measure
    epsilon: float

    def __post_init__(self) -> None:
        _require_score(self.score)
        _require_amount("objective.epsilon", self.epsilon)

    @property
    def identity(self) -> str:
        """See `Objective`."""
        return repr(self)

    @property
    def price(self) -> float:
        """One for one: the constraint alone says no price."""
        return 1.0

    @property
    def widest(self) -> float:
        """See `Objective`."""
        return 2.0

    @property
    def unbounded_because(self) -> str | None:
        """See `Objective`."""
        return (
            "objective=constrained has two ways to lose, and a sampler wants to know how much TP a "
            "recipe costs: every trial is measured in full"
        )

    def __call__(self, means: Means, base: Means) -> float:
        """TR gain, whatever the constraint says of it."""
        return _gain(means, base)

    def values(self, means: Means, base: Means) -> tuple[float, ...]:
        """See `Objective`."""
        return (_gain(means, base),)

    def constraints(self, means: Means, base: Means) -> Mapping[str, float]:
        """How far the TP loss lies above `epsilon`."""
        return {TP_LOSS: _loss(means, base) - self.epsilon}


@dataclass(frozen=True, slots=True)
class ParetoGain:
    """``TR - TR_base`` and ``TP - TP_base``, neither before the other.

    Attributes:
        score: What the role means are means of.
        pick: Which trial of the front is the winner; see `merit_opt.search.front`.
        epsilon: For `tp_loss`: TP that may be lost, in units of `score`; at least 0.

    Raises:
        UserError: An unknown score or rule, or a negative epsilon.
    """

    score: Measure
    pick: PickRule
    epsilon: float

    def __post_init__(self) -> None:
        _require_score(self.score)
        _require_amount("objective.epsilon", self.epsilon)
        if self.pick not in get_args(PickRule):
            raise UserError(
                f"objective.pick is one of {', '.join(get_args(PickRule))}; got {self.pick!r}"
            )

    @property
    def identity(self) -> str:
        """Without the rule that picks: it moves no trial."""
        return f"ParetoGain(score={self.score!r})"

    @property
    def price(self) -> float:
        """One for one, as in the sum that is reported."""
        return 1.0

    @property
    def widest(self) -> float:
        """See `Objective`."""
        return 4.0

    @property
    def unbounded_because(self) -> str | None:
        """See `Objective`."""
        return (
            "objective=pareto has no single leader that a trial would have to beat: every trial is "
            "measured in full"
        )

    def __call__(self, means: Means, base: Means) -> float:
        """The sum of both gains."""
        return math.fsum(self.values(means, base))

    def values(self, means: Means, base: Means) -> tuple[float, ...]:
        """TR gain, TP gain."""
        return (_gain(means, base), -_loss(means, base))

    def constraints(self, means: Means, base: Means) -> Mapping[str, float]:
        """None."""
        return {}


def _gain(means: Means, base: Means) -> float:
    return means["TR"] - base["TR"]


def _loss(means: Means, base: Means) -> float:
    return base["TP"] - means["TP"]


def _require_score(score: Measure) -> None:
    if score not in get_args(Measure):
        raise UserError(f"objective.score is one of {', '.join(get_args(Measure))}; got {score!r}")


def _require_amount(name: str, amount: float) -> None:
    if not 0.0 <= amount < math.inf:
        raise UserError(f"{name} must be 0 or more and finite, got {amount}")


def require_measurable(objective: Objective, suite: Suite) -> None:
    """Refuse a score that the suite's scorer does not give.

    Raises:
        UserError: Answers in the model's own words have no probability.
    """
    if suite.asking.scorer == "generate" and objective.score != "accuracy":
        raise UserError(
            f"objective.score={objective.score} needs probabilities, and suite.scorer=generate gives "
            "none; give objective.score=accuracy, or suite.scorer=letter_logprob"
        )
