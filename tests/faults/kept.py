"""What a cheap study left behind, and what must be true of it."""

import json
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from merit_opt.search.controls import control_recipe
from merit_opt.search.leases import STOPPED
from merit_opt.search.samplers import CONTROL, proposal_index
from tests.faults.cheap_study import MEASURED, TOLD
from tests.faults.nursery import PATIENCE
from tests.storages import opened

CHILDREN = (
    "SELECT t.value, r.status FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid "
    "WHERE t.key = 'optuna_trial' AND r.lifecycle_stage = 'active'"
)
POINTS = (
    "SELECT m.step, m.value FROM metrics m JOIN tags t ON t.run_uuid = m.run_uuid "
    "WHERE m.key = ? AND t.key = 'role' AND t.value = 'study' ORDER BY m.step, m.timestamp"
)


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def said_in(folder: Path) -> str:
    """All that the workers in a folder have said."""
    path = folder / "said"
    return path.read_text() if path.exists() else ""


def measured(folder: Path) -> int:
    """How many evaluations the workers in a folder have begun."""
    return len(lines(folder / MEASURED))


def lines(path: Path) -> list[list[Any]]:
    """What was kept there; a line that a kill left half is none."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("]")]


def require_whole(kind: str, place: str, trials: int) -> list[FrozenTrial]:
    """As many trials are complete as asked, each proposal and control once; nothing runs.

    Returns:
        Those that are complete.
    """
    storage = opened(kind, place)
    study = optuna.load_study(study_name="s", storage=storage)
    found = study.get_trials(deepcopy=False)
    done = [t for t in found if t.state == TrialState.COMPLETE]
    failed = [t for t in found if t.state == TrialState.FAIL]
    assert len(done) == trials
    assert len(done) + len(failed) == len(found)
    assert max(Counter(proposal_index(study, t) for t in done).values()) == 1
    assert max(controls(done).values()) == 1
    for trial in failed:
        assert trial.values is None
        assert re.search("its worker .* stopped|interrupted|withdrawn", trial.user_attrs[STOPPED])
    storage.close()
    return done


def controls(done: Iterable[FrozenTrial]) -> Counter[str]:
    """How often each control is among them."""
    kept = (t.user_attrs[CONTROL] for t in done if CONTROL in t.user_attrs)
    return Counter(control_recipe(control)[0] for control in kept)


def require_told(folder: Path, done: Iterable[FrozenTrial]) -> None:
    """Every trial that a worker saw told is among the complete ones, with its value."""
    told = [(number, value) for number, value in lines(folder / TOLD) if value is not None]
    assert told
    assert set(told) <= {(t.number, t.value) for t in done}


def require_tracked(database: Path, done: Iterable[FrozenTrial]) -> None:
    """MLflow has each complete trial once, as a run that ended and as a point of each curve."""
    numbers = sorted(t.number for t in done)
    with closing(sqlite3.connect(database)) as connection:
        runs = [(int(n), status) for n, status in connection.execute(CHILDREN).fetchall()]
        assert sorted(runs) == [(number, "FINISHED") for number in numbers]
        steps = [step for step, _ in connection.execute(POINTS, ("trial_seconds",))]
        assert steps == numbers
        rising = [value for _, value in connection.execute(POINTS, ("best_value",))]
        assert rising == sorted(rising)
