"""Search and confirm: which samples the study sees, and which only the comparison sees."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import DisjointSet
from sklearn.model_selection import StratifiedGroupKFold

from merit_opt.data.dataset_copy import ABSENT
from merit_opt.data.sample import Sample
from merit_opt.data.suite import Suite
from merit_opt.errors import UserError

MAX_FOLDS = 10


@dataclass(frozen=True, slots=True)
class Split:
    """Two suites without a group or the content of a medium in common.

    Attributes:
        search: What the study optimises on.
        confirm: What only the final comparison is measured on.
    """

    search: Suite
    confirm: Suite


def split_by_group(suite: Suite, *, search_share: float, seed: int) -> Split:
    """Divide a suite by group (its videos), with the same mix of roles on both sides.

    Groups that share a medium's content, under whatever names, stay together.

    Args:
        suite: With at least two groups and two samples of one role.
        search_share: Wanted share of the samples in `search`, in (0, 1); met to the nearest fold.
        seed: Of the split alone; not the study's.

    Raises:
        UserError: The share is not in (0, 1), or the suite is too small to be divided.
    """
    if not 0.0 < search_share < 1.0:
        raise UserError(f"suite.search_share must lie between 0 and 1, got {search_share}")
    groups = _united(suite.samples)
    roles = [suite.role(s) for s in suite.samples]
    videos, of_one_role = len(set(groups)), max(Counter(roles).values(), default=0)
    folds = min(MAX_FOLDS, videos, of_one_role)
    if folds < 2:
        raise UserError(
            f"suite {suite.name} has {videos} videos and at most {of_one_role} questions of one "
            "role; a split needs at least two of each"
        )
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # a role with fewer samples than folds cannot be in each
        warnings.simplefilter("ignore", UserWarning)
        parts = [test for _, test in splitter.split(np.zeros(len(roles)), roles, groups)]
    n_search = min(folds - 1, max(1, round(search_share * folds)))
    chosen = {suite.samples[int(i)].id for part in parts[:n_search] for i in part}
    rest = [s.id for s in suite.samples if s.id not in chosen]
    return Split(suite.only(chosen), suite.only(rest))


def _united(samples: Sequence[Sample]) -> list[str]:
    """For each sample the least name of the groups that media of equal content tie to its own."""
    groups = DisjointSet(s.group_id for s in samples)
    first: dict[str, str] = {}
    for sample in samples:
        for medium in sample.media:
            if not medium.digest.startswith(ABSENT):
                groups.merge(sample.group_id, first.setdefault(medium.digest, sample.group_id))
    least = {group: min(together) for together in groups.subsets() for group in together}
    return [least[s.group_id] for s in samples]
