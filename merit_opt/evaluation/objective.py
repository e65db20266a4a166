"""What the search maximises: arithmetic on role means, nothing else."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from merit_opt.data.suite import Role, Suite
from merit_opt.errors import UserError
from merit_opt.evaluation.evaluation import Measure


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
        if self.score not in get_args(Measure):
            raise UserError(
                f"objective.score is one of {', '.join(get_args(Measure))}; got {self.score!r}"
            )
        if not 0.0 <= self.penalty < math.inf:
            raise UserError(f"objective.penalty must be 0 or more and finite, got {self.penalty}")

    def __call__(self, means: Mapping[Role, float], base: Mapping[Role, float]) -> float:
        """The objective of role means against the base's on the same samples."""
        return (means["TR"] - base["TR"]) - self.penalty * max(0.0, base["TP"] - means["TP"])


def require_measurable(objective: PenalisedGain, suite: Suite) -> None:
    """Refuse a score that the suite's scorer does not give.

    Raises:
        UserError: Answers in the model's own words have no probability.
    """
    if suite.asking.scorer == "generate" and objective.score != "accuracy":
        raise UserError(
            f"objective.score={objective.score} needs probabilities, and suite.scorer=generate gives "
            "none; give objective.score=accuracy, or suite.scorer=letter_logprob"
        )
