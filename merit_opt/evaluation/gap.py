"""How far one recipe's objective lies above others', with an interval over videos."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from merit_opt.data.suite import Role, Suite
from merit_opt.evaluation.evaluation import Evaluation
from merit_opt.evaluation.objective import Objective
from merit_opt.evaluation.stats import LEVEL, RESAMPLES

ROLES: tuple[Role, ...] = ("TR", "TP")
Sums = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Gap:
    """A difference of objectives, in accuracy.

    Attributes:
        estimate: First minus the mean of the others.
        low: Lower end of the 95 % interval; the widest there can be where one video is all.
        high: Upper end.
    """

    estimate: float
    low: float
    high: float


def objective_gap(
    objective: Objective,
    *,
    suite: Suite,
    base: Evaluation,
    first: Evaluation,
    others: Sequence[Evaluation],
    seed: int,
) -> Gap:
    """The objective of `first` minus the mean objective of `others`.

    Percentile bootstrap over whole videos (9999 resamples), every recipe on the same resample;
    resamples without a video of one role are left out. Only samples that all of them scored count.

    Args:
        objective: Applied to accuracies.
        suite: With samples of both roles.
        base: The unmerged VLM's evaluation, which objectives are against.
        first: The winner's.
        others: At least one.
        seed: Of the resampling.
    """
    evaluations = (base, first, *others)
    sums = tuple(column for role in ROLES for column in _columns(evaluations, suite, role))

    def gap(*resampled: Sums, axis: int = -1) -> Any:
        totals = np.stack([column.sum(axis=axis) for column in resampled])
        with np.errstate(invalid="ignore"):  # a resample may hold no video of a role
            means = [block[1:] / block[0] for block in np.split(totals, len(ROLES))]
        flat = np.stack(means, axis=1).reshape(len(evaluations), len(ROLES), -1)
        gaps = [_gap(objective, one) for one in np.moveaxis(flat, -1, 0).tolist()]
        missing = np.isnan(flat).any(axis=(0, 1))
        return np.where(missing, np.nan, gaps).reshape(totals.shape[1:])

    estimate = float(gap(*sums))
    if len(sums[0]) < 2:
        return Gap(estimate, -objective.widest, objective.widest)
    with warnings.catch_warnings():  # scipy's own interval has none where a resample was left out
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        result = stats.bootstrap(
            sums,
            gap,
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            batch=1000,
            confidence_level=LEVEL,
            method="percentile",
            rng=np.random.default_rng(seed),
        )
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.nanquantile(result.bootstrap_distribution, (tail, 1.0 - tail)).tolist()
    return Gap(estimate, low, high)


def _columns(evaluations: Sequence[Evaluation], suite: Suite, role: Role) -> Iterator[Sums]:
    """Samples by video, then right answers by video for each evaluation."""
    accuracies = [e.measured("accuracy") for e in evaluations]
    shared = set(accuracies[0]).intersection(*accuracies)
    videos = {s.group_id: i for i, s in enumerate({t.group_id: t for t in suite.samples}.values())}
    members = [s for s in suite.samples if suite.role(s) == role and s.id in shared]
    where = [videos[s.group_id] for s in members]
    yield np.bincount(where, minlength=len(videos)).astype(np.float64)
    for accuracy in accuracies:
        weights = [accuracy[s.id] for s in members]
        yield np.bincount(where, weights=weights, minlength=len(videos)).astype(np.float64)


def _gap(objective: Objective, means: list[list[float]]) -> float:
    """Of one resample: each evaluation's means by role, the base's first."""
    base, *rest = (dict(zip(ROLES, row, strict=True)) for row in means)
    first, *others = (objective(one, base) for one in rest)
    return first - sum(others) / len(others)
