"""Every experiment of conf/ runs on the embedded pair: two trials, or one recipe."""

import json
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from merit_opt.cli import conf_dir
from merit_opt.cli.main import run
from merit_opt.recipe.recipe import PARTS
from merit_opt.recipe.store import named_recipe
from tests.unit.models.small import RECIPE, TEXT, VLM, noisy

FILES = sorted((conf_dir() / "experiment").glob("*.yaml"))
RECIPES = {path.stem: recipe for path in FILES if (recipe := OmegaConf.load(path).get("recipe"))}
STUDIES = [path.stem for path in FILES if path.stem not in RECIPES]
SMALL = (
    "device=cpu",
    "suite=clips",
    "suite.clips=4",
    "suite.tr_per_clip=1",
    "suite.tp_per_clip=1",
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, quick_commands: None, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["merit-opt"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")


@pytest.mark.parametrize("experiment", STUDIES)
def test_an_experiment_runs_two_trials(experiment, tmp_path: Path):
    search = ["search", f"experiment={experiment}", "tracking=none", "study.trials=2"]
    assert run([*search, "pair=tiny", *SMALL]) == 0
    (result,) = tmp_path.glob("outputs/studies/*/result.json")
    trials = json.loads(result.read_text())["trials"]
    assert trials == {"complete": 2, "pruned": 0, "failed": 0, "cached": 0}


def pair_of(recipe: str, folder: Path) -> list[str]:
    """The embedded pair; with a base for rules of task vectors, a neighbour of its backbone."""
    if "ties" not in recipe:
        return ["pair=tiny"]
    base = noisy(TEXT, folder / "base", seed=1)
    return ["pair=custom", f"pair.vlm={VLM}", f"pair.backbone={TEXT}", f"pair.base={base}"]


@pytest.mark.parametrize(("experiment", "recipe"), RECIPES.items())
def test_an_experiment_measures_its_recipe(experiment, recipe, tmp_path: Path):
    pair = pair_of(recipe, tmp_path)
    assert run(["evaluate", f"experiment={experiment}", *pair, *SMALL]) == 0
    (result,) = tmp_path.glob("outputs/evaluations/*/result.json")
    asked = named_recipe(recipe, len(RECIPE.layers), parts=PARTS)
    assert json.loads(result.read_text())["recipe"] == asked.digest
