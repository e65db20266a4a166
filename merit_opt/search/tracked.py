"""A tracker whose absence never stops a study."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from optuna.study import Study

from merit_opt.errors import UserError
from merit_opt.search.dashboard import Dashboard
from merit_opt.search.trial import best, told_records
from merit_opt.tracking.record import (
    Standing,
    StudyOutcome,
    StudyRecord,
    Tracker,
    TrackingUnavailable,
    TrialRecord,
)
from merit_opt.tracking.rows import drawable


@dataclass
class Tracked:
    """Passes everything on; says once when the tracker is away.

    What it misses meanwhile is repaired from the Optuna storage when the study is next started.

    Attributes:
        tracker: Where records go.
        warn: Told the reason, once per absence.
        study: Whose storage has the last word.
        dashboard: Is told too; None where nobody asked for one.
    """

    tracker: Tracker
    warn: Callable[[str], None]
    study: Study
    dashboard: Dashboard | None = None
    _away: bool = field(default=False, init=False)
    _full: bool = field(default=False, init=False)
    _shown: int | None = field(default=None, init=False)

    def start(self, study: StudyRecord) -> None:
        """Make the study known and repair what is missing of its told trials."""
        told = told_records(self.study)

        def act() -> None:
            self.tracker.start(study)
            missing = self.tracker.missing(told)
            for trial, standing in as_they_came(told.values()):
                if trial.number in missing:
                    self.tracker.log_trial(trial, standing)
            self._show(best(self.study) if missing else None)

        self._pass(act)
        self._note(lambda dashboard: dashboard.repair(told.values()))

    def log_trial(self, trial: TrialRecord, leader: TrialRecord | None) -> None:
        """Keep one told trial, and show who leads."""
        told = told_records(self.study)

        def act() -> None:
            self.tracker.log_trial(trial, standing(told.values()))
            self._show(leader)

        self._pass(act)
        self._note(lambda dashboard: dashboard.keep(trial))

    def log_numbers(self, numbers: Mapping[str, float]) -> None:
        """Keep numbers about the study as a whole, such as what a prior cost."""
        self._pass(lambda: self.tracker.log_numbers(numbers))

    def finish(self, outcome: StudyOutcome) -> None:
        """Close the study with its result."""

        def act() -> None:
            # Of workers that showed two leaders at once the wrong one may have been the last.
            self._show(best(self.study))
            self.tracker.finish(outcome)

        self._pass(act)
        self._note(lambda dashboard: dashboard.finish(outcome.note))

    def _show(self, leader: TrialRecord | None) -> None:
        if leader is not None and leader.number != self._shown:
            self.tracker.log_leader(leader)
            self._shown = leader.number

    def _note(self, act: Callable[[Dashboard], None]) -> None:
        if self.dashboard is None:
            return
        try:
            act(self.dashboard)
        except UserError as error:
            if not self._full:
                self.warn(f"{error}; the study goes on without notes for the dashboard")
            self._full = True

    def _pass(self, act: Callable[[], None]) -> None:
        try:
            act()
        except TrackingUnavailable as error:
            if not self._away:
                self.warn(f"{error}; the study goes on, and its next start repairs the record")
            self._away = True
        else:
            self._away = False


def standing(told: Iterable[TrialRecord]) -> Standing | None:
    """How far the proposals among the told trials have come."""
    found: Standing | None = None
    for trial in told:
        found = _after(found, trial)
    return found


def as_they_came(
    told: Iterable[TrialRecord],
) -> Iterator[tuple[TrialRecord, Standing | None]]:
    """The trials in the order in which they were told, each with how the study stood then."""
    found: Standing | None = None
    for trial in sorted(told, key=lambda t: (t.finished or datetime.min, t.number)):
        found = _after(found, trial)
        yield trial, found


def _after(before: Standing | None, trial: TrialRecord) -> Standing | None:
    if trial.role == "control" or not trial.feasible or drawable(trial) is None:
        return before
    if before is None:
        return Standing(trial, trial)
    last, leader = before.last, before.best
    return Standing(
        max(last, trial, key=lambda t: t.number),
        max(leader, trial, key=lambda t: (t.value or 0.0, -t.number)),
    )
