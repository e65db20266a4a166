"""Paired differences with intervals, clustered by group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.95
ALPHA = 0.05
RESAMPLES = 9999
WIDEST = (-1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference per sample.

    Attributes:
        estimate: Mean over the paired samples.
        low: Lower end of the 95 % interval; the whole range of a difference of accuracies, -1 to
            1, where a single group says nothing about spread.
        high: Upper end of the 95 % interval.
        p: Two-sided, of no difference, by flipping the signs of whole groups.
        n: Paired samples.
    """

    estimate: float
    low: float
    high: float
    p: float
    n: int

    @property
    def is_significant(self) -> bool:
        """See `verdict`."""
        return verdict(self.low, self.high, self.p) == SIGNIFICANT


SIGNIFICANT, NOT_SIGNIFICANT = "significant", "not significant"


def verdict(low: float, high: float, p: float | None = None) -> str:
    """`significant` where the 95 % interval leaves out zero and p is below 0.05.

    Args:
        low: Lower end of the interval.
        high: Upper end.
        p: Corrected, where several recipes were tested; None where there is an interval alone.
    """
    is_apart = low > 0.0 or high < 0.0
    return SIGNIFICANT if is_apart and (p is None or p < ALPHA) else NOT_SIGNIFICANT


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction: p-values of which the least of n counts n times, and so on.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6(2), 1979.
    """
    corrected, greatest = [1.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        greatest = max(greatest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = greatest
    return corrected


def paired_difference(
    first: Mapping[str, float], second: Mapping[str, float], groups: Mapping[str, str], seed: int
) -> Difference:
    """`second` minus `first` over the samples both have, groups resampled whole.

    Percentile bootstrap and sign-flip permutation over groups (9999 resamples each), since
    questions about one video are not independent.

    Args:
        first: Sample id -> number.
        second: Sample id -> number.
        groups: Sample id -> group, for at least the shared ids.
        seed: Of both resamplings.

    Raises:
        ValueError: No sample is in both.
    """
    shared = sorted(first.keys() & second.keys())
    if not shared:
        raise ValueError("no sample was scored on both sides")
    sums, counts = group_sums(
        {i: second[i] - first[i] for i in shared}, {i: groups[i] for i in shared}
    )
    low, high = _interval(sums, counts, seed)
    return Difference(
        estimate=float(sums.sum() / counts.sum()),
        low=low,
        high=high,
        p=_sign_flip_p(sums, seed),
        n=len(shared),
    )


def group_sums(
    values: Mapping[str, float], groups: Mapping[str, str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each group, by name, the sum of its values and their count."""
    names = sorted(set(groups.values()))
    index = {name: i for i, name in enumerate(names)}
    sums, counts = np.zeros(len(names)), np.zeros(len(names))
    for sample, value in values.items():
        sums[index[groups[sample]]] += value
        counts[index[groups[sample]]] += 1.0
    return sums, counts


def _interval(
    sums: NDArray[np.float64], counts: NDArray[np.float64], seed: int
) -> tuple[float, float]:
    if len(sums) < 2:
        return WIDEST
    result = stats.bootstrap(
        (sums, counts),
        lambda s, n, axis: s.sum(axis=axis) / n.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=1000,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _sign_flip_p(sums: NDArray[np.float64], seed: int) -> float:
    if len(sums) < 2:
        return 1.0
    result = stats.permutation_test(
        (sums,),
        lambda s, axis: s.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=1000,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)
