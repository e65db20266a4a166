"""Workers killed at random moments, each followed by another one, make one whole study."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.faults.cheap_study import WORKER
from tests.faults.kept import measured, require_told, require_tracked, require_whole, wait_for
from tests.storages import new_place

pytestmark = pytest.mark.timeout(280)

TRIALS, WORKERS, KILLS = 64, 4, 20
SECONDS = 0.03
EVALUATIONS_PER_KILL = 4  # those of its base included, with which a worker begins


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request) -> str:
    return request.param


@pytest.fixture
def place(kind, tmp_path, request) -> str:
    return new_place(kind, tmp_path / "kept", request)


def test_twenty_kills_lose_no_trial_and_double_none(nursery, empty_mlflow, tmp_path, kind, place):
    database = Path(shutil.copy(empty_mlflow, tmp_path))
    options = {"tracking": f"sqlite:///{database}"}

    def start() -> int:
        return nursery.start(tmp_path, WORKER, kind, place, TRIALS, SECONDS, options)

    draws = random.Random(0)
    crew = [start() for _ in range(WORKERS)]
    for kill in range(1, KILLS + 1):
        wait_for(lambda kill=kill: measured(tmp_path) >= EVALUATIONS_PER_KILL * kill)
        time.sleep(draws.uniform(0.0, 4 * SECONDS))
        victim = draws.randrange(WORKERS)
        os.kill(crew[victim], signal.SIGKILL)
        assert nursery.code(crew[victim]) == -signal.SIGKILL
        crew[victim] = start()
    codes = [nursery.code(one) for one in crew]
    said = (tmp_path / "said").read_text()
    assert codes == [0] * WORKERS, said
    assert "Traceback" not in said
    done = require_whole(kind, place, TRIALS)
    require_told(tmp_path, done)
    assert nursery.code(start()) == 0
    require_tracked(database, done)
