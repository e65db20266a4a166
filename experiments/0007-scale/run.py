"""How a study grows: with its workers, and with its trials.

    python experiments/0007-scale/run.py FOLDER workers
    python experiments/0007-scale/run.py FOLDER trials
    python experiments/0007-scale/run.py FOLDER trial

FOLDER is not root's alone where root runs it, as a PostgreSQL server is not root's. The big studies
stay there, so that a second run need not make them; what is measured goes into result.json.
"""

import json
import multiprocessing
import os
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import optuna
from bench import (
    OBJECTIVE,
    SPACE,
    STORAGES,
    THRIFT,
    Place,
    Quiet,
    SameAtOnce,
    bench,
    budget,
    places,
    split,
)
from bench import sampler as proposals
from big import fill
from rich.console import Console

from merit_opt.cli.tables import show_study
from merit_opt.search.conclusion import conclude
from merit_opt.search.leases import Lease
from merit_opt.search.plan import StudyPlan
from merit_opt.search.samplers import tpe
from merit_opt.search.tracked import Tracked
from merit_opt.search.trial import best, front_of, keep_choice, told_records
from merit_opt.search.worker import work
from merit_opt.tracking.mlflow import MlflowTracker
from merit_opt.tracking.record import StudyRecord, TrialRecord

HERE = Path(__file__).parent
WORKERS = (1, 2, 4, 8)
EACH, SECONDS = 4, 10.0
TRIALS, MIDDLE, MORE = 10_000, 500, 11
FORK = multiprocessing.get_context("fork")
Look = Callable[[Place, str, Path, "Queue[dict[str, Any]]"], None]


def main(folder: Path, what: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    measure = {"workers": throughput, "trials": bookkeeping, "trial": in_the_middle}[what]
    found: dict[str, Any] = {"load before": os.getloadavg()[0]}
    for kind in STORAGES:
        found[kind] = measure(folder, kind)
        print(kind, json.dumps(found[kind], indent=1), flush=True)
    found["load after"] = os.getloadavg()[0]
    path = HERE / "result.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(kept | {what: found}, indent=1) + "\n")


def throughput(folder: Path, kind: str) -> dict[str, Any]:
    """Workers -> wall seconds for `EACH` trials apiece, and the share of ideal throughput."""
    found = {}
    with places(kind, folder) as place:
        for workers in WORKERS:
            seconds, opening = crowd(place(f"w{workers}_{uuid.uuid4().hex}"), workers)
            ideal = EACH * SECONDS
            found[str(workers)] = {
                "seconds": round(seconds, 2),
                "ideal": ideal,
                "share": round(ideal / seconds, 3),
                "opening": round(opening, 2),
            }
    return found


def crowd(place: Place, workers: int) -> tuple[float, float]:
    """Wall seconds from a common start to the last worker's end; and to open the study, the most.

    Workers are forked from this process, which has imported everything.
    """
    start, ready = FORK.Event(), FORK.Queue()
    trials = workers * EACH
    crew = [FORK.Process(target=live, args=(place, trials, start, ready)) for _ in range(workers)]
    for one in crew:
        one.start()
    opening = max(ready.get() for _ in crew)
    began = time.monotonic()
    start.set()
    for one in crew:
        one.join()
    ended = time.monotonic()
    if any(one.exitcode for one in crew):
        raise RuntimeError("a worker failed")
    storage = place.open()
    study = optuna.load_study(study_name="s", storage=storage)
    done = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    storage.close()
    if len(done) != trials:
        raise RuntimeError(f"{len(done)} trials instead of {trials}")
    return ended - began, opening


def live(place: Place, trials: int, start: Any, ready: "Queue[float]") -> None:
    began = time.monotonic()
    storage = place.open()
    study = opened(storage)
    ready.put(time.monotonic() - began)
    start.wait()
    with Lease(storage) as lease:
        work(
            study,
            bench(SECONDS),
            budget=budget(trials),
            lease=lease,
            watch=lambda record, leader, done: None,
        )
    storage.close()


def opened(storage: Any) -> optuna.Study:
    study = optuna.create_study(
        study_name="s",
        storage=storage,
        sampler=proposals(),
        direction="maximize",
        load_if_exists=True,
    )
    keep_choice(study, THRIFT)
    return study


def bookkeeping(folder: Path, kind: str) -> dict[str, Any]:
    """What it takes to join and to report a study of `TRIALS` trials; each in a fresh process."""
    return looked(folder, kind, TRIALS, (join, report))


def in_the_middle(folder: Path, kind: str) -> dict[str, Any]:
    """What a trial takes of its own in a study of `MIDDLE` trials."""
    return looked(folder, kind, MIDDLE, (one_more,))


def looked(folder: Path, kind: str, trials: int, looks: Sequence[Look]) -> dict[str, Any]:
    with places(kind, folder) as place:
        big, uri = place(f"big_{trials}"), f"sqlite:///{folder.resolve()}/{kind}{trials}_mlflow.db"
        fill(big, trials, uri)
        answers: Queue[dict[str, Any]] = FORK.Queue()
        for look in looks:
            process = FORK.Process(target=look, args=(big, uri, folder, answers))
            process.start()
            process.join()
            if process.exitcode:
                raise RuntimeError(f"{look.__name__} failed")
        return {name: seconds for _ in looks for name, seconds in answers.get().items()}


class Clock:
    """Remembers what steps took."""

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, float]] = {}
        self.lap()

    def lap(self, name: str = "") -> None:
        now = time.process_time(), time.perf_counter()
        if name:
            cpu, wall = (a - b for a, b in zip(now, self._last, strict=True))
            self.steps[name] = {"CPU": round(cpu, 3), "wall": round(wall, 3)}
        self._last = now

    def total(self) -> dict[str, float]:
        return {c: round(sum(s[c] for s in self.steps.values()), 2) for c in ("CPU", "wall")}


def join(place: Place, uri: str, folder: Path, answers: "Queue[dict[str, Any]]") -> None:
    """As a worker that begins: open, read every trial, know the leader, look what MLflow misses."""
    clock = Clock()
    storage = place.open()
    study = opened(storage)
    clock.lap("open")
    study.get_trials(deepcopy=False)
    clock.lap("read the trials")
    best(study)
    clock.lap("find the leader")
    tracker = MlflowTracker(uri=uri, artifacts=None, experiment="bench", patience=20.0)
    Tracked(tracker, print, study).start(record(study))
    clock.lap("look what MLflow misses")
    answers.put({"join": clock.total(), "join, by step": clock.steps})


def report(place: Place, uri: str, folder: Path, answers: "Queue[dict[str, Any]]") -> None:
    """As the verb that ends: read the trials, conclude, and print the table."""
    clock = Clock()
    study = opened(place.open())
    study.get_trials(deepcopy=False)
    clock.lap("read the trials")
    told_records(study), front_of(study)
    clock.lap("read their records")
    files = folder / "studies"
    plan = StudyPlan(
        record=StudyRecord("s", "f", {}, ""),
        folder=files,
        budget=budget(TRIALS),
        space=SPACE,
        sampler=tpe(n_startup_trials=10),
        pruning=None,
        objective=OBJECTIVE,
        choice=THRIFT,
        split=split(),
        fingerprint={},
    )
    result = conclude(plan, study, SameAtOnce(), Quiet(), 1.0)
    clock.lap("conclude")
    with (files / "table.txt").open("w") as table:
        show_study(Console(file=table), result)
    clock.lap("print the table")
    answers.put({"report": clock.total(), "report, by step": clock.steps})


def one_more(place: Place, uri: str, folder: Path, answers: "Queue[dict[str, Any]]") -> None:
    """A trial more, apart from its measurement: asked, told, written to MLflow; the middle of some."""
    storage = place.open()
    study = opened(storage)
    tracker = MlflowTracker(uri=uri, artifacts=None, experiment="bench", patience=20.0)
    tracked = Tracked(tracker, print, study)
    tracked.start(record(study))
    best(study)
    clock = Clock()

    def watch(told: TrialRecord, leader: TrialRecord | None, done: int) -> None:
        clock.lap(f"told {done}")
        tracked.log_trial(told, leader)
        clock.lap(f"kept {done}")

    whole = budget(len(study.get_trials(deepcopy=False)) + MORE)
    with Lease(storage) as lease:
        work(study, bench(0.0), budget=whole, lease=lease, watch=watch)
    middle = {
        f"{step}, {c}": statistics.median(
            s[c] for name, s in clock.steps.items() if name.startswith(step)
        )
        for step in ("told", "kept")
        for c in ("CPU", "wall")
    }
    answers.put(middle)


def record(study: optuna.Study) -> StudyRecord:
    return StudyRecord("s", "f", {}, "", uid=study.user_attrs["uid"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
