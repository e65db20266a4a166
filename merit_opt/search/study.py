"""One study from its first trial to its result: run, resume or join."""

import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Protocol

import optuna
from optuna.study import Study, StudyDirection

from merit_opt.data.leakage import shown_media
from merit_opt.evaluation.curtail import Stop
from merit_opt.evaluation.engine import Engine
from merit_opt.evaluation.evaluation import Curtailed, Evaluation
from merit_opt.evaluation.prepare import EngineReporter
from merit_opt.evaluation.yardstick import Yardstick
from merit_opt.files import write_text
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe
from merit_opt.search import fingerprint
from merit_opt.search.conclusion import FORK, conclude, known_result, outcome
from merit_opt.search.controls import controls_of, enqueue_controls
from merit_opt.search.dashboard import Dashboard
from merit_opt.search.fork import queue_fork, require_forkable, require_same_origin
from merit_opt.search.front import Thrift
from merit_opt.search.interrupts import interrupts_allowed, interrupts_held
from merit_opt.search.leases import Lease, Reaper, reap
from merit_opt.search.plan import StudyPlan
from merit_opt.search.pruners import Stopping
from merit_opt.search.references import SHOWN, UID
from merit_opt.search.samplers import PerProposal
from merit_opt.search.storage.patient import PatientStorage
from merit_opt.search.tracked import Tracked
from merit_opt.search.trial import Bench, keep_choice
from merit_opt.search.warm_start import Room, WarmStarter
from merit_opt.search.worker import work
from merit_opt.tracking.record import Tracker, TrialRecord


class Reporter(EngineReporter, Protocol):
    """Is told how a study gets on, the engine included."""

    def trial(self, record: TrialRecord, best: TrialRecord | None, done: int, total: int) -> None:
        """`record` was told as one of `done` of `total` finished trials; `best` leads."""
        ...


def run_study(
    plan: StudyPlan,
    *,
    storage: PatientStorage,
    tracker: Tracker,
    engine: Callable[[], AbstractContextManager[Engine]],
    reporter: Reporter,
) -> dict[str, Any]:
    """Run, resume or join the study; returns what result.json holds.

    Args:
        plan: What to run.
        storage: Where trials are kept.
        tracker: Is told of every trial after Optuna is; what it misses is repaired at the start.
        engine: Called once, when something has to be measured; what it gives is entered.
        reporter: Is told how it gets on.

    Raises:
        UserError: The study was started with other settings, or its trials keep failing.
        KeyboardInterrupt: Between two steps; all that was measured is kept.
    """
    storage.warn = reporter.warn
    with interrupts_held():
        return _run(plan, storage, tracker, engine, reporter)


def _run(
    plan: StudyPlan,
    storage: PatientStorage,
    tracker: Tracker,
    engine: Callable[[], AbstractContextManager[Engine]],
    reporter: Reporter,
) -> dict[str, Any]:
    if plan.forks is not None:
        require_forkable(storage, plan.forks, plan.name)
    study = storage.in_turn(plan.name, lambda: _open(plan, storage))
    place, origin = plan.dashboard, plan.record.origin
    board = None if place is None else Dashboard(study, storage, place, origin)
    tracked = Tracked(tracker, reporter.warn, study, board)
    reporter.stage("opening the study's record", 0, 1)
    tracked.start(replace(plan.record, uid=study.user_attrs[UID]))
    if (known := known_result(plan, study)) is not None:
        tracked.finish(outcome(plan.folder, known))
        return known
    started = time.monotonic()
    write_text(plan.folder / "config.yaml", plan.record.config)
    with interrupts_allowed():
        measuring = engine()
    with measuring as measure:
        with Lease(storage) as lease:
            _search(plan, study, lease, tracked, measure, reporter)
        # One worker concludes for all: the others wait for it, and take over if it dies.
        with storage.turn(f"confirm/{plan.name}"):
            found = known_result(plan, study)
            if found is None:
                seconds = time.monotonic() - started
                found = conclude(plan, study, measure, reporter, seconds)
    tracked.finish(outcome(plan.folder, found))
    return found


def _open(plan: StudyPlan, storage: PatientStorage) -> Study:
    sampler = PerProposal(plan.sampler, seed=plan.budget.seed, space=plan.space)
    study = optuna.create_study(
        study_name=plan.name,
        storage=storage,
        sampler=sampler,
        directions=[StudyDirection.MAXIMIZE] * (1 if isinstance(plan.choice, Thrift) else 2),
        load_if_exists=True,
    )
    if plan.forks is not None:
        require_same_origin(plan.name, study.user_attrs.get(FORK), plan.forks)
    fingerprint.require_same(study, plan.fingerprint)
    reap(study, Reaper(storage), plan.budget.retries)
    keep_choice(study, plan.choice)
    if plan.forks is not None and FORK not in study.user_attrs:
        study.set_user_attr(FORK, plan.forks)
    if SHOWN not in study.user_attrs:
        study.set_user_attr(SHOWN, [asdict(m) for m in shown_media(plan.split.search)])
    if UID not in study.user_attrs:
        study.set_user_attr(UID, uuid.uuid4().hex)
    return study


def _search(
    plan: StudyPlan,
    study: Study,
    lease: Lease,
    tracked: Tracked,
    engine: Engine,
    reporter: Reporter,
) -> None:
    suite = plan.split.search
    unmerged = constructors.base(plan.space.n_layers)
    with interrupts_allowed():
        engine.prepare(plan.split.confirm)  # too many media that fail are told before the search
        base = engine.evaluate(unmerged, suite)
    yardstick = Yardstick(suite, plan.objective, base)
    yardstick.values(base)  # a base without a finite objective is told before the search
    owed = {base.recipe: base.cost}  # its trial finds the scores known, and pays for them

    def measure(recipe: Recipe, stop: Stop | None) -> Evaluation | Curtailed:
        with interrupts_allowed():
            if stop is not None:
                found = engine.evaluate_unless(recipe, suite, stop)
            else:
                found = engine.evaluate(recipe, suite)
        if isinstance(found, Evaluation) and found.cost is None:
            return replace(found, cost=owed.pop(found.recipe, None))
        return found

    bench = Bench(plan.space, measure, yardstick, _stopping(plan, yardstick, engine))

    def told(record: TrialRecord, leader: TrialRecord | None, done: int) -> None:
        tracked.log_trial(record, leader)
        reporter.trial(record, leader, done, plan.budget.trials)
        warm()

    room = Room(plan.budget.trials, plan.budget.random_layers)
    warm = WarmStarter(
        source=plan.warm_start,
        study=study,
        bench=bench,
        room=room,
        storage=lease.storage,
        screen=lambda parts: engine.screen(unmerged, suite, parts),
    )
    _queue_known(plan, study, lease.storage, room)
    warm()
    work(study, bench, budget=plan.budget, lease=lease, watch=told)


def _queue_known(plan: StudyPlan, study: Study, storage: PatientStorage, room: Room) -> None:
    """Controls first, which keep their place in the budget; then what another study proposed."""

    def queue() -> None:
        enqueue_controls(study, controls_of(plan.budget, plan.space), plan.space)
        if plan.forks is not None:
            old = require_forkable(storage, plan.forks, plan.name)
            queue_fork(study, old, plan.space, room=room.left(study))

    storage.in_turn(plan.name, queue)


def _stopping(plan: StudyPlan, yardstick: Yardstick, engine: Engine) -> Stopping | None:
    if plan.pruning is None:
        return None
    known = partial(engine.known_scores, suite=yardstick.suite)
    return Stopping(plan.pruning.make(yardstick), known)
