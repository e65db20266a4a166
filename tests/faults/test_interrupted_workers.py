"""Ctrl-C while several workers of a study run: all stop, none begins, and the study goes on."""

import os
import re
import signal
import sys

import optuna
import pytest

from merit_opt.cli.main import run
from tests.faults.kept import said_in, wait_for
from tests.faults.nursery import alive_in

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks")

LEADER = "tests.faults.test_interrupted_workers:leader"
SMALL = "suite.clips=6 suite.tr_per_clip=2 suite.tp_per_clip=2 tracking=none device=cpu"
STUDY = f"search -m study.name=a hydra/launcher=joblib {SMALL}"


def leader(line: str) -> None:
    """`merit-opt LINE` as a shell starts it: the foreground process group of its terminal."""
    os.setsid()
    sys.exit(run(line.split()))


def test_ctrl_c_stops_every_worker_and_the_same_command_goes_on(nursery, tmp_path):
    waiting = "worker=range(0,3) hydra.launcher.n_jobs=2"
    workers = nursery.start(tmp_path, LEADER, f"{STUDY} study.trials=200 {waiting}")
    wait_for(lambda: ": trial 3 " in said_in(tmp_path))
    os.killpg(workers, signal.SIGINT)
    assert nursery.code(workers) == 130
    wait_for(lambda: not alive_in(workers))
    told = said_in(tmp_path)
    assert "Traceback" not in told
    begun = re.findall(r"a, worker (\d): starts", told)
    stopped = re.findall(r"a, worker (\d): stopped; nothing measured is lost", told)
    assert set(begun) == set(stopped) <= {"0", "1"}
    assert stopped
    storage = f"sqlite:///{tmp_path}/outputs/merit.db"
    before = optuna.load_study(study_name="a", storage=storage)
    kept = [t.number for t in before.trials if t.state == optuna.trial.TrialState.COMPLETE]
    assert len(kept) == len(re.findall(r": trial \d+ (?:\S+ )?TR", told)) > 0
    again = nursery.start(tmp_path, LEADER, f"{STUDY} study.trials={len(kept) + 1} worker=0")
    assert nursery.code(again) == 0
    assert "a: on confirm" in said_in(tmp_path).removeprefix(told)
    after = optuna.load_study(study_name="a", storage=storage)
    states = {t.number: t.state.name for t in after.trials}
    assert {states[number] for number in kept} == {"COMPLETE"}
    assert "RUNNING" not in states.values()
