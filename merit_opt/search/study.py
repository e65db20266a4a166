"""One study from its first trial to its result: run, resume or join."""

import contextlib
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.storages import RDBStorage
from optuna.study import Study

from merit_opt.data.leakage import shown_media
from merit_opt.data.media.status import MediaStatus
from merit_opt.data.split import Split
from merit_opt.errors import UserError
from merit_opt.evaluation.curtail import Curtailment, MissHistory
from merit_opt.evaluation.engine import Engine
from merit_opt.evaluation.evaluation import Curtailed, Evaluation
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.evaluation.prepare import EngineReporter
from merit_opt.evaluation.samples_file import sample_rows, write_samples
from merit_opt.evaluation.yardstick import Yardstick
from merit_opt.files import write_text
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe
from merit_opt.recipe.store import write_recipe
from merit_opt.search import fingerprint
from merit_opt.search.confirm import Confirmation, confirm
from merit_opt.search.controls import RANDOM_LAYERS
from merit_opt.search.dashboard import Dashboard
from merit_opt.search.interrupts import interrupts_allowed, interrupts_held
from merit_opt.search.leases import Lease, ask_dead_again, turn
from merit_opt.search.references import SEARCHED, SHOWN
from merit_opt.search.result import StudyResult, note, to_dict
from merit_opt.search.samplers import PerProposal, SeededSampler
from merit_opt.search.spaces import SearchSpace
from merit_opt.search.storage import failures_told
from merit_opt.search.tracked import Tracked
from merit_opt.search.trial import Bench, best, record_of
from merit_opt.search.worker import Budget, finished, work
from merit_opt.tracking.record import StudyOutcome, StudyRecord, Tracker, TrialRecord

UID = "uid"
RESULT = "result.json"
BEST = "recipes/best.json"
SAMPLES = ("confirm_samples.parquet", "confirm_base_samples.parquet")


@dataclass(frozen=True, eq=False)
class StudyPlan:
    """Everything a study is made of.

    Attributes:
        record: Its name, and what trackers are told about it.
        folder: Where config.yaml, result.json and recipes/ go.
        budget: How much it may do.
        space: Where recipes come from.
        sampler: Who proposes.
        curtails: Whether proposals that can no longer win are stopped.
        objective: What is maximised.
        split: Search and confirm samples.
        fingerprint: Name -> identity of all that must not change while it is resumed.
        dashboard: Where pictures for optuna-dashboard go; None where nobody asked for them.
    """

    record: StudyRecord
    folder: Path
    budget: Budget
    space: SearchSpace
    sampler: SeededSampler
    curtails: bool
    objective: PenalisedGain
    split: Split
    fingerprint: Mapping[str, str]
    dashboard: Path | None = None

    @property
    def name(self) -> str:
        """Unique in its storage."""
        return self.record.name

    @property
    def leases(self) -> Path:
        """Where workers show that they live."""
        return self.folder / "workers"


class Reporter(EngineReporter, Protocol):
    """Is told how a study gets on, the engine included."""

    def trial(self, record: TrialRecord, best: TrialRecord | None, done: int, total: int) -> None:
        """`record` was told as one of `done` of `total` finished trials; `best` leads."""
        ...


def run_study(
    plan: StudyPlan,
    *,
    storage: RDBStorage,
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
    with failures_told(storage), interrupts_held():
        return _run(plan, storage, tracker, engine, reporter)


def _run(
    plan: StudyPlan,
    storage: RDBStorage,
    tracker: Tracker,
    engine: Callable[[], AbstractContextManager[Engine]],
    reporter: Reporter,
) -> dict[str, Any]:
    with turn(plan.leases):
        study = _open(plan, storage)
    board = None if plan.dashboard is None else Dashboard(study, storage, plan.dashboard)
    tracked = Tracked(tracker, reporter.warn, study, board)
    ask_dead_again(study, plan.leases)
    reporter.stage("opening the study's record", 0, 1)
    tracked.start(replace(plan.record, uid=study.user_attrs[UID]))
    if (known := _known_result(plan, study)) is not None:
        tracked.finish(_outcome(plan, known))
        return known
    started = time.monotonic()
    write_text(plan.folder / "config.yaml", plan.record.config)
    with interrupts_allowed():
        measuring = engine()
    with measuring as measure:
        _search(plan, study, tracked, measure, reporter)
        winner, base = best(study), _base(study)
        if winner is None or base is None:
            raise UserError(
                f"study {plan.name} has no finished trial of the base yet; give it more "
                "study.hours, or wait for its other workers"
            )
        confirmation = _confirm(plan, study, winner, measure, reporter)
        statuses = measure.statuses(plan.split.confirm)
    result = StudyResult(
        study=plan.name,
        fingerprint=plan.record.fingerprint,
        seed=plan.budget.seed,
        seconds=time.monotonic() - started,
        trials=_counts(study),
        base=base,
        best=winner,
        confirmation=confirmation,
    )
    _keep(plan, result, statuses)
    tracked.finish(_outcome(plan, to_dict(result)))
    return to_dict(result)


def _open(plan: StudyPlan, storage: RDBStorage) -> Study:
    sampler = PerProposal(plan.sampler, seed=plan.budget.seed, space=plan.space)
    study = optuna.create_study(
        study_name=plan.name,
        storage=storage,
        sampler=sampler,
        direction="maximize",
        load_if_exists=True,
    )
    fingerprint.require_same(study, plan.fingerprint)
    if SHOWN not in study.user_attrs:
        study.set_user_attr(SHOWN, [asdict(m) for m in shown_media(plan.split.search)])
    if UID not in study.user_attrs:
        study.set_user_attr(UID, uuid.uuid4().hex)
    return study


def _told(study: Study) -> dict[int, TrialRecord]:
    """Trial number -> record, for every trial that was measured."""
    trials = study.get_trials(deepcopy=False)
    return {t.number: record for t in trials if (record := record_of(t)) is not None}


def _base(study: Study) -> TrialRecord | None:
    told = _told(study).values()
    return next((r for r in told if r.name == "base" and r.state == "COMPLETE"), None)


def _known_result(plan: StudyPlan, study: Study) -> dict[str, Any] | None:
    """The result on disk, if it is of this very study and its trials are as many as asked."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known: dict[str, Any] = json.loads((plan.folder / RESULT).read_text())
        is_same = known["fingerprint"] == plan.record.fingerprint
        if is_same and known["trials"] == _counts(study) and finished(study) >= plan.budget.trials:
            return known
    return None


def _search(
    plan: StudyPlan, study: Study, tracked: Tracked, engine: Engine, reporter: Reporter
) -> None:
    suite = plan.split.search

    def measure(recipe: Recipe, curtailment: Curtailment | None) -> Evaluation | Curtailed:
        with interrupts_allowed():
            if curtailment is None:
                return engine.evaluate(recipe, suite)
            return engine.evaluate_unless(recipe, suite, curtailment)

    unmerged = constructors.base(plan.space.n_layers)
    with interrupts_allowed():
        engine.prepare(plan.split.confirm)  # too many media that fail are told before the search
        base = engine.evaluate(unmerged, suite)
    yardstick = Yardstick(suite, plan.objective, base)
    history = _history(study, yardstick, engine) if plan.curtails else None
    bench = Bench(plan.space, measure, yardstick, history)

    def told(record: TrialRecord, leader: TrialRecord | None, done: int) -> None:
        tracked.log_trial(record, leader)
        reporter.trial(record, leader, done, plan.budget.trials)

    with Lease(plan.leases) as lease:
        work(study, bench, budget=plan.budget, lease=lease, watch=told)


def _history(study: Study, yardstick: Yardstick, engine: Engine) -> MissHistory:
    """What earlier sessions of the study learned about its samples."""
    history = MissHistory(yardstick)
    for record in _told(study).values():
        history.add(engine.known_scores(record.recipe, yardstick.suite))
    return history


def _confirm(
    plan: StudyPlan, study: Study, winner: TrialRecord, engine: Engine, reporter: Reporter
) -> Confirmation:
    controls = list(_compared(_told(study), winner))
    total = len(controls) + 2
    done = iter(range(total))

    def evaluate(recipe: Recipe) -> Evaluation:
        reporter.stage("confirming winner, base and controls", next(done), total)
        with interrupts_allowed():
            return engine.evaluate(recipe, plan.split.confirm)

    found = confirm(
        winner.recipe,
        controls,
        suite=plan.split.confirm,
        objective=plan.objective,
        evaluate=evaluate,
        seed=plan.budget.seed,
    )
    return replace(found, failed=_failed_controls(study) | found.failed)


def _failed_controls(study: Study) -> dict[str, str]:
    told = [r for r in _told(study).values() if r.name]
    return {r.name: f"in the search: {r.why}" for r in told if r.state == "FAIL"}


def _compared(
    told: Mapping[int, TrialRecord], winner: TrialRecord
) -> Iterator[tuple[str, Recipe]]:
    """Every finished control but the base, and of the random-layer ones only this winner's."""
    own = f"{RANDOM_LAYERS}:{winner.recipe.digest}/"
    for record in told.values():
        if record.state != "COMPLETE" or record.name in ("", "base"):
            continue
        if not record.name.startswith(RANDOM_LAYERS):
            yield record.name, record.recipe
        elif record.name.startswith(own):
            yield f"{RANDOM_LAYERS}/{record.name.removeprefix(own)}", record.recipe


def _counts(study: Study) -> dict[str, int]:
    states = Counter(trial.state.name for trial in study.get_trials(deepcopy=False))
    keys = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    return {key: states[state] for key, state in keys.items()}


def _keep(plan: StudyPlan, result: StudyResult, statuses: Mapping[str, MediaStatus]) -> None:
    """Write what the study leaves in its folder; result.json last, as it says that all is there."""
    write_recipe(plan.folder / BEST, result.best.recipe)
    shown = [asdict(m) for m in shown_media(plan.split.search)]
    _write_json((plan.folder / BEST).with_name(SEARCHED), shown)
    found, suite = result.confirmation, plan.split.confirm
    for name, evaluation in zip(SAMPLES, (found.evaluation, found.base_evaluation), strict=True):
        write_samples(plan.folder / name, sample_rows(evaluation, suite, statuses))
    _write_json(plan.folder / RESULT, to_dict(result))


def _outcome(plan: StudyPlan, result: Mapping[str, Any]) -> StudyOutcome:
    found = result["confirm"]
    metrics = {
        "confirm.TR": found["best"]["TR"],
        "confirm.TP": found["best"]["TP"],
        "confirm.objective": found["best"]["objective"],
        "confirm.base.TR": found["base"]["TR"],
        "confirm.base.TP": found["base"]["TP"],
    }
    files = tuple(plan.folder / name for name in (RESULT, BEST, *SAMPLES))
    return StudyOutcome(note(result), metrics, tuple(path for path in files if path.is_file()))


def _write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")
