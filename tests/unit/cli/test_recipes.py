"""`recipe=` of evaluate and export: every form it takes, and what is refused."""

import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
from pyarrow import parquet

NAME = "tiny-clips-layerwise-flips-s0"


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Path:
    """The folder for a study of 9 trials; made by the first test that needs it."""
    return tmp_path_factory.mktemp("searched") / "outputs"


@pytest.fixture
def study(merit_opt, searched, tmp_path) -> dict:
    """The result of a study of 9 trials in ./outputs."""
    if not searched.exists():
        assert merit_opt("search @small study.trials=9").code == 0
        shutil.copytree(
            tmp_path / "outputs", searched, ignore=shutil.ignore_patterns("cache", "*.lock")
        )
    shutil.copytree(searched, tmp_path / "outputs", dirs_exist_ok=True)
    return json.loads((searched / "studies" / NAME / "result.json").read_text())


def evaluated(done) -> dict:
    (folder,) = re.findall(r"files: (\S+)/ \(result\.json", done.out)
    return json.loads((Path(folder) / "result.json").read_text())


def test_an_evaluation_has_paired_differences_with_intervals(merit_opt):
    done = merit_opt("evaluate recipe=uniform:0.5 suite.clips=10")
    assert (done.code, done.err) == (0, "")
    found = evaluated(done)
    assert found["schema"] == 1
    assert found["suite"]["name"] == "clips"
    assert found["suite"]["n"] == {"TR": 30, "TP": 20, "all": 50}
    assert found["unscored"] == {}
    for role in ("TR", "TP", "all"):
        difference = found["difference"][role]
        assert difference["n"] == found["suite"]["n"][role]
        assert difference["low"] <= difference["estimate"] <= difference["high"]
        assert 0.0 < difference["p"] <= 1.0
        gain = found["scores"][role] - found["base"][role]
        assert math.isclose(difference["estimate"], gain, abs_tol=1e-12)
        assert f"{difference['estimate']:+.3f}" in done.out


def test_the_base_differs_from_itself_by_nothing(merit_opt):
    found = evaluated(merit_opt("evaluate recipe=base suite.clips=4"))
    for role in ("TR", "TP"):
        zero = {k: found["difference"][role][k] for k in ("estimate", "low", "high", "p")}
        assert zero == {"estimate": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}
    assert found["scores"]["objective"] == 0.0


def test_a_study_s_name_is_its_best_recipe(merit_opt, study):
    found = evaluated(merit_opt(f"evaluate recipe=study:{NAME} suite.clips=4"))
    assert found["recipe"] == study["best"]["digest"]


def test_all_names_of_one_recipe_give_one_evaluation(merit_opt, study):
    number = study["best"]["number"]
    names = (
        f"study:{NAME}",
        f"study:{NAME}/{number}",
        f"outputs/studies/{NAME}/recipes/best.json",
    )
    found = [evaluated(merit_opt(f"evaluate recipe={n} suite.clips=4")) for n in names]
    assert all(one["searched_media"] for one in found)
    assert found[0] == found[1] == found[2]


def test_media_that_the_search_saw_are_told(merit_opt, study):
    done = merit_opt(f"evaluate recipe=study:{NAME} suite.clips=10")
    shared = evaluated(done)["searched_media"]
    assert {medium["how"] for medium in shared} == {"content"}
    questions = {i for medium in shared for i in medium["samples"]}
    told = " ".join(done.out.split())
    assert f"warning: the search saw {len(shared)} of these media" in told
    assert f"{len(questions)} of 50 questions are about them" in told
    unseen = merit_opt(f"evaluate recipe=study:{NAME} suite.clips=10 suite.seed=1")
    assert evaluated(unseen)["searched_media"] == []
    assert "warning" not in unseen.out


def test_every_sample_s_score_is_kept(merit_opt):
    done = merit_opt("evaluate recipe=uniform:0.5 suite.clips=4")
    (folder,) = re.findall(r"files: (\S+)/ \(result\.json", done.out)
    for name, side in (("samples", "scores"), ("base_samples", "base")):
        rows = parquet.read_table(Path(folder) / f"{name}.parquet").to_pylist()
        values = [row["value"] for row in rows if row["role"] == "TR"]
        assert len(rows) == 20
        assert sum(values) / len(values) == pytest.approx(evaluated(done)[side]["TR"])


def test_a_suite_of_one_role_is_measured_without_an_objective(merit_opt):
    found = evaluated(merit_opt("evaluate recipe=uniform:0.5 suite.clips=4 suite.tp_per_clip=0"))
    assert found["suite"]["n"] == {"TR": 12, "all": 12}
    assert found["scores"].keys() == {"TR", "all"}


def test_another_suite_seed_is_other_videos(merit_opt):
    one, other = (
        evaluated(merit_opt(f"evaluate recipe=uniform:0.5 suite.clips=4 suite.seed={seed}"))
        for seed in (0, 1)
    )
    assert one["suite"]["digest"] != other["suite"]["digest"]


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        (f"study:{NAME[:-1]}1", rf"there is no study .*; did you mean study:{NAME}\?"),
        (f"study:{NAME}/99", rf"study {NAME} has no measured trial 99"),
        ("unifrom:0.5", "recipe=unifrom:0.5 is no file and no known name; expected base, "),
        ("outputs/a_file", "outputs/a_file: a recipe is JSON"),
    ],
)
def test_a_recipe_that_is_not_there_is_told(merit_opt, study, loads, reference, sentence):
    Path("outputs/a_file").write_text("no recipe")
    done = merit_opt(f"export recipe={reference} out=x")
    assert done.code == 2
    assert re.match(f"merit-opt: .*{sentence}", done.err), done.err
    assert loads == []
    assert not Path("x").exists()


def test_a_recipe_of_another_pair_is_refused(merit_opt, study, loads):
    done = merit_opt(f"export recipe=study:{NAME} out=x pair=tiny_3_6")
    assert done.code == 2
    assert re.match(
        rf"merit-opt: study:{NAME} was found on pair \w{{12}}, but pair= gives \w{{12}}; give the",
        done.err,
    )
    assert loads == []


@pytest.mark.parametrize("verb", ["export", "evaluate", "attribute"])
def test_a_recipe_file_of_another_pair_is_refused_by_every_verb(merit_opt, study, loads, verb):
    best = Path(f"outputs/studies/{NAME}/recipes/best.json")
    line = {"export": "out=x"}.get(verb, "suite.clips=10")
    done = merit_opt(f"{verb} recipe={best} {line} pair=tiny_3_6")
    assert done.code == 2
    backbone = r"with backbone \S+ \(\w{12}\)"
    assert re.match(
        rf"merit-opt: recipe={best} was found on VLM vlm_planted_3_5 \(\w{{12}}\) {backbone}, but "
        rf"pair= gives VLM vlm_planted_3_6 \(\w{{12}}\) {backbone}; give the pair that it was found "
        rf'on, or take "pair" out of {best} to have it on this one all the same$',
        done.err.strip(),
    )
    assert loads == []
    assert not Path("x").exists()


def test_a_recipe_file_that_tells_no_pair_fits_every_pair_of_its_form(merit_opt, study):
    best = Path(f"outputs/studies/{NAME}/recipes/best.json")
    known = json.loads(best.read_text())
    assert known.pop("pair").keys() == {"vlm", "backbone"}
    Path("old.json").write_text(json.dumps(known))
    assert merit_opt("export recipe=old.json out=x pair=tiny_3_6").code == 0
    # What it was made into is told by the export.
    done = merit_opt("export recipe=x out=y")
    assert (done.code, "recipe=x was found on VLM vlm_planted_3_6" in done.err) == (2, True)
    assert "out of x/recipe.json" in done.err


def test_an_export_tells_the_pair_that_its_study_was_run_on(merit_opt, study):
    best = json.loads(Path(f"outputs/studies/{NAME}/recipes/best.json").read_text())
    assert merit_opt(f"export recipe=study:{NAME} out=x").code == 0
    assert merit_opt("export recipe=x out=d format=delta").code == 0
    for path in (Path("x/recipe.json"), Path("d/recipe.json")):
        assert json.loads(path.read_text())["pair"] == best["pair"]


def test_an_export_from_before_pairs_were_told_is_taken_as_it_is(merit_opt):
    assert merit_opt("export recipe=uniform:0.5 out=merged").code == 0
    path = Path("merged/recipe.json")
    now = path.read_text()
    path.write_text(json.dumps({k: v for k, v in json.loads(now).items() if k != "pair"}))
    assert merit_opt("export recipe=uniform:0.5 out=merged").code == 0
    assert path.read_text() == now


def test_a_recipe_of_another_depth_is_refused(merit_opt):
    from merit_opt.recipe.constructors import uniform
    from merit_opt.recipe.store import write_recipe

    write_recipe(Path("deep.json"), uniform(28, 0.5))
    done = merit_opt("export recipe=deep.json out=x")
    assert done.code == 2
    assert "recipe=deep.json: the recipe is for 28 layers, this pair has 9" in done.err


def test_evaluate_takes_and_refuses_the_same_recipes(merit_opt):
    done = merit_opt("evaluate recipe=unifrom:0.5 suite.clips=10")
    assert (done.code, "recipe=unifrom:0.5 is no file" in done.err) == (2, True)


def test_an_empty_storage_says_so(merit_opt):
    done = merit_opt("evaluate recipe=study:mine suite.clips=10")
    assert (done.code, "it holds no study yet" in done.err) == (2, True)


def test_an_export_loads_and_is_the_live_merge(merit_opt, study, tiny_pair_live):
    from transformers import AutoModelForImageTextToText

    from merit_opt.recipe.store import read_recipe

    done = merit_opt(f"export recipe=study:{NAME} out=merged")
    assert (done.code, done.err) == (0, "")
    assert "from_pretrained('merged')" in done.out
    recipe = read_recipe(Path("merged/recipe.json"))
    assert recipe.digest == study["best"]["digest"]
    exported = AutoModelForImageTextToText.from_pretrained("merged", dtype=torch.float32)
    theirs = dict(exported.state_dict())
    with tiny_pair_live.merged(recipe) as model:
        ours = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_folder_of_something_else_is_never_written_over(merit_opt):
    assert merit_opt("export recipe=uniform:0.5 out=merged").code == 0
    before = {p: p.stat().st_mtime_ns for p in Path("merged").iterdir()}
    assert merit_opt("export recipe=uniform:0.5 out=merged").code == 0
    done = merit_opt("export recipe=base out=merged")
    assert (done.code, "merged is not empty" in done.err) == (2, True)
    assert {p: p.stat().st_mtime_ns for p in Path("merged").iterdir()} == before


def test_a_recipe_that_is_no_file_takes_nothing_from_the_folder_it_is_named_in(
    merit_opt, study, monkeypatch
):
    monkeypatch.chdir(f"outputs/studies/{NAME}/recipes")
    assert (
        evaluated(merit_opt("evaluate recipe=uniform:0.5 suite.clips=4"))["searched_media"] == []
    )


def test_a_file_of_a_study_s_name_is_not_taken_for_the_study(merit_opt, study):
    Path(f"study:{NAME}").write_text("not a recipe")
    evaluated(merit_opt(f"evaluate recipe=study:{NAME} suite.clips=4"))


def test_damaged_searched_media_are_a_sentence(merit_opt, study):
    folder = Path(f"outputs/studies/{NAME}/recipes")
    (folder / "searched_media.json").write_text("[{")
    done = merit_opt(f"evaluate recipe={folder}/best.json suite.clips=4")
    assert done.code == 2
    assert "searched_media.json is damaged" in done.err
    assert "give the study itself" in done.err
