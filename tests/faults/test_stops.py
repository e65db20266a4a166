"""Ctrl-C, once and twice, and a wall clock that jumps back, while several workers run."""

import os
import shutil
import signal
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from merit_opt.search.leases import STOPPED
from tests.faults.cheap_study import WORKER
from tests.faults.kept import measured, require_told, require_tracked, require_whole, wait_for
from tests.storages import opened

pytestmark = pytest.mark.timeout(240)

TRIALS, WORKERS = 24, 3
SECONDS = 0.1


@pytest.fixture
def place(tmp_path) -> str:
    return str(tmp_path / "kept")


def start(nursery, folder: Path, place: str, **options: object) -> int:
    return nursery.start(folder, WORKER, "sqlite", place, TRIALS, SECONDS, options)


@pytest.mark.parametrize("pause", [None, 0.0, 0.02])
def test_ctrl_c_stops_all_workers_and_the_study_goes_on(nursery, tmp_path, place, pause):
    workers = [start(nursery, tmp_path, place) for _ in range(WORKERS)]
    wait_for(lambda: measured(tmp_path) > 12)
    for worker in workers:
        os.kill(worker, signal.SIGINT)
    if pause is not None:
        time.sleep(pause)
        for worker in workers:
            os.kill(worker, signal.SIGINT)
    codes = [nursery.code(one) for one in workers]
    said = (tmp_path / "said").read_text()
    assert (codes, said) == ([130] * WORKERS, "")
    if pause is None:
        require_nothing_runs(place)
    assert nursery.code(start(nursery, tmp_path, place)) == 0
    require_told(tmp_path, require_whole("sqlite", place, TRIALS))


def require_nothing_runs(place: str) -> None:
    storage = opened("sqlite", place)
    study = optuna.load_study(study_name="s", storage=storage)
    assert not study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    storage.close()


def test_a_wall_clock_that_falls_back_an_hour_changes_nothing(
    nursery, empty_mlflow, tmp_path, place
):
    database = Path(shutil.copy(empty_mlflow, tmp_path))
    options = {"tracking": f"sqlite:///{database}", "grace": 5.0}
    late = start(nursery, tmp_path, place, jumps=4, **options)
    workers = [late, *(start(nursery, tmp_path, place, **options) for _ in range(WORKERS - 1))]
    codes = [nursery.code(one) for one in workers]
    assert (codes, (tmp_path / "said").read_text()) == ([0] * WORKERS, "")
    done = require_whole("sqlite", place, TRIALS)
    assert [t.number for t in done] == list(range(TRIALS))
    assert not [t for t in done if STOPPED in t.user_attrs]
    hours = {t.datetime_complete.replace(minute=0, second=0, microsecond=0) for t in done}
    assert len(hours) > 1
    require_told(tmp_path, done)
    require_tracked(database, done)
