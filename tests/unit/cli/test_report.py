"""`merit-opt report`: a page of whatever a study left, or a sentence."""

import json
import shutil
from pathlib import Path

import pytest

from merit_opt.cli.retyped import command
from merit_opt.errors import TrialFailed
from merit_opt.reporting.style import Drawn
from tests.storages import opened
from tests.unit.search.conftest import LAYERS, World, unseen_suite

NAME = "s"
REPORT = Path("outputs/studies/s/report")
QUICK = "tracking=none distances=false"


@pytest.fixture
def left(merit_opt, tmp_path, monkeypatch):
    """A folder in which a study without a model can be run under the name `s`."""
    from merit_opt.data.split import split_by_group

    outputs = tmp_path / "outputs"
    world = World(
        outputs,
        split_by_group(unseen_suite(), search_share=0.4, seed=0),
        storage=opened("sqlite", str(outputs / "merit.db")),
    )
    draw_nothing(monkeypatch)
    return world


def draw_nothing(monkeypatch) -> None:
    """From now on a figure is drawn in no time, and is blank."""
    blank = Drawn({"png": b"PNG"}, {"light": ("png", b"PNG")})
    monkeypatch.setattr("merit_opt.reporting.report.drawn", lambda picture: blank)


def data() -> dict:
    return json.loads((REPORT / "data.json").read_text())


def said() -> str:
    return json.dumps(data()["sections"], ensure_ascii=False)


def figures() -> set[str]:
    return {path.stem for path in (REPORT / "figures").glob("*.png")}


def test_a_finished_study_has_a_page_with_figures_and_tables(left, merit_opt):
    left.run(30)
    done = merit_opt(f"report study=s {QUICK}")
    assert (done.code, done.err) == (0, "")
    assert f"report: {REPORT / 'report.html'}" in done.out
    assert {"recipes", "layers", "trials", "gains", "importances", "cost"} <= figures()
    assert "95 % interval" in said()
    assert "config.yaml" not in done.out


def test_the_layers_are_those_of_the_result(left, merit_opt):
    result = left.run(30)
    assert merit_opt(f"report study=s {QUICK}").code == 0
    (layers,) = (
        b["data"] for s in data()["sections"] for b in s["blocks"] if b.get("figure") == "layers"
    )
    own = layers["strips"][0]["coefficients"]
    assert {str(i): c for i, c in enumerate(own) if c is not None} == pytest.approx(
        result["best"]["layers"], rel=1e-4
    )
    assert layers["n_layers"] == LAYERS


def test_a_study_that_does_not_exist_is_a_sentence(left, merit_opt):
    left.run(14)
    done = merit_opt(f"report study=t {QUICK}")
    assert done.code == 2
    assert done.err == "merit-opt: there is no study 't' in this storage; did you mean s?\n"
    assert not REPORT.with_name("t").exists()


def test_another_study_that_does_not_exist_is_a_sentence(left, merit_opt):
    left.run(14)
    done = merit_opt(f"report study=s other=[t] {QUICK}")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "there is no study 't'" in done.err


@pytest.mark.parametrize("words", ["study=../s", "study=s samples=13", "study=s samples=-1"])
def test_what_cannot_be_is_a_sentence(merit_opt, words):
    done = merit_opt(f"report {words} {QUICK}")
    assert (done.code, done.err.count("\n")) == (2, 1)


def test_a_folder_without_a_storage_is_a_sentence_and_gets_none(merit_opt):
    done = merit_opt(f"report study=s {QUICK}")
    assert done.code == 2
    assert done.err == (
        "merit-opt: there is no study storage outputs/merit.db; give output_dir= or storage= of "
        "the search\n"
    )
    assert not Path("outputs/merit.db").exists()


def test_a_study_is_named(merit_opt):
    done = merit_opt("report")
    assert (done.code, done.err) == (2, "merit-opt: study= must be given\n")


def test_a_study_that_was_stopped_says_how_to_go_on(left, merit_opt):
    left.work(20)
    assert merit_opt(f"report study=s {QUICK}").code == 0
    assert "The study has not ended" in said()


def test_a_study_of_one_trial(left, merit_opt):
    left.work(1)
    assert merit_opt(f"report study=s {QUICK}").code == 0
    assert figures() == {"layers", "trials", "gains", "cost"}


def test_a_study_of_failures_alone(left, merit_opt):
    def fails(recipe, count):
        raise TrialFailed("out of memory")

    left.engine.before = fails
    with pytest.raises(Exception, match="out of memory"):
        left.work(3)
    done = merit_opt(f"report study=s {QUICK}")
    assert (done.code, figures()) == (0, set())
    assert "No trial that could win is complete" in said()
    assert "out of memory" in said()


def test_a_study_of_two_gains(left, merit_opt):
    from merit_opt.evaluation.objective import ParetoGain
    from merit_opt.search.samplers import nsgaii

    left.objective = ParetoGain("probability", "knee", 0.0)
    left.sampler = nsgaii(population_size=6)
    left.run(30)
    assert merit_opt(f"report study=s {QUICK}").code == 0
    assert {"gains", "recipes"} <= figures()


def test_a_result_of_another_study_of_that_name_is_not_shown(left, merit_opt):
    left.run(14)
    path = Path("outputs/studies/s/result.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"uid": "another"}))
    assert merit_opt(f"report study=s {QUICK}").code == 0
    assert "is of another study of that name" in said()
    assert "The study has not ended" in said()


def test_a_study_that_went_on_is_shown_with_the_winner_that_was_compared(left, merit_opt):
    left.run(16)
    path = Path("outputs/studies/s/result.json")
    kept = json.loads(path.read_text())
    path.write_text(json.dumps(kept | {"best": kept["best"] | {"number": 1, "digest": "x"}}))
    assert merit_opt(f"report study=s {QUICK}").code == 0
    assert "which is of trial 1; trial" in said()
    assert "Trial 1, recipe" in said()


def test_every_control_stands_beside_the_winner_question_by_question(left, merit_opt):
    result = left.run(20)
    assert merit_opt(f"report study=s {QUICK}").code == 0
    tables = {
        b["table"]: b["rows"] for s in data()["sections"] for b in s["blocks"] if "table" in b
    }
    names = {row["recipe"] for row in tables["roles"]}
    assert {control["name"] for control in result["confirm"]["controls"]} <= names
    assert {"winner", "random layers, mean of 5"} <= names
    means = {(row["recipe"], row["questions"]): row["merged"] for row in tables["roles"]}
    for control in result["confirm"]["controls"]:
        for role in ("TR", "TP"):
            assert means[control["name"], role] == pytest.approx(control[role], rel=1e-4)


def test_a_study_made_before_controls_kept_their_answers_opens_and_can_be_mended(left, merit_opt):
    left.run(20)
    kept = Path("outputs/studies/s/confirm_control_samples.parquet")
    kept.unlink()
    assert merit_opt(f"report study=s {QUICK}").code == 0
    assert "did not keep the answers of any control" in said()
    assert {"recipes", "recipes-gaps"} <= figures()

    kept.with_name("result.json").unlink()
    left.run(20)
    assert merit_opt(f"report study=s {QUICK}").code == 0
    assert "did not keep the answers" not in said()


@pytest.mark.parametrize(
    "name",
    [
        "result.json",
        "config.yaml",
        "confirm_samples.parquet",
        "confirm_control_samples.parquet",
    ],
)
def test_a_torn_file_is_told_and_the_rest_is_shown(left, merit_opt, name):
    left.run(14)
    Path("outputs/studies/s", name).write_bytes(b"{torn")
    assert merit_opt(f"report study=s {QUICK}").code == 0
    assert f"{name} cannot be read" in said()


def test_options_that_this_version_lacks_leave_the_page_without_commands(left, merit_opt):
    left.run(14)
    Path("outputs/studies/s/config.yaml").write_text("engine: {_target_: gone.Engine}\n")
    assert merit_opt(f"report study=s samples=0 {QUICK}").code == 0
    assert "its engine is gone.Engine, which no option of this version makes" in said()
    assert "config.yaml names what this version lacks" in said()


def test_a_folder_that_is_gone_leaves_the_search(left, merit_opt):
    left.run(30)
    shutil.rmtree("outputs/studies")
    assert merit_opt(f"report study=s {QUICK}").code == 0
    assert {"trials", "importances"} <= figures()
    assert "config.yaml is missing" in said()


def test_a_folder_that_cannot_be_written_is_a_sentence(left, merit_opt):
    left.run(14)
    REPORT.write_text("")
    done = merit_opt(f"report study=s {QUICK}")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "cannot write outputs/studies/s/report/" in done.err


def test_attribution_of_another_pair_is_refused_by_its_digest(left, merit_opt):
    result = left.run(14)
    folder = Path("outputs/studies/s/attribution", result["best"]["digest"])
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({"schema": 1, "pair": "other"}))
    assert merit_opt(f"report study=s {QUICK}").code == 0
    assert "it is of pair other, and the study's is p" in said()


def test_studies_stand_beside_one_another_each_once(left, merit_opt):
    left.run(14)
    done = merit_opt(f"report study=s other=[s] {QUICK}")
    assert done.code == 0
    assert "studies" not in {section["id"] for section in data()["sections"]}


def frames_of(report: Path) -> dict[str, list]:
    held = json.loads((report / "data.json").read_text())
    (section,) = (s for s in held["sections"] if s["id"] == "frames")
    return {b["figure"]: b["data"]["frames"] for b in section["blocks"] if "figure" in b}


def test_a_real_study_shows_the_frames_of_samples_that_changed(merit_opt, monkeypatch, tmp_path):
    small = "suite.clips=10 suite.tr_per_clip=4 suite.tp_per_clip=2 study.trials=16 study.name=a"
    assert merit_opt(f"search {small} tracking=none").code == 0
    report = Path("outputs/studies/a/report")
    assert merit_opt("report study=a tracking=none samples=2").code == 0
    shown = frames_of(report)
    assert 1 <= len(shown) <= 2
    for frames in shown.values():
        assert len(frames) == 16
        assert any(frame["evidence"] for frame in frames)
    held = json.loads((report / "data.json").read_text())
    panels = [
        b["data"]["panels"]
        for s in held["sections"]
        for b in s["blocks"]
        if b.get("figure") == "layers"
    ]
    assert any("distance" in panel["title"] for panel in panels[0])
    typed = next(b["code"] for b in held["sections"][-1]["blocks"] if "code" in b)
    assert typed == (
        "merit-opt search suite.clips=10 suite.tr_per_clip=4 tracking=none study.name=a study.trials=16"
    )

    draw_nothing(monkeypatch)
    Path("outputs/cache").unlink()  # a deleted cache: clips are rendered again
    assert merit_opt("report study=a tracking=none samples=1").code == 0
    assert len(frames_of(report)) == 1

    config = Path("outputs/studies/a/config.yaml")
    text = config.read_text()
    config.write_text(text.replace("seed: 0\n  tr_per", "seed: 1\n  tr_per"))
    assert merit_opt("report study=a tracking=none").code == 0
    assert frames_of(report) == {}
    assert "the suite has changed since it was measured" in (report / "report.html").read_text()

    monkeypatch.setenv("CANARY", "kanarie")
    config.write_text(text.replace("clips: 10", "clips: ${oc.env:CANARY}"))
    assert merit_opt("report study=a tracking=none").code == 0
    page = (report / "report.html").read_text()
    assert "has ${oc.env:CANARY} in suite.clips, which could put any variable" in page
    assert "kanarie" not in page

    config.write_text(text.replace("clips: 10", "clips: 0"))
    assert merit_opt("report study=a tracking=none").code == 0
    assert "the suite cannot be opened any more" in (report / "report.html").read_text()


def test_a_command_is_typed_again_from_what_was_composed():
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from merit_opt.cli import conf_dir
    from merit_opt.cli.schema import register

    register()
    words = [
        "pair=tiny_3_6",
        "space=merit",
        "sampler=cmaes",
        "suite.clips=7",
        "objective=pareto",
        "study.uniform=[0.5]",
        "seed=4",
        "study.name=a b",
    ]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        first = compose(
            "search", overrides=[w if " " not in w else 'study.name="a b"' for w in words]
        )
        plain = OmegaConf.to_container(first)
        plain.pop("worker")
        import shlex

        again = compose("search", overrides=shlex.split(command(plain)))
    assert OmegaConf.to_container(again) == OmegaConf.to_container(first)
    assert " pair=tiny_3_6" in command(plain)
