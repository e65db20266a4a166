"""Every experiment of conf/ runs on the embedded pair: two trials, or one recipe."""

import json
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from merit_opt.cli import conf_dir
from merit_opt.cli.main import run

FILES = sorted((conf_dir() / "experiment").glob("*.yaml"))
RECIPES = {path.stem: recipe for path in FILES if (recipe := OmegaConf.load(path).get("recipe"))}
STUDIES = [path.stem for path in FILES if path.stem not in RECIPES]
# The embedded pair has no common ancestor that the rules on task vectors need.
EVALUATIONS = [name for name, recipe in RECIPES.items() if "ties" not in recipe]
SMALL = ("pair=tiny", "device=cpu", "suite.clips=4", "suite.tr_per_clip=1", "suite.tp_per_clip=1")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["merit-opt"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")


@pytest.mark.parametrize("experiment", STUDIES)
def test_an_experiment_runs_two_trials(experiment, tmp_path: Path):
    search = ["search", f"experiment={experiment}", "tracking=none", "study.trials=2", *SMALL]
    assert run(search) == 0
    (result,) = tmp_path.glob("outputs/studies/*/result.json")
    assert json.loads(result.read_text())["trials"] == {"complete": 2, "pruned": 0, "failed": 0}


@pytest.mark.parametrize("experiment", EVALUATIONS)
def test_an_experiment_measures_its_recipe(experiment, tmp_path: Path):
    assert run(["evaluate", f"experiment={experiment}", *SMALL]) == 0
    (result,) = tmp_path.glob("outputs/evaluations/*/result.json")
    assert json.loads(result.read_text())["schema"] == 1
