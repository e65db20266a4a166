"""Two evaluations of the same samples against each other."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from merit_opt.data.suite import Suite
from merit_opt.evaluation.evaluation import Evaluation, Measure
from merit_opt.evaluation.stats import ALPHA, Difference, group_sums, paired_difference

CONTINUOUS: tuple[Measure, ...] = ("probability", "log_probability", "margin")
POWER = 0.80


@dataclass(frozen=True, slots=True)
class McNemar:
    """Samples that one side has right and the other wrong; samples are taken as independent.

    Attributes:
        gained: Right on the second side alone.
        lost: Right on the first side alone.
        p: Two-sided, exact, of no difference; 1 where the sides nowhere differ.
    """

    gained: int
    lost: int
    p: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second evaluation minus the first, over the samples scored on both sides.

    Attributes:
        accuracy: Its difference.
        continuous: Measure -> difference; without those that were not measured.
        mcnemar: Of the accuracies.
        detectable: The smallest difference of accuracies that would be found with a power of 0.8
            at a level of 0.05 on these samples; None where the sides nowhere differ, or all
            samples are one group.
    """

    accuracy: Difference
    continuous: Mapping[Measure, Difference]
    mcnemar: McNemar
    detectable: float | None


def compare_evaluations(
    first: Evaluation, second: Evaluation, suite: Suite, seed: int
) -> Comparison:
    """Paired by sample, clustered by medium.

    Raises:
        ValueError: They are of different suites, or no sample is scored on both sides.
    """
    if first.suite != second.suite:
        raise ValueError(f"evaluations of suites {first.suite} and {second.suite} do not compare")
    groups = {s.id: s.group_id for s in suite.samples}
    one, other = first.measured("accuracy"), second.measured("accuracy")
    sides: dict[Measure, tuple[dict[str, float], dict[str, float]]] = {
        measure: (first.measured(measure), second.measured(measure)) for measure in CONTINUOUS
    }
    return Comparison(
        accuracy=paired_difference(one, other, groups, seed),
        continuous={
            measure: paired_difference(*pair, groups, seed)
            for measure, pair in sides.items()
            if pair[0].keys() & pair[1].keys()
        },
        mcnemar=mcnemar(one, other),
        detectable=detectable_difference(one, other, groups),
    )


def mcnemar(first: Mapping[str, float], second: Mapping[str, float]) -> McNemar:
    """McNemar's exact test: of the samples that differ, each side should win half.

    Args:
        first: Sample id -> 1.0 right or 0.0 wrong.
        second: As `first`.
    """
    shared = first.keys() & second.keys()
    gained = sum(first[i] < second[i] for i in shared)
    lost = sum(first[i] > second[i] for i in shared)
    p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return McNemar(gained, lost, p)


def detectable_difference(
    first: Mapping[str, float], second: Mapping[str, float], groups: Mapping[str, str]
) -> float | None:
    """``(z(1 - alpha/2) + z(power)) * SE``, the minimum detectable effect of Bloom (1995).

    SE is that of the mean paired difference with groups as clusters: the root of
    ``G/(G-1) * sum((S_g - n_g * mean)**2) / n**2`` over the groups' sums S_g and sizes n_g. Where
    every sample is its own group, this is what the share of discordant samples gives.

    H. S. Bloom, "Minimum detectable effects", Evaluation Review 19(5), 1995.

    Args:
        first: Sample id -> number.
        second: Sample id -> number.
        groups: Sample id -> group.
    """
    shared = sorted(first.keys() & second.keys())
    sums, counts = group_sums(
        {i: second[i] - first[i] for i in shared}, {i: groups[i] for i in shared}
    )
    if len(sums) < 2:
        return None
    residuals = sums - counts * (sums.sum() / counts.sum())
    variance = len(sums) / (len(sums) - 1) * np.square(residuals).sum() / counts.sum() ** 2
    z = stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(POWER)
    return float(z * math.sqrt(variance)) or None
