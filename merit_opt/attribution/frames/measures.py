"""Numbers of one sample's attribution: how much lies on evidence, where it lies, how it is spread."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


def evidence_share(attribution: Sequence[float], evidence: Sequence[bool]) -> float | None:
    """Of the positive attribution, the share on evidence frames; None where none is positive."""
    weights = positive_shares(attribution)
    return None if weights is None else float(weights[np.array(evidence)].sum())


def points(attribution: Sequence[float], evidence: Sequence[bool]) -> float:
    """1 where the frame with the greatest attribution is an evidence frame, else 0."""
    return float(evidence[int(np.argmax(attribution))])


def chance(evidence: Sequence[bool]) -> float | None:
    """Share of frames that are evidence; None where it is none or all, so nothing can be shown."""
    share = sum(evidence) / len(evidence) if evidence else 0.0
    return share if 0.0 < share < 1.0 else None


def spread(attribution: Sequence[float]) -> float | None:
    """Entropy of the positive attribution over its greatest value: 0 one frame, 1 all alike."""
    weights = positive_shares(attribution)
    if weights is None or len(weights) < 2:
        return None
    some = weights[weights > 0.0]
    return float(-(some * np.log(some)).sum() / math.log(len(weights)))


def centre(attribution: Sequence[float]) -> float | None:
    """Centre of mass of the positive attribution: 0 the first frame, 1 the last one."""
    weights = positive_shares(attribution)
    if weights is None or len(weights) < 2:
        return None
    return float((weights * np.linspace(0.0, 1.0, len(weights))).sum())


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's, ties sharing their mean rank; None where all values of one side are alike."""
    first, second = (rankdata(side) - (len(side) + 1) / 2.0 for side in (one, other))
    scale = math.sqrt(float((first**2).sum() * (second**2).sum()))
    return float((first * second).sum() / scale) if scale else None


def positive_shares(attribution: Sequence[float]) -> NDArray[np.float64] | None:
    """Each frame's share of the positive attribution; None where none is positive."""
    weights = np.maximum(np.asarray(attribution, dtype=np.float64), 0.0)
    total = float(weights.sum())
    return weights / total if total > 0.0 else None
