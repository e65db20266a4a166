"""`merit-opt attribute`: every method, what is refused, and going on after a Ctrl-C."""

import json
import re
import shutil
from pathlib import Path

import pytest
from pyarrow import parquet

from merit_opt.attribution.frames import explain
from merit_opt.cli import attribute as attribute_command
from merit_opt.evaluation.engine import Engine
from merit_opt.recipe.constructors import attention, uniform
from merit_opt.recipe.store import write_recipe

STUDY = "tiny-clips-layerwise-flips-s0"
SOME = "suite.clips=10 suite.tr_per_clip=2 suite.tp_per_clip=2 tracking=none recipe=r.json"
METHODS = {
    "scan": "method.coefficients=[1.0] method.layers=[3,5]",
    "mask": "method.layers=[3,4] method.parts=[attention] method.variants=[zero,revert]",
    "gradient": "method.parts=[attention,mlp]",
    "leave_out": "method.add_at=null",
    "frames": "method.samples=4 method.steps=4 method.most_steps=4 method.curves=2 method.redrawn=2",
}


@pytest.fixture
def recipe():
    write_recipe(Path("r.json"), attention(9, {3: 1.0, 5: 1.0}))


@pytest.fixture
def evaluations(monkeypatch):
    """What the engine was asked for meanwhile, and whether it had to measure it."""
    seen: list[bool] = []
    evaluate = Engine.evaluate

    def spy(engine, recipe, suite, masking=None):
        found = evaluate(engine, recipe, suite, masking)
        seen.append(found.cost is not None)
        return found

    monkeypatch.setattr(Engine, "evaluate", spy)
    return seen


def folder_of(done) -> Path:
    (folder,) = re.findall(r"files: (\S+)/ \(result\.json", done.out)
    return Path(folder)


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def test_every_method_leaves_its_table_and_its_entry(merit_opt, recipe):
    tried: set[str] = set()
    for name, settings in METHODS.items():
        done = merit_opt(f"attribute {SOME} method={name} {settings}")
        assert (done.code, done.err) == (0, ""), name
        rows = parquet.read_table(folder_of(done) / f"{name}.parquet").to_pylist()
        assert rows
        if name != "frames":
            assert {row["method"] for row in rows} == {name}
        tried.add(name)
        untried = re.findall(rf"next:\n  merit-opt attribute {SOME} method=(\w+)\n", done.out)
        assert len(untried) == (tried != METHODS.keys())
        assert not tried & set(untried)
    folder = folder_of(done)
    assert folder.parts[:2] == ("outputs", "attributions")
    found = result(folder)
    assert found["methods"].keys() == METHODS.keys()
    sets = parquet.read_table(folder / "mask_sets.parquet").to_pylist()
    assert {row["set"] for row in sets} == {"selected", "random", "unselected"}
    for name, entry in found["methods"].items():
        own = entry["provenance"]
        assert (own["suite"], own["split"]) == ("clips", "confirm")
        assert own["samples"] != own["search_samples"]
        assert own["recipe"] == found["recipe"]["digest"]
        assert entry["n"].keys() == {"TR", "TP"}
        assert set(entry["files"]) <= {path.name for path in folder.iterdir()}, name


def test_a_split_is_other_samples(merit_opt, recipe):
    digests = {}
    for split in ("confirm", "search", "all"):
        done = merit_opt(f"attribute {SOME} method=gradient method.models=[base] split={split}")
        entry = result(folder_of(done))["methods"]["gradient"]
        digests[split] = entry["provenance"]["samples"]
        search = entry["provenance"]["search_samples"]
        n = {"confirm": 24, "search": 16, "all": 40}[split]
        assert sum(entry["n"].values()) == n
    assert digests["search"] == search
    assert len(set(digests.values())) == 3


def test_a_ctrl_c_keeps_what_was_measured(merit_opt, recipe, evaluations, monkeypatch):
    line = f"attribute {SOME} method=scan method.coefficients=[0.7] suite.seed=5"
    measure = Engine.evaluate

    def interrupted(engine, asked, suite, masking=None):
        if len(evaluations) == 4:
            raise KeyboardInterrupt
        return measure(engine, asked, suite, masking)

    with monkeypatch.context() as patched:
        patched.setattr(Engine, "evaluate", interrupted)
        stopped = merit_opt(line)
    assert stopped.code == 130
    assert "what was measured is kept. To go on, give the same command again" in stopped.out
    assert not list(Path("outputs").glob("attributions/*/*.parquet"))
    assert evaluations == [True] * 4
    evaluations.clear()
    assert merit_opt(line).code == 0
    assert evaluations == [False] * 4 + [True] * 6
    evaluations.clear()
    assert merit_opt(line).code == 0
    assert evaluations == [False] * 10


def test_a_study_s_recipe_is_explained_in_its_folder_and_in_its_run(merit_opt, evaluations):
    small = "suite.clips=10 suite.tr_per_clip=2 suite.tp_per_clip=2"
    assert merit_opt(f"search {small} study.trials=9").code == 0
    for name in (f"study:{STUDY}", f"study:{STUDY}/5"):
        done = merit_opt(f"attribute recipe={name} method=gradient {small}")
        assert (done.code, done.err) == (0, "")
        assert "warning" not in done.out
        assert f"  merit-opt report study={STUDY}\n" in done.out
        folder = folder_of(done)
        assert folder.parts[:4] == ("outputs", "studies", STUDY, "attribution")
        digest = result(folder)["recipe"]["digest"]
        assert folder.name == digest
        (kept,) = Path("outputs/mlartifacts").rglob(f"attribution/{digest}/gradient.parquet")
        assert kept.read_bytes() == (folder / "gradient.parquet").read_bytes()
        # Beside the study's own files.
        assert (kept.parents[2] / "result.json").exists()
    seen = merit_opt(f"attribute recipe={name} method=gradient {small} split=search")
    assert "warning: the search saw" in " ".join(seen.out.split())
    assert result(folder)["methods"]["gradient"]["warnings"]
    # Without MLflow the files are there all the same.
    shutil.rmtree(folder)
    Path("outputs/mlflow.db").unlink()
    assert merit_opt(f"attribute recipe={name} method=gradient {small}").code == 0
    assert (folder / "gradient.parquet").exists()
    assert not Path("outputs/mlflow.db").exists()


def test_frames_of_few_samples_are_told_and_kept_beside_the_study(merit_opt):
    small = "suite.clips=10 suite.tr_per_clip=2 suite.tp_per_clip=2"
    few = "method=frames method.samples=4 method.steps=4 method.most_steps=4 method.curves=0 method.redrawn=0"
    assert merit_opt(f"search {small} study.trials=9").code == 0
    done = merit_opt(f"attribute recipe=study:{STUDY} {small} {few}")
    assert (done.code, done.err) == (0, "")
    assert "which frames the chosen answer rests on (2 TR, 2 TP questions)" in " ".join(
        done.out.split()
    )
    assert "rank correlation" in done.out
    folder = folder_of(done)
    entry = result(folder)["methods"]["frames"]
    assert entry["n"] == {"TR": 2, "TP": 2}
    assert entry["files"] == ["frames.parquet", "frame_samples.parquet"]
    (kept,) = Path("outputs/mlartifacts").rglob("attribution/*/frames.parquet")
    assert kept.read_bytes() == (folder / "frames.parquet").read_bytes()


def test_a_ctrl_c_in_frames_keeps_what_was_explained(merit_opt, recipe, monkeypatch):
    few = "method.samples=4 method.steps=4 method.most_steps=4 method.redrawn=0"
    line = f"attribute {SOME} method=frames {few} suite.seed=6"
    records, seen = explain._records, []

    def counting(asked, ways, subject):
        seen.append((subject.name, *asked.samples))
        return records(asked, ways, subject)

    def interrupted(asked, ways, subject):
        if len(seen) == 2:
            raise KeyboardInterrupt
        return counting(asked, ways, subject)

    monkeypatch.setattr(explain, "_records", interrupted)
    stopped = merit_opt(line)
    assert stopped.code == 130
    assert "what was measured is kept" in stopped.out
    monkeypatch.setattr(explain, "_records", counting)
    assert merit_opt(line).code == 0
    assert len(seen) == len(set(seen)) > 2
    assert len({i for _, *own in seen for i in own}) == 4


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            "recipe=base method=mask",
            "the recipe merges no layer, so there is no merged model to mask",
        ),
        ("recipe=base method=leave_out", "the recipe merges no layer, so none can be left out"),
        ("recipe=r.json method=mask method.models=[base]", "leaves the merged model out"),
        (
            "recipe=r.json method=mask method.variants=[revert] method.parts=[mlp]",
            "the recipe merges mlp of no layer, so nothing can be reverted",
        ),
        ("recipe=r.json method=mask method.random_sets=5", "0 or at least 20, got 5"),
        ("recipe=r.json method.layers=[9]", "method.layers are of 0 to 8, at least one"),
        ("recipe=r.json method.coefficients=[2]", "lie above 0 and at most at 1, got [2.0]"),
        ("recipe=r.json split=confrim", "split is one of confirm, search, all; got 'confrim'"),
        ("recipe=r.json method=mask method.variants=[zer]", "expected one of inverse_width, zero"),
        ("recipe=r.json method=masks", "mask"),
        ("recipe=base method=frames", "merges no layer, so there is no merged model to explain"),
        ("recipe=r.json method=frames method.samples=0", "method.samples is 1 or more, got 0"),
        ("recipe=r.json method=frames method.methods=[rollout]", "one of occlusion_mean,"),
        ("recipe=deep.json", "the recipe is for 28 layers, this pair has 9"),
        ("recipe=study:none", "there is no study 'none' in this storage"),
        ("method=scan", "recipe= must be given"),
        ("recipe=r.json suite.tp_per_clip=0", "has no TP questions"),
        ("recipe=r.json seed=-1", "seed must lie in 0 to"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_before_weights_load(
    merit_opt, recipe, loads, settings, sentence
):
    write_recipe(Path("deep.json"), uniform(28, 0.5))
    done = merit_opt(f"attribute suite.clips=10 tracking=none {settings}")
    assert done.code == 2
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert loads == []


def test_a_sweep_over_methods_is_one_command(merit_opt, recipe, loads):
    done = merit_opt(f"attribute -m {SOME} method=gradient,leave_out")
    assert (done.code, done.err) == (0, "")
    (folder,) = Path("outputs/attributions").iterdir()
    assert result(folder)["methods"].keys() == {"gradient", "leave_out"}
    assert len(loads) <= 1


def test_a_sweep_s_hint_names_the_study_as_it_was_typed(monkeypatch):
    swept = r" 'recipe=study\:a b' 'suite.names=[x,y]'"
    monkeypatch.setattr(attribute_command, "given", lambda *groups: swept)
    assert attribute_command.again() == " 'recipe=study:a b' 'suite.names=[x,y]'"
    swept = r" 'recipe=study\:a/5'"
    assert attribute_command.again() == " recipe=study:a/5"


def test_it_says_how_far_it_is_where_there_is_no_terminal(merit_opt, recipe, monkeypatch):
    monkeypatch.setattr("merit_opt.cli.attribute.SELDOM", 0.0)
    done = merit_opt(f"attribute {SOME} method=leave_out method.add_at=null")
    assert "leave_out: 3 models to measure, 24 questions each; what is known" in done.out
    assert re.search(r"leaving layers out \(1 of 2; about \d+ s left\)\n", done.out)
