"""One recipe against the unmerged VLM on one suite: everything that is told of it."""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from merit_opt.data.suite import Role, Suite
from merit_opt.evaluation.aggregate import (
    Aggregated,
    LabelShare,
    aggregated,
    chance_corrected,
    label_shares,
    parse_failure_rate,
)
from merit_opt.evaluation.comparison import Comparison, compare_evaluations
from merit_opt.evaluation.evaluation import Evaluation, paired_means
from merit_opt.evaluation.objective import Objective
from merit_opt.evaluation.stats import Difference, paired_difference

ALL = "all"
Side = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Accuracies and differences, over the samples that were scored on both sides.

    Attributes:
        n: Samples by role, and `all`, scored or not; `difference` has how many are compared.
        base: Accuracy of the VLM by role, and `all`.
        merged: Accuracy of the recipe, likewise.
        objective: The recipe's; None where the suite lacks a role that it compares.
        difference: Recipe minus VLM by role, and `all`.
        comparison: McNemar's test, other measures, and what difference could be found at all.
        aggregates: What the benchmark reports: of the VLM, of the recipe.
        above_chance: Accuracy corrected for guessing, likewise; None where guessing is always right.
    """

    n: Mapping[str, int]
    base: Side
    merged: Side
    objective: float | None
    difference: Mapping[str, Difference]
    comparison: Comparison
    aggregates: tuple[tuple[Aggregated, Aggregated], ...]
    above_chance: tuple[float | None, float | None]


def outcome(
    base: Evaluation, merged: Evaluation, suite: Suite, objective: Objective, seed: int
) -> Outcome:
    """Compare two evaluations of the suite.

    Args:
        base: The VLM's.
        merged: The recipe's.
        suite: What both were measured on.
        objective: Applied to accuracies.
        seed: Of the resampling.

    Raises:
        TrialFailed: A role, or the whole suite, has no sample that was scored.
    """
    means, means_merged = paired_means(base, merged, suite, "accuracy")
    comparison = compare_evaluations(base, merged, suite, seed)
    counts = Counter[str](suite.role(s) for s in suite.samples)
    shared = base.measured("accuracy").keys() & merged.measured("accuracy").keys()
    whole, whole_merged = (_mean(side, shared) for side in (base, merged))
    return Outcome(
        n={**counts, ALL: len(suite.samples)},
        base={**means, ALL: whole},
        merged={**means_merged, ALL: whole_merged},
        objective=_value(objective, means, means_merged),
        difference={
            **{role: _difference(base, merged, suite, role, seed) for role in counts},
            ALL: comparison.accuracy,
        },
        comparison=comparison,
        aggregates=tuple(
            zip(aggregated(base, suite, shared), aggregated(merged, suite, shared), strict=True)
        ),
        above_chance=(
            chance_corrected(base, suite.only(shared)),
            chance_corrected(merged, suite.only(shared)),
        ),
    )


def _mean(evaluation: Evaluation, among: Collection[str]) -> float:
    accuracies = evaluation.measured("accuracy")
    return math.fsum(accuracies[i] for i in among) / len(among)


def _value(
    objective: Objective, base: Mapping[Role, float], merged: Mapping[Role, float]
) -> float | None:
    return objective(merged, base) if {"TR", "TP"} <= merged.keys() else None


def _difference(
    base: Evaluation, merged: Evaluation, suite: Suite, role: str, seed: int
) -> Difference:
    members = {s.id: s.group_id for s in suite.samples if suite.role(s) == role}
    sides = (evaluation.measured("accuracy") for evaluation in (base, merged))
    one, other = ({i: v for i, v in side.items() if i in members} for side in sides)
    return paired_difference(one, other, members, seed)


def to_dict(found: Outcome, base: Evaluation, merged: Evaluation, suite: Suite) -> dict[str, Any]:
    """What result.json holds of it."""
    sides = {"base": base, "recipe": merged}
    return {
        "suite": _suite(suite, found.n),
        "base": dict(found.base),
        "scores": dict(found.merged) | _given("objective", found.objective),
        "difference": {role: asdict(d) for role, d in found.difference.items()},
        "other_measures": {m: asdict(d) for m, d in found.comparison.continuous.items()},
        "mcnemar": asdict(found.comparison.mcnemar),
        "detectable": found.comparison.detectable,
        "aggregates": [
            {"name": one.name, "base": asdict(one), "recipe": asdict(other)}
            for one, other in found.aggregates
        ],
        "chance_corrected": dict(zip(sides, found.above_chance, strict=True)),
        "unparsed": {name: parse_failure_rate(e) for name, e in sides.items()},
        "labels": {name: _labels(e, suite) for name, e in sides.items()},
        "unscored": merged.unscored,
    }


def _suite(suite: Suite, n: Mapping[str, int]) -> dict[str, Any]:
    asking = suite.asking
    return {
        "name": suite.name,
        "revision": suite.revision,
        "digest": suite.digest,
        "n": dict(n),
        "prompt": asking.prompt.name,
        "scorer": asking.scorer,
        "permutations": asking.permutations,
        "frames": asdict(asking.frames),
        "left_out": dict(Counter(suite.left_out.values())),
    }


def _given(name: str, value: float | None) -> dict[str, float]:
    return {} if value is None else {name: value}


def _labels(evaluation: Evaluation, suite: Suite) -> dict[str, dict[str, Any]]:
    shares = label_shares(evaluation, suite)
    return {
        "".join(labels) if len(max(labels, key=len)) == 1 else "/".join(labels): {
            label: asdict(share) for label, share in by_label.items()
        }
        for labels, by_label in shares.items()
    }


@dataclass(frozen=True, slots=True)
class Bias:
    """The label whose share of the answers is furthest from its share of the right ones.

    Attributes:
        label: Of the options.
        share: How often it is given, and right.
        n: Samples in which it competed with the same others: the most there are of one kind.
    """

    label: str
    share: LabelShare
    n: int


def most_biased(evaluation: Evaluation, suite: Suite) -> Bias | None:
    """Among the labels of the most common number of options; None where there are none."""
    scored = evaluation.measured("accuracy")
    sizes = Counter(s.labels for s in suite.samples if s.labels and s.id in scored)
    if not sizes:
        return None
    ((labels, n),) = sizes.most_common(1)
    shares = label_shares(evaluation, suite)[labels]
    label = max(shares, key=lambda one: abs(shares[one].bias))
    return Bias(label, shares[label], n)


def rows_told(found: Outcome) -> Iterator[tuple[str, float | None, float | None]]:
    """Name, the VLM's number and the recipe's, of roles and of what the benchmark reports."""
    for role in found.n:
        yield role, found.base[role], found.merged[role]
    for one, other in found.aggregates:
        yield one.name, one.value, other.value
    yield "above chance", *found.above_chance
