"""Climbs of switches survive kills: each proposal once, and each still knows what proposed it."""

import os
import random
import signal
import time

import pytest
from optuna.trial import FrozenTrial

from merit_opt.search.flip_sampler import CHANGE, PHASE, STATE
from merit_opt.search.samplers import CONTROL, PROPOSAL, is_given
from tests.faults.cheap_study import WORKER
from tests.faults.kept import measured, require_told, require_whole, wait_for
from tests.storages import new_place

pytestmark = pytest.mark.timeout(120)

TRIALS, WORKERS, KILLS, SECONDS = 34, 2, 6, 0.15
EVALUATIONS_PER_KILL = 5
CLIMBS = {"flip", "scale", "peel", "pair"}


def require_proposed_by(trial: FrozenTrial) -> None:
    """A control, or a proposal of a phase; of a climb the recipe is the one that it proposed."""
    phase = trial.user_attrs[PHASE]
    assert (phase == "control") == (CONTROL in trial.user_attrs)
    if phase in CLIMBS:
        assert trial.system_attrs[CHANGE][0] == phase
        proposed = [value for switch in trial.system_attrs[STATE] for value in switch]
        assert proposed == [float(value) for value in trial.params.values()]
    elif phase != "control":
        assert phase == "cold"
        assert not is_given(trial) or PROPOSAL in trial.user_attrs


def test_kills_lose_no_flip_and_double_none(nursery, tmp_path, request):
    place = new_place("sqlite", tmp_path / "kept", request)

    def start() -> int:
        options = {"sampler": "flips"}
        return nursery.start(tmp_path, WORKER, "sqlite", place, TRIALS, SECONDS, options)

    draws = random.Random(0)
    crew = [start() for _ in range(WORKERS)]
    for kill in range(1, KILLS + 1):
        wait_for(lambda kill=kill: measured(tmp_path) >= EVALUATIONS_PER_KILL * kill)
        time.sleep(draws.uniform(0.0, SECONDS))
        victim = draws.randrange(WORKERS)
        os.kill(crew[victim], signal.SIGKILL)
        assert nursery.code(crew[victim]) == -signal.SIGKILL
        crew[victim] = start()
    said = tmp_path / "said"
    assert [nursery.code(one) for one in crew] == [0] * WORKERS, said.read_text()
    assert not said.exists() or "Traceback" not in said.read_text()
    done = require_whole("sqlite", place, TRIALS)
    require_told(tmp_path, done)
    for trial in done:
        require_proposed_by(trial)
    phases = {trial.user_attrs[PHASE] for trial in done}
    assert {"control", "flip", "peel"} <= phases
