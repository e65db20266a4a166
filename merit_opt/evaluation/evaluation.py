"""Scores of one recipe on one suite, sample by sample. Missing is never zero."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from merit_opt.data.suite import Role, Suite
from merit_opt.errors import TrialFailed
from merit_opt.evaluation.cost import Cost

Measure = Literal["accuracy", "probability", "log_probability", "margin"]
Failure = Literal["ambiguous", "none"]
FAILURES: tuple[str, ...] = get_args(Failure)


@dataclass(frozen=True, slots=True)
class Score:
    """How one sample was answered.

    Attributes:
        value: 1.0 right, 0.0 wrong, None not scored.
        answer: The label chosen, or the number given; empty when not scored.
        log_probability: Natural log of the right option's probability, normalised over the
            options; None when not scored, or when the model spoke freely.
        why: Why it could not be scored, `ambiguous` or `none` where the model's words name
            several answers or no answer; empty otherwise.
        margin: How far `log_probability` lies above the best other option's; None where there is
            none of either.
        probabilities: Of the options, in their order; empty where `log_probability` is None.
        text: What the model said, where it spoke freely.
    """

    value: float | None
    answer: str = ""
    log_probability: float | None = None
    why: str = ""
    margin: float | None = None
    probabilities: tuple[float, ...] = ()
    text: str = ""

    @property
    def status(self) -> Literal["ok", "left out"] | Failure:
        """`ok` when scored; else whether it was never asked, or what its answer lacks."""
        if self.value is not None:
            return "ok"
        return next((f for f in get_args(Failure) if f == self.why), "left out")

    def measured(self, measure: Measure) -> float | None:
        """The number `measure` asks for, or None when not scored."""
        match measure:
            case "accuracy":
                return self.value
            case "log_probability":
                return self.log_probability
            case "probability":
                return None if self.log_probability is None else math.exp(self.log_probability)
            case "margin":
                return self.margin


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores in the suite's order.

    Attributes:
        suite: Digest of the suite measured.
        recipe: Digest of the recipe measured, with that of what masked it, if anything did.
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

    @property
    def left_out(self) -> dict[str, str]:
        """Sample id -> why, for the samples that could not be asked."""
        return {i: s.why for i, s in self.by_id.items() if s.status == "left out"}

    def measured(self, measure: Measure) -> dict[str, float]:
        """Sample id -> number, for the samples that were scored."""
        pairs = ((i, score.measured(measure)) for i, score in self.by_id.items())
        return {i: number for i, number in pairs if number is not None}


@dataclass(frozen=True, slots=True)
class Curtailed:
    """An evaluation that was stopped because it cannot win, or most likely will not; no value.

    Attributes:
        suite: Digest of the suite measured.
        recipe: Digest of the recipe measured.
        scores: Sample id -> score, of the samples asked.
        bound: What its value cannot exceed, whatever the remaining answers are; None where a
            test stopped it, which proves nothing.
        cost: Of what was asked.
    """

    suite: str
    recipe: str
    scores: Mapping[str, Score]
    bound: float | None
    cost: Cost


def role_means(evaluation: Evaluation, suite: Suite, measure: Measure) -> dict[Role, float]:
    """Mean of `measure` over each role's scored samples: a correctly rounded sum over a count.

    Raises:
        TrialFailed: A role has samples but none of them was scored.
    """
    return _means(evaluation.measured(measure), suite)


def paired_means(
    first: Evaluation, second: Evaluation, suite: Suite, measure: Measure
) -> tuple[dict[Role, float], dict[Role, float]]:
    """As `role_means`, of both over the samples that both were scored on."""
    one, other = first.measured(measure), second.measured(measure)
    if one.keys() != other.keys():
        shared = one.keys() & other.keys()
        one, other = ({i: numbers[i] for i in shared} for numbers in (one, other))
    return _means(one, suite), _means(other, suite)


def _means(measured: Mapping[str, float], suite: Suite) -> dict[Role, float]:
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
