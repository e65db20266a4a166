"""A worker of a study without a model, to be started in a nursery."""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from merit_opt.data.split import split_by_group
from merit_opt.errors import UserError
from merit_opt.recipe.recipe import Recipe
from tests.storages import opened
from tests.unit.search.conftest import World, unseen_suite

WORKER = "tests.faults.cheap_study:worker"
MEASURED = "measured"


@dataclass
class Warned:
    """A reporter that says warnings alone."""

    def stage(self, name: str, done: int, total: int) -> None:
        pass

    def trial(self, record: Any, best: Any, done: int, total: int) -> None:
        pass

    def warn(self, message: str) -> None:
        sys.stdout.write(f"warning: {message}\n")
        sys.stdout.flush()


def worker(
    kind: str, place: str, trials: int, seconds: float, seconds_of: dict[str, float]
) -> int:
    """A whole search in this folder: 0, or 2 after a sentence.

    Args:
        kind: Of its storage.
        place: Of its storage.
        trials: How many.
        seconds: How long one takes to measure.
        seconds_of: The storage's patience and grace, where they are not the tests' own.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder = Path.cwd()
    split = split_by_group(unseen_suite(), search_share=0.4, seed=0)

    def before(recipe: Recipe, _: int) -> None:
        with (folder / MEASURED).open("a") as file:
            file.write(json.dumps([os.getpid(), recipe.digest]) + "\n")
        time.sleep(seconds)

    try:
        world = World(folder, split, storage=opened(kind, place, **seconds_of), told=Warned())
        world.engine.before = before
        result = world.run(trials)
    except UserError as error:
        sys.stdout.write(f"merit-opt: {error}\n")
        return 2
    (folder / f"result-{os.getpid()}.json").write_text(json.dumps(result))
    return 0
