"""A tracker whose absence never stops a study."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from merit_opt.tracking.record import (
    StudyOutcome,
    StudyRecord,
    Tracker,
    TrackingUnavailable,
    TrialRecord,
)


@dataclass
class Tracked:
    """Passes everything on; says once when the tracker is away.

    What it misses meanwhile is repaired from the Optuna storage when the study is next started.

    Attributes:
        tracker: Where records go.
        warn: Told the reason, once per absence.
    """

    tracker: Tracker
    warn: Callable[[str], None]
    _away: bool = field(default=False, init=False)

    def start(self, study: StudyRecord, told: Mapping[int, TrialRecord]) -> None:
        """Make the study known and repair what is missing of its told trials."""

        def act() -> None:
            self.tracker.start(study)
            for number in sorted(self.tracker.missing(told)):
                self.tracker.log_trial(told[number])

        self._pass(act)

    def log_trial(self, trial: TrialRecord) -> None:
        """Keep one told trial."""
        self._pass(lambda: self.tracker.log_trial(trial))

    def finish(self, outcome: StudyOutcome) -> None:
        """Close the study with its result."""
        self._pass(lambda: self.tracker.finish(outcome))

    def _pass(self, act: Callable[[], None]) -> None:
        try:
            act()
        except TrackingUnavailable as error:
            if not self._away:
                self.warn(f"{error}; the study goes on, and its next start repairs the record")
            self._away = True
        else:
            self._away = False
