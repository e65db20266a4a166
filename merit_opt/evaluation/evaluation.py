"""Scores of one recipe on one suite, sample by sample. Missing is never zero."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from merit_opt.data.suite import Role, Suite
from merit_opt.errors import TrialFailed
from merit_opt.evaluation.cost import Cost

Measure = Literal["accuracy", "probability", "log_probability"]


@dataclass(frozen=True, slots=True)
class Score:
    """How one sample was answered.

    Attributes:
        value: 1.0 right, 0.0 wrong, None not scored.
        answer: The letter chosen; empty when not scored.
        log_probability: Natural log of the right option's probability, normalised over the
            options; None when not scored.
        why: Why it could not be scored; empty otherwise.
    """

    value: float | None
    answer: str = ""
    log_probability: float | None = None
    why: str = ""

    def measured(self, measure: Measure) -> float | None:
        """The number `measure` asks for, or None when not scored."""
        match measure:
            case "accuracy":
                return self.value
            case "log_probability":
                return self.log_probability
            case "probability":
                return None if self.log_probability is None else math.exp(self.log_probability)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores in the suite's order.

    Attributes:
        suite: Digest of the suite measured.
        recipe: Digest of the recipe measured.
        ids: Sample ids.
        scores: One per id.
        cost: Of measuring them; None when they were known.
    """

    suite: str
    recipe: str
    ids: tuple[str, ...]
    scores: tuple[Score, ...]
    cost: Cost | None = field(default=None, compare=False)

    @property
    def by_id(self) -> dict[str, Score]:
        """Sample id -> score."""
        return dict(zip(self.ids, self.scores, strict=True))

    @property
    def unscored(self) -> dict[str, str]:
        """Sample id -> why, for the samples that could not be scored."""
        return {i: score.why for i, score in self.by_id.items() if score.value is None}

    def measured(self, measure: Measure) -> dict[str, float]:
        """Sample id -> number, for the samples that were scored."""
        pairs = ((i, score.measured(measure)) for i, score in self.by_id.items())
        return {i: number for i, number in pairs if number is not None}


@dataclass(frozen=True, slots=True)
class Curtailed:
    """An evaluation that was stopped because it could no longer win; it has no value.

    Attributes:
        suite: Digest of the suite measured.
        recipe: Digest of the recipe measured.
        scores: Sample id -> score, of the samples asked.
        bound: What its value cannot exceed, whatever the remaining answers are.
        cost: Of what was asked.
    """

    suite: str
    recipe: str
    scores: Mapping[str, Score]
    bound: float
    cost: Cost


def role_means(evaluation: Evaluation, suite: Suite, measure: Measure) -> dict[Role, float]:
    """Mean of `measure` over each role's scored samples: a correctly rounded sum over a count.

    Raises:
        TrialFailed: A role has samples but none of them was scored.
    """
    measured = evaluation.measured(measure)
    members: dict[Role, list[str]] = {}
    for sample in suite.samples:
        members.setdefault(suite.role(sample), []).append(sample.id)
    means: dict[Role, float] = {}
    for role, ids in members.items():
        numbers = [measured[i] for i in ids if i in measured]
        if not numbers:
            raise TrialFailed(f"none of the {len(ids)} {role} samples could be scored")
        means[role] = math.fsum(numbers) / len(numbers)
    return means
