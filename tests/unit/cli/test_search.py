"""`merit-opt search` as a person types it: studies, sweeps, what is said and what comes next."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from merit_opt.evaluation.engine import Engine

NAME = "tiny-clips-layerwise-flips-s0"
ANSI = re.compile(r"\x1b|\r|[█━]{3}.*ETA")


@pytest.fixture
def forwards(monkeypatch) -> list[str]:
    """Digests of the recipes that the engine was asked for meanwhile."""
    seen: list[str] = []
    evaluate = Engine.evaluate

    def spy(engine, recipe, suite):
        seen.append(recipe.digest)
        return evaluate(engine, recipe, suite)

    monkeypatch.setattr(Engine, "evaluate", spy)
    return seen


def result(name: str = NAME) -> dict:
    return json.loads((Path("outputs/studies") / name / "result.json").read_text())


def next_commands(out: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in out.partition("\nnext:\n")[2].splitlines())
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> dict:
    """A finished `search @small`: what it said, and its folder before and after."""
    return {"folder": tmp_path_factory.mktemp("kept") / "typed"}


@pytest.fixture
def searched(merit_opt, kept, tmp_path, monkeypatch):
    """What `search @small` said, with its folder as the working one."""
    if "done" not in kept:
        before = {path.name for path in tmp_path.iterdir()}
        kept["done"] = merit_opt("search @small")
        kept["new"] = {path.name for path in tmp_path.iterdir()} - before
        shutil.copytree(tmp_path, kept["folder"], ignore=shutil.ignore_patterns("cache"))
    monkeypatch.chdir(kept["folder"])
    return kept["done"]


def test_a_study_s_name_and_files_are_told_where_they_are(searched):
    assert (searched.code, searched.err) == (0, "")
    assert searched.out.startswith(f"study {NAME}\n")
    assert f"files: outputs/studies/{NAME}/ (result.json, recipes/best.json)" in searched.out
    folder = Path("outputs/studies") / NAME
    assert {p.name for p in folder.iterdir()} >= {"config.yaml", "result.json", "recipes"}
    assert result()["trials"]["complete"] == 3


def test_the_table_is_the_result(searched):
    found = result()
    for row in (found["confirm"]["best"], *found["confirm"]["controls"]):
        numbers = f"{row['TR']:.3f} │ {row['TP']:.3f} │"
        assert numbers in re.sub(" +", " ", searched.out)
    assert f"best (trial {found['best']['number']})" in searched.out


def test_nothing_is_drawn_where_there_is_no_terminal(searched):
    assert not ANSI.search(searched.out)


def test_nothing_is_written_outside_output_dir(searched, kept):
    assert kept["new"] == set()


def test_the_configuration_kept_with_a_study_is_the_one_composed(searched):
    cfg = OmegaConf.load(Path("outputs/studies") / NAME / "config.yaml")
    assert (cfg.study.trials, cfg.suite.clips, cfg.seed) == (3, 10, 0)
    assert cfg.storage.url == "sqlite:///outputs/merit.db"


def test_mlflow_is_named_only_where_it_was_used(searched):
    assert "mlflow" not in searched.out


def test_what_comes_next_can_be_typed(merit_opt, tmp_path):
    done = merit_opt("search @small space.low=0.3 study.uniform=[0.25]")
    commands = next_commands(done.out)
    assert [shlex.split(c)[:2] for c in commands] == [
        ["merit-opt", "evaluate"],
        ["merit-opt", "attribute"],
        ["merit-opt", "report"],
        ["merit-opt", "export"],
        ["merit-opt", "search"],
    ]
    codes = {c: merit_opt(c.removeprefix("merit-opt ")).code for c in commands}
    assert set(codes.values()) == {0}, codes
    assert result()["trials"]["complete"] == 6
    assert len(list(tmp_path.glob("merged-*/config.json"))) == 1


def test_a_study_at_its_count_prints_its_table_and_measures_nothing(merit_opt, forwards, loads):
    first = merit_opt("search @small")
    measured, loaded = len(forwards), len(loads)
    again = merit_opt("search @small")
    assert (again.code, again.out) == (0, first.out)
    assert (len(forwards), len(loads)) == (measured, loaded)


def test_the_same_command_again_finds_everything_in_the_cache(merit_opt, monkeypatch):
    merit_opt("search @small")
    first = result()
    (Path("outputs") / "merit.db").rename("elsewhere.db")

    def forward(*_: object) -> None:
        raise AssertionError("nothing should be measured")

    monkeypatch.setattr("merit_opt.evaluation.engine.read_answers", forward)
    assert merit_opt("search @small").code == 0
    again = result()
    assert again["trials"] == first["trials"] | {"cached": 3}
    assert set(again["cost"].values()) == {0}
    ours = {"seconds": 0, "trials": 0, "cost": 0}
    assert again | ours == first | ours


def test_a_sweep_is_a_study_each_on_one_loaded_pair(merit_opt, loads, tmp_path):
    done = merit_opt("search -m seed=0,1 sampler=tpe,random @small")
    assert (done.code, done.err) == (0, "")
    names = [f"tiny-clips-layerwise-{s}-s{n}" for n in (0, 1) for s in ("tpe", "random")]
    assert re.findall(r"^study (\S+)$", done.out, re.MULTILINE) == names
    assert sorted(p.name for p in Path("outputs/studies").iterdir()) == sorted(names)
    assert [result(n)["trials"]["complete"] for n in names] == [3] * 4
    assert loads == ["cpu"]
    assert {p.name for p in tmp_path.iterdir()} == {"outputs"}


def test_other_settings_under_one_name_are_refused_with_the_difference(merit_opt):
    assert merit_opt("search @small study.name=mine").code == 0
    before = Path("outputs/studies/mine/result.json").read_bytes()
    changes = {
        "space.low=0.2": r"space: the study has .*low=0\.1.*, this run has .*low=0\.2",
        "suite.seed=1": r"search samples: ",
        "objective.penalty=3": r"objective: .*penalty=2\.0.*penalty=3\.0",
        "pair=tiny_3_6": r"pair: ",
    }
    for change, part in changes.items():
        done = merit_opt(f"search @small study.name=mine {change}")
        assert done.code == 2
        assert "study mine was started with other settings" in done.err
        assert re.search(rf"^  {part}", done.err, re.MULTILINE), done.err
        assert "another study.name= to start anew, or study.fork=NEW" in done.err
    assert Path("outputs/studies/mine/result.json").read_bytes() == before


def test_what_does_not_shape_a_number_may_change(merit_opt):
    assert merit_opt("search @small study.name=mine").code == 0
    assert merit_opt("search @small study.name=mine study.trials=5 device=cpu").code == 0
    assert result("mine")["trials"]["complete"] == 5


def test_ctrl_c_says_how_to_go_on(merit_opt, monkeypatch):
    evaluate = Engine.evaluate
    calls: list[int] = []

    def interrupted(engine, recipe, suite):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(engine, recipe, suite)

    monkeypatch.setattr(Engine, "evaluate", interrupted)
    done = merit_opt("search @small")
    assert (done.code, done.err) == (130, "")
    told = " ".join(done.out.split())
    assert "nothing measured is lost. To go on, give the same command again" in told
    assert f"(study {NAME} in outputs)" in told
    assert merit_opt("search @small").code == 0
    assert result()["trials"] | {"cached": 0} == {
        "complete": 3,
        "pruned": 0,
        "failed": 1,
        "cached": 0,
    }


def test_stopped_proposals_are_counted(merit_opt):
    given = "study.trials=12 sampler=random study.random_layers=0 study.least_share=0"
    done = merit_opt(f"search @small {given}")
    stopped = result("tiny-clips-layerwise-random-s0")["trials"]["pruned"]
    assert stopped > 0
    assert f"{stopped} proposals were stopped early, so that only the winner is sure" in done.out
    assert "stopped early" not in merit_opt("search @small").out
