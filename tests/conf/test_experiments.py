"""Every experiment of conf/ runs: two trials on a small suite."""

import json
import sys
from pathlib import Path

import pytest

from merit_opt.cli import conf_dir
from merit_opt.cli.main import run

EXPERIMENTS = sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml"))
SMALL = ("study.trials=2", "suite.clips=4", "suite.tr_per_clip=1", "suite.tp_per_clip=1")


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_runs_two_trials(experiment, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["merit-opt"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    code = run(["search", f"experiment={experiment}", "tracking=none", "device=cpu", *SMALL])
    assert code == 0
    (result,) = tmp_path.glob("outputs/studies/*/result.json")
    assert json.loads(result.read_text())["trials"] == {"complete": 2, "pruned": 0, "failed": 0}
