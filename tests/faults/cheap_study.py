"""A worker of a study without a model, to be started in a nursery."""

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import optuna
from optuna.storages._rdb import storage as relational_storage

from merit_opt.data.split import split_by_group
from merit_opt.errors import UserError
from merit_opt.recipe.recipe import Recipe
from merit_opt.search import leases
from merit_opt.search.flip_sampler import flips
from merit_opt.search.interrupts import interrupts_held
from merit_opt.tracking.record import NoTracker, Tracker, TrialRecord
from tests.storages import opened
from tests.unit.search.conftest import World, unseen_suite

WORKER = "tests.faults.cheap_study:worker"
MEASURED, TOLD = "measured", "told"
HOUR = timedelta(hours=1)


@dataclass
class Lines:
    """A reporter that says warnings, and keeps a line for each trial that was told."""

    def stage(self, name: str, done: int, total: int) -> None:
        pass

    def trial(self, record: TrialRecord, best: Any, done: int, total: int) -> None:
        keep(TOLD, [record.number, record.value])

    def warn(self, message: str) -> None:
        sys.stdout.write(f"warning: {message}\n")
        sys.stdout.flush()


def keep(name: str, line: list[Any]) -> None:
    """Add a line to a file of this folder."""
    with Path(name).open("a") as file:
        file.write(json.dumps(line) + "\n")


def worker(kind: str, place: str, trials: int, seconds: float, options: dict[str, Any]) -> int:
    """A whole search: 0, 2 after a sentence, 130 after Ctrl-C.

    Args:
        kind: Of its storage.
        place: Of its storage.
        trials: How many.
        seconds: How long one takes to measure.
        options: `patience` and `grace` of the storage, where they are not the tests' own;
            `sampler`, "flips" where it is not TPE; `files`, where the study's files go, if not here; `tracking`, the address of MLflow;
            `jumps`, after how many measurements the wall clock falls back by an hour.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    split = split_by_group(unseen_suite(), search_share=0.4, seed=0)

    def before(recipe: Recipe, count: int) -> None:
        keep(MEASURED, [os.getpid(), recipe.digest])
        time.sleep(seconds)
        if count == options.get("jumps"):
            fall_back()

    try:
        with interrupts_held():
            waits = {k: options[k] for k in ("patience", "grace") if k in options}
            folder = Path(options.get("files", Path.cwd()))
            world = World(folder, split, storage=opened(kind, place, **waits), told=Lines())
            if options.get("sampler") == "flips":
                world.sampler = flips(max_pairs=4, least_share=0.05)
            world.engine.before = before
            result = world.run(trials, tracker(options))
    except UserError as error:
        sys.stdout.write(f"merit-opt: {error}\n")
        return 2
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return 130
    Path(f"result-{os.getpid()}.json").write_text(json.dumps(result))
    return 0


def tracker(options: dict[str, Any]) -> Tracker:
    """Of the options' address, tried for a second."""
    if "tracking" not in options:
        return NoTracker()
    from merit_opt.tracking.mlflow import MlflowTracker

    return MlflowTracker(
        uri=options["tracking"], artifacts=None, experiment="merit_opt", patience=1.0
    )


def fall_back() -> None:
    """From now on the wall clock of this process is an hour late."""
    now = time.time
    time.time = lambda: now() - HOUR.total_seconds()

    class Late(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Self:
            return super().now(tz) - HOUR

    relational_storage.datetime = leases.datetime = Late  # type: ignore[attr-defined]
