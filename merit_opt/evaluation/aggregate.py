"""Numbers of a whole evaluation: those a benchmark reports, and what accuracy alone hides."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from merit_opt.data.sample import Sample
from merit_opt.data.suite import Aggregate, Suite
from merit_opt.evaluation.evaluation import FAILURES, Evaluation


@dataclass(frozen=True, slots=True)
class Aggregated:
    """An aggregate of an evaluation, in accuracy.

    Attributes:
        name: The aggregate's.
        value: In [0, 1]; None where nothing could be counted.
        n: Samples that were counted, or groups.
        unscored: Samples that were not, for want of a score, or groups; never right or wrong.
    """

    name: str
    value: float | None
    n: int
    unscored: int


def aggregated(
    evaluation: Evaluation, suite: Suite, among: Collection[str]
) -> tuple[Aggregated, ...]:
    """Every aggregate of the suite, in its order; samples not `among` these ids are unscored."""
    values = {i: s.value if i in among else None for i, s in evaluation.by_id.items()}
    return tuple(_aggregated(aggregate, values, suite.samples) for aggregate in suite.aggregates)


def _aggregated(
    aggregate: Aggregate, values: Mapping[str, float | None], samples: Iterable[Sample]
) -> Aggregated:
    counted = [s for s in samples if all(s.category(f) == v for f, v in aggregate.where)]
    match aggregate.how:
        case "mean":
            numbers = [values[s.id] for s in counted]
        case "mean_of_means":
            groups = _groups(counted, aggregate.by, values)
            numbers = [_mean([x for x in group if x is not None]) for group in groups]
        case "all_right":
            numbers = [_all_right(group) for group in _groups(counted, aggregate.by, values)]
    known = [number for number in numbers if number is not None]
    return Aggregated(aggregate.name, _mean(known), len(known), len(numbers) - len(known))


def _groups(
    samples: Iterable[Sample], by: str, values: Mapping[str, float | None]
) -> list[list[float | None]]:
    """By the category's value; samples that lack it are in no group."""
    groups: dict[str, list[float | None]] = {}
    for sample in samples:
        if (value := sample.category(by)) is not None:
            groups.setdefault(value, []).append(values[sample.id])
    return list(groups.values())


def _all_right(group: Sequence[float | None]) -> float | None:
    known = [value for value in group if value is not None]
    return float(all(known)) if len(known) == len(group) else None


def _mean(numbers: Sequence[float]) -> float | None:
    return math.fsum(numbers) / len(numbers) if numbers else None


def chance_corrected(evaluation: Evaluation, suite: Suite) -> float | None:
    """``(accuracy - chance) / (1 - chance)`` over the suite's scored samples, chance their mean.

    1 is all right, 0 what guessing gives; None where nothing was scored, or guessing is always
    right.
    """
    values = evaluation.measured("accuracy")
    scored = [s for s in suite.samples if s.id in values]
    chance, accuracy = _mean([s.chance for s in scored]), _mean([values[s.id] for s in scored])
    if chance is None or accuracy is None or chance == 1.0:
        return None
    return (accuracy - chance) / (1.0 - chance)


def parse_failure_rate(evaluation: Evaluation) -> float | None:
    """Share of the samples that were asked whose answer named no option, or several."""
    failures = [float(s.why in FAILURES) for s in evaluation.scores if s.status != "left out"]
    return _mean(failures)


@dataclass(frozen=True, slots=True)
class LabelShare:
    """How often a label is given, and how often it is right.

    Attributes:
        predicted: Share of the answers, in [0, 1].
        right: Share of the right answers, in [0, 1].
    """

    predicted: float
    right: float

    @property
    def bias(self) -> float:
        """How much more often it is given than right, in [-1, 1]."""
        return self.predicted - self.right


def label_shares(
    evaluation: Evaluation, suite: Suite
) -> dict[tuple[str, ...], dict[str, LabelShare]]:
    """The labels that competed -> each label's shares, over the scored samples they competed in.

    Questions of four options stand apart from those of five, and from yes or no.
    """
    answers: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    scores = evaluation.by_id
    for sample in suite.samples:
        if isinstance(sample.answer, int) and (score := scores[sample.id]).value is not None:
            right = sample.labels[sample.answer]
            answers.setdefault(sample.labels, []).append((score.answer, right))
    return {labels: _shares(labels, pairs) for labels, pairs in sorted(answers.items())}


def _shares(labels: tuple[str, ...], pairs: Sequence[tuple[str, str]]) -> dict[str, LabelShare]:
    predicted, right = Counter(p for p, _ in pairs), Counter(r for _, r in pairs)
    n = len(pairs)
    return {label: LabelShare(predicted[label] / n, right[label] / n) for label in labels}
