"""Everything a study is made of, before it is run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from merit_opt.data.split import Split
from merit_opt.evaluation.objective import Objective
from merit_opt.search.budget import Budget
from merit_opt.search.front import Pick, Thrift
from merit_opt.search.pruners import Pruning
from merit_opt.search.samplers import SeededSampler
from merit_opt.search.spaces import SearchSpace
from merit_opt.search.warm_start import WarmStart
from merit_opt.tracking.record import StudyRecord


@dataclass(frozen=True, eq=False)
class StudyPlan:
    """Everything a study is made of.

    Attributes:
        record: Its name, and what trackers are told about it.
        folder: Where config.yaml, result.json and recipes/ go.
        budget: How much it may do.
        space: Where recipes come from.
        sampler: Who proposes.
        pruning: How proposals are stopped; None measures them in full.
        objective: What is maximised.
        choice: How the winner is picked.
        split: Search and confirm samples.
        fingerprint: Name -> identity of all that must not change while it is resumed.
        warm_start: Where a prior comes from, if any.
        forks: The study whose proposals it begins with; None where it begins anew.
        dashboard: Where pictures for optuna-dashboard go; None where nobody asked for them.
    """

    record: StudyRecord
    folder: Path
    budget: Budget
    space: SearchSpace
    sampler: SeededSampler
    pruning: Pruning | None
    objective: Objective
    choice: Pick | Thrift
    split: Split
    fingerprint: Mapping[str, str]
    warm_start: WarmStart = "none"
    forks: str | None = None
    dashboard: Path | None = None

    @property
    def name(self) -> str:
        """Unique in its storage."""
        return self.record.name
