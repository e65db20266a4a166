"""Ask, measure, tell, until the study has the trials it was asked for."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import Trial

from merit_opt.errors import UserError
from merit_opt.search.asking import Answer, Desk, finished
from merit_opt.search.budget import Budget
from merit_opt.search.interrupts import interrupts_allowed
from merit_opt.search.leases import Lease, give_up, was_taken
from merit_opt.search.trial import Bench, best, run_trial
from merit_opt.tracking.record import TrialRecord

FAILURES_IN_A_ROW = 5
FIRST_IDLE, LAST_IDLE = 0.05, 1.0


TrialWatcher = Callable[[TrialRecord, TrialRecord | None, int], None]
"""Told of every finished trial: its record, the leader's, and how many are finished."""


def work(study: Study, bench: Bench, *, budget: Budget, lease: Lease, watch: TrialWatcher) -> None:
    """Run trials until the budget is spent, and wait for those that other workers still run.

    Raises:
        UserError: Several trials in a row failed; the message gives the last reason.
        KeyboardInterrupt: The trial at hand is queued to be asked again.
    """
    desk = Desk(study, bench.space, budget, lease)
    idle = _Idle()
    desk.open()
    failures: list[TrialRecord] = []
    while True:
        trial = desk.next(is_late=budget.is_late())
        if trial is Answer.OVER:
            return
        if trial is Answer.WAIT:
            idle.wait()
            continue
        idle = _Idle()
        with lease.beating(desk.trial_id(trial.number)):
            record = _run(study, trial, bench, lease)
        if record is None:
            continue
        watch(record, best(study), finished(study))
        failures = [*failures, record] if record.state == "FAIL" else []
        if len(failures) == FAILURES_IN_A_ROW:
            raise UserError(f"{FAILURES_IN_A_ROW} trials in a row failed, the last: {record.why}")


def _run(study: Study, trial: Trial, bench: Bench, lease: Lease) -> TrialRecord | None:
    """The told trial's record; None when the trial was taken away meanwhile."""
    try:
        return run_trial(study, trial, bench)
    except KeyboardInterrupt:
        give_up(study, lease.storage, trial.number)
        raise
    except (UpdateFinishedTrialError, ValueError):  # what Optuna says of a trial that has ended
        if was_taken(study, trial.number):
            return None
        raise


@dataclass
class _Idle:
    """Ever longer pauses of a worker that has nothing to do."""

    seconds: float = FIRST_IDLE

    def wait(self) -> None:
        """Pause; Ctrl-C ends it."""
        with interrupts_allowed():
            time.sleep(self.seconds)
        self.seconds = min(2 * self.seconds, LAST_IDLE)
