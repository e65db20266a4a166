"""`-m` with a launcher: processes side by side, what they say, and one that is killed."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from merit_opt.cli.main import run
from tests.faults.kept import wait_for
from tests.faults.nursery import alive_in, is_alive

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and looks into /proc")

APART = "tests.faults.test_launched:apart"
LOGS = "outputs/jobs/*_0_log.out"
SMALL = "suite.clips=6 suite.tr_per_clip=2 suite.tp_per_clip=2 tracking=none device=cpu"


def apart(line: str) -> None:
    """`merit-opt LINE`, its output and its errors in files of their own."""
    os.setsid()
    for number, name in enumerate(("out", "err"), start=1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.exit(run(line.split()))


def test_workers_of_one_study_share_it_and_one_that_errs_ends_alone(nursery, tmp_path):
    line = f"search -m study.name=a study.trials=6 worker=0,-1,1 hydra/launcher=joblib {SMALL}"
    workers = nursery.start(tmp_path, APART, line)
    code = nursery.code(workers)
    wait_for(lambda: not alive_in(workers))
    out, errors = (tmp_path / "out").read_text(), (tmp_path / "err").read_text()
    assert code == 2, errors
    assert errors.count("merit-opt: worker is 0 or more, got -1\n") == 1
    assert "Traceback" not in errors
    lines = out.splitlines()
    assert {"a, worker 0: starts", "a, worker 1: starts"} <= set(lines)
    told = [re.match(r"a, worker [01]: trial (\d+) .* of 6\)$", line) for line in lines]
    numbers = sorted(int(match[1]) for match in told if match)
    assert numbers[:6] == list(range(6))
    assert len(numbers) == len(set(numbers))
    assert [line for line in lines if "done; result:" in line] == [
        "a, worker 1: done; result: outputs/studies/a/result.json"
    ]
    assert out.count("a: on confirm") == 1
    assert "\x1b" not in out
    found = json.loads((tmp_path / "outputs/studies/a/result.json").read_text())
    assert found["study"] == "a"
    config = OmegaConf.load(tmp_path / "outputs/studies/a/config.yaml")
    assert "worker" not in config
    commands = out.partition("\nnext:\n")[2].splitlines()
    [again] = [line.partition("#")[0] for line in commands if "merit-opt search" in line]
    assert "worker" not in again


def test_jobs_apart_from_the_terminal_say_in_files_what_they_did(nursery, tmp_path):
    line = "check -m hydra/launcher=submitit_local suite.clips=6 device=cpu,gpu9"
    code = nursery.code(nursery.start(tmp_path, APART, line))
    out, errors = (tmp_path / "out").read_text(), (tmp_path / "err").read_text()
    assert code == 2, errors
    assert out.splitlines()[0] == (
        "output of the jobs: outputs/jobs/ (JOB_0_log.out, JOB_0_log.err); Ctrl-C ends them"
    )
    assert "\nmerit-opt: 1 problem(s):\n  device: " in f"\n{errors}"
    assert "Traceback" not in errors
    outputs = [path.read_text() for path in tmp_path.glob(LOGS)]
    assert sorted("all is well" in text for text in outputs) == [False, True]


def test_a_job_that_was_killed_is_told_with_its_last_words(nursery, tmp_path):
    line = f"search -m study.trials=200 hydra/launcher=submitit_local {SMALL}"
    running = nursery.start(tmp_path, APART, line)

    def has_begun() -> bool:
        assert is_alive(running)
        return any("trial 0" in path.read_text() for path in tmp_path.glob(LOGS))

    wait_for(has_begun)
    [controller] = {path.name.partition("_")[0] for path in tmp_path.glob(LOGS)}
    [job] = Path(f"/proc/{controller}/task/{controller}/children").read_text().split()
    os.kill(int(job), signal.SIGKILL)
    code, told = nursery.code(running), (tmp_path / "err").read_text()
    assert code == 1
    assert "merit-opt: a job ended without an answer; what it measured is kept; its last" in told
    assert "has not produced any output" in told
    assert "Traceback" not in told
