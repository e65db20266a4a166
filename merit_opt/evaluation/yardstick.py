"""What evaluations are measured against: the unmerged VLM on the same samples."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from merit_opt.data.suite import Role, Suite
from merit_opt.errors import TrialFailed
from merit_opt.evaluation.evaluation import Evaluation, Measure, Score, paired_means, role_means
from merit_opt.evaluation.objective import Objective

GREATEST: Mapping[Measure, float] = MappingProxyType(
    {"accuracy": 1.0, "probability": 1.0, "log_probability": 0.0, "margin": math.inf}
)

LEAST_ANSWERED = 0.9


@dataclass(frozen=True)
class Yardstick:
    """The value of an evaluation, and the greatest value of one that is not complete.

    Attributes:
        suite: What is measured.
        objective: What the search maximises.
        base: The unmerged VLM's evaluation.
    """

    suite: Suite
    objective: Objective
    base: Evaluation

    def value(self, evaluation: Evaluation) -> float:
        """The one number, in the measure the search optimises, over the samples both could answer.

        Raises:
            TrialFailed: Of a role fewer were answered than nine in ten of those that the base did,
                or it is no finite number.
        """
        return _finite(self.objective(*self._means(evaluation, self.objective.score)))

    def values(self, evaluation: Evaluation) -> tuple[float, ...]:
        """What the search maximises, each, in its measure.

        Raises:
            TrialFailed: As for `value`.
        """
        means = self._means(evaluation, self.objective.score)
        return tuple(_finite(number) for number in self.objective.values(*means))

    def constraints(self, evaluation: Evaluation) -> Mapping[str, float]:
        """What must not be above zero, by name, in the measure the search optimises.

        Raises:
            TrialFailed: As for `value`.
        """
        means = self._means(evaluation, self.objective.score)
        return {name: _finite(by) for name, by in self.objective.constraints(*means).items()}

    def _means(
        self, evaluation: Evaluation, measure: Measure
    ) -> tuple[dict[Role, float], dict[Role, float]]:
        self._require_answered(evaluation, measure)
        return paired_means(evaluation, self.base, self.suite, measure)

    def _require_answered(self, evaluation: Evaluation, measure: Measure) -> None:
        """A recipe that answers few questions must not win by them; the share is ours."""
        answered = evaluation.measured(measure)
        for role, ids in self._members.items():
            n = sum(i in answered for i in ids)
            if n < LEAST_ANSWERED * len(ids):
                raise TrialFailed(
                    f"only {n} of the {len(ids)} {role} samples that the VLM answered could be "
                    f"scored, fewer than {LEAST_ANSWERED:.0%}"
                )

    def bound(self, scores: Mapping[str, Score]) -> float:
        """The greatest value that an evaluation which holds `scores` can still have.

        Samples without a score are given the greatest that one can have (probability 1). No
        completion has a greater value, rounding included, as long as the samples that cannot be
        scored are the base's own and the objective never falls when a mean rises (see
        `curtail.in_full_because`): a mean is a correctly rounded sum (`math.fsum`) over a count;
        and rounding, like every operation in between, keeps order. When every sample has its
        score the bound is the value, bit for bit.

        Args:
            scores: Sample id -> score, of samples that the base could be scored on.
        """
        greatest = GREATEST[self.objective.score]
        means: dict[Role, float] = {}
        for role, ids in self._members.items():
            measured = (s.measured(self.objective.score) for i in ids if (s := scores.get(i)))
            known = [number for number in measured if number is not None]
            means[role] = math.fsum([*known, *[greatest] * (len(ids) - len(known))]) / len(ids)
        return self.objective(means, self._base_means)

    def metrics(self, evaluation: Evaluation) -> dict[str, float]:
        """Accuracy by role, the objective in accuracy, and the count of unscored samples."""
        accuracy = role_means(evaluation, self.suite, "accuracy")
        return {
            **accuracy,
            "objective": self.objective(*self._means(evaluation, "accuracy")),
            "unscored": float(len(evaluation.unscored)),
        }

    @cached_property
    def weights(self) -> Mapping[str, float]:
        """Sample id -> how far the objective falls, near the base, if its score falls by 1."""
        found: dict[str, float] = {}
        for role, ids in self._members.items():
            lower: dict[Role, float] = {
                **self._base_means,
                role: self._base_means[role] - 1.0 / len(ids),
            }
            fall = self.objective(self._base_means, self._base_means) - self.objective(
                lower, self._base_means
            )
            found |= dict.fromkeys(ids, fall)
        return found

    @cached_property
    def _base_means(self) -> dict[Role, float]:
        return role_means(self.base, self.suite, self.objective.score)

    @cached_property
    def _members(self) -> dict[Role, list[str]]:
        """Role -> its samples that the base could be scored on: media fail for all recipes."""
        measured = self.base.measured(self.objective.score)
        members: dict[Role, list[str]] = {}
        for sample in self.suite.samples:
            if sample.id in measured:
                members.setdefault(self.suite.role(sample), []).append(sample.id)
        return members


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise TrialFailed(
            f"its objective is {number}, no finite number: the model holds a right option for "
            "impossible, whose log-probability is -inf; objective.score=probability stays finite"
        )
    return number
