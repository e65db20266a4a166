"""Ctrl-C while several workers of a study run: all stop, none begins, and the study goes on."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import optuna

RUN = "import sys; from merit_opt.cli.main import run; sys.exit(run(sys.argv[1:]))"
SMALL = "suite.clips=6 suite.tr_per_clip=2 suite.tp_per_clip=2 tracking=none device=cpu"
STUDY = "search -m study.name=a hydra/launcher=joblib"


def started(folder: Path, line: str) -> subprocess.Popen[str]:
    """`merit-opt LINE` as a shell starts it: the foreground process group of its terminal."""
    words = [sys.executable, "-c", RUN, *line.split(), *SMALL.split()]
    return subprocess.Popen(
        words,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_ctrl_c_stops_every_worker_and_the_same_command_goes_on(tmp_path):
    waiting = "worker=range(0,3) hydra.launcher.n_jobs=2"
    workers = started(tmp_path, f"{STUDY} study.trials=200 {waiting}")
    said: list[str] = []
    with workers:
        for line in workers.stdout:
            said.append(line)
            if ": trial 3 " in line:
                os.killpg(workers.pid, signal.SIGINT)
    assert workers.returncode == 130
    told = "".join(said)
    assert "Traceback" not in told
    begun = re.findall(r"a, worker (\d): starts", told)
    stopped = re.findall(r"a, worker (\d): stopped; nothing measured is lost", told)
    assert set(begun) == set(stopped) <= {"0", "1"}
    assert stopped
    storage = f"sqlite:///{tmp_path}/outputs/merit.db"
    before = optuna.load_study(study_name="a", storage=storage)
    kept = [t.number for t in before.trials if t.state == optuna.trial.TrialState.COMPLETE]
    assert len(kept) == len(re.findall(r": trial \d+ (?:\S+ )?TR", told)) > 0
    again = started(tmp_path, f"{STUDY} study.trials={len(kept) + 1} worker=0")
    told, _ = again.communicate()
    assert (again.returncode, "a: on confirm" in told) == (0, True)
    after = optuna.load_study(study_name="a", storage=storage)
    states = {t.number: t.state.name for t in after.trials}
    assert {states[number] for number in kept} == {"COMPLETE"}
    assert "RUNNING" not in states.values()
