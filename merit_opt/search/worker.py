"""Ask, measure, tell, until the study has the trials it was asked for."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from optuna.study import Study
from optuna.trial import Trial, TrialState, create_trial

from merit_opt.errors import UserError
from merit_opt.recipe.recipe import Part
from merit_opt.search.controls import (
    enqueue_controls,
    fixed_controls,
    random_layer_controls,
)
from merit_opt.search.leases import LEASE, Lease, ask_again, turn
from merit_opt.search.spaces import SearchSpace
from merit_opt.search.trial import COUNTED, Bench, best, run_trial
from merit_opt.tracking.record import TrialRecord

FAILURES_IN_A_ROW = 5
SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a study may do.

    Attributes:
        trials: Finished trials wanted, controls and cached answers included; at least 1.
        hours: Stop asking after so long; None never does.
        uniform: Coefficients of the uniform controls, each in (0, 1].
        parts: What the backbone and full controls merge of a layer.
        random_layers: Random-layer controls at the end; at least 0.
        seed: Of proposals and random-layer draws.

    Raises:
        UserError: A value out of its range.
    """

    trials: int
    hours: float | None
    uniform: tuple[float, ...]
    parts: tuple[Part, ...]
    random_layers: int
    seed: int

    def __post_init__(self) -> None:
        if self.trials < 1 or self.random_layers < 0:
            raise UserError(
                "study.trials is 1 or more and study.random_layers 0 or more; "
                f"got {self.trials} and {self.random_layers}"
            )
        if self.hours is not None and not self.hours > 0:
            raise UserError(f"study.hours must be above 0 or null, got {self.hours}")
        if outside := [c for c in self.uniform if not 0.0 < c <= 1.0]:
            raise UserError(f"study.uniform coefficients lie in (0, 1], got {outside}")


TrialWatcher = Callable[[TrialRecord, TrialRecord | None, int], None]
"""Told of every finished trial: its record, the leader's, and how many are finished."""


def work(study: Study, bench: Bench, *, budget: Budget, lease: Lease, watch: TrialWatcher) -> None:
    """Run trials until the budget is spent.

    Raises:
        UserError: Several trials in a row failed; the message gives the last reason.
        KeyboardInterrupt: The trial at hand is queued to be asked again.
    """
    controls = list(fixed_controls(bench.space.n_layers, budget.uniform, budget.parts))[
        : budget.trials
    ]
    with turn(lease.folder):
        enqueue_controls(study, controls, bench.space, lease.id)
    started = time.monotonic()
    failures: list[TrialRecord] = []
    while finished(study) < budget.trials and not _is_late(started, budget.hours):
        if _is_time_for_random_layers(study, budget, len(controls)):
            _enqueue_random_layers(study, budget, bench.space, lease)
        trial = _ask(study, lease)
        try:
            record = run_trial(study, trial, bench)
        except KeyboardInterrupt:
            _give_up(study, trial)
            raise
        watch(record, best(study), finished(study))
        failures = [*failures, record] if record.state == "FAIL" else []
        if len(failures) == FAILURES_IN_A_ROW:
            raise UserError(f"{FAILURES_IN_A_ROW} trials in a row failed, the last: {record.why}")


def finished(study: Study) -> int:
    """Trials that count towards the budget."""
    return len(study.get_trials(deepcopy=False, states=COUNTED))


def _is_time_for_random_layers(study: Study, budget: Budget, n_fixed: int) -> bool:
    room = budget.trials - n_fixed
    return budget.trials - finished(study) <= min(budget.random_layers, room - 1)


def _enqueue_random_layers(study: Study, budget: Budget, space: SearchSpace, lease: Lease) -> None:
    with turn(lease.folder):
        winner = best(study)
        if winner is None:
            return
        left = budget.trials - finished(study)
        draws = random_layer_controls(winner.recipe, budget.random_layers, budget.seed)
        enqueue_controls(study, draws[:left], space, lease.id)


def _ask(study: Study, lease: Lease) -> Trial:
    with turn(lease.folder):
        if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            study.add_trial(create_trial(state=TrialState.WAITING, user_attrs={LEASE: lease.id}))
        trial = study.ask()
        if trial.user_attrs.get(LEASE) != lease.id:
            trial.set_user_attr(LEASE, lease.id)
    return trial


def _give_up(study: Study, trial: Trial) -> None:
    frozen = study.get_trials(deepcopy=False)[trial.number]
    if not frozen.state.is_finished():
        ask_again(study, frozen)


def _is_late(started: float, hours: float | None) -> bool:
    return hours is not None and time.monotonic() - started > hours * SECONDS_PER_HOUR
