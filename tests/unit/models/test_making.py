"""A pair from nothing on a budget of a few steps: what holds however little is learnt."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from merit_opt.errors import UserError
from merit_opt.models.tiny.backbone import Chapter
from merit_opt.models.tiny.lineage import Lineage
from merit_opt.models.tiny.making import Course, Making
from merit_opt.models.tiny.stages import Schedule
from merit_opt.models.tiny.tower import TowerSchedule

CHAPTER = Chapter(
    steps=2, rate=1e-2, scenes=2, short=0.5, words=0.5, easier=0.5, bindings=1, captions=0.5
)
COURSE = Course(
    chapters=(CHAPTER, replace(CHAPTER, short=0.0)),
    tower=TowerSchedule(clips=4, marking_clips=2, batch=2, steps=2, rate=1e-2),
    planting=Schedule(
        training_clips=4,
        measuring_clips=4,
        batch=2,
        distil_steps=1,
        distil_rate=1e-2,
        drift_steps=1,
        drift_rate=1e-2,
        decoy_steps=1,
        decoy_rate=1e-2,
        damage_steps=1,
        damage_rate=1e-2,
        check_every=1,
        stop_below=0.0,
    ),
    marking_scenes=2,
    table_clips=2,
    letters=0.0,
    tokens=0.0,
    damaged=(0.0, 1.0),
)
LINEAGE = Lineage(layers=7, hidden=72, seed=3, planted=((3, 5),))
MODELS = ("text", "vlm_aligned", "vlm_planted_3_5")


class Killed(BaseException):
    """Not to be caught."""


def make(out, *, lineage=LINEAGE, course=COURSE, progress=None):
    return Making(lineage, course, out, progress).make()


def killed_at(stage, step):
    def tell(name, done, total):
        if (name, done) == (stage, step):
            raise Killed

    return tell


def weights(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.safetensors")}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A pair, its folder and the progress it told."""
    out, told = tmp_path_factory.mktemp("made") / "pair", []
    return make(out, progress=lambda *step: told.append(step)), out, told


def test_a_pair_is_what_the_stock_classes_load(made):
    _, out, _ = made
    backbone = AutoModelForCausalLM.from_pretrained(out / "text")
    assert type(backbone).__name__ == "Qwen2ForCausalLM"
    for name in MODELS[1:]:
        assert type(AutoProcessor.from_pretrained(out / name)).__name__ == "Qwen2VLProcessor"
        vlm = AutoModelForImageTextToText.from_pretrained(out / name)
        assert type(vlm).__name__ == "Qwen2VLForConditionalGeneration"
        assert len(vlm.model.language_model.layers) == len(backbone.model.layers) == 7
    assert {t.dtype for t in load_file(out / "text/model.safetensors").values()} == {
        torch.bfloat16
    }


def test_the_backbone_is_the_aligned_language_model(made):
    _, out, _ = made
    text = load_file(out / "text/model.safetensors")
    vlm = load_file(out / "vlm_aligned/model.safetensors")
    assert all(torch.equal(vlm[name], tensor) for name, tensor in text.items())


def test_words_stay_at_right_angles_and_are_never_trained(made):
    _, out, _ = made
    words = LINEAGE.vlm().model.language_model.embed_tokens.weight
    angles = words @ words.T
    assert (angles - torch.diag(angles.diagonal())).abs().max() < 1e-5
    for path in sorted((out / "stages").glob("backbone-*")):
        assert torch.equal(load_file(path)["embed_tokens.weight"], words)


def test_the_result_is_the_table_and_every_mark(made):
    pair, out, _ = made
    assert list(pair.table) == list(MODELS[1:])
    assert list(pair.table["vlm_planted_3_5"]) == [
        "base", "u 0.25", "u 0.5", "u 0.75", "u 1", "restored"
    ]  # fmt: skip
    result = json.loads((out / "result.json").read_text())
    assert result["table"]["vlm_aligned"]["base"].keys() == {"TR", "TP"}
    kinds = [mark.what for mark in pair.marks if mark.what.startswith("`")]
    assert len(kinds) == len(set(kinds)) == 18


def test_merging_everything_back_is_the_same_backbone_for_every_planted_vlm(made):
    pair, out, _ = made
    assert not [p for p in out.iterdir() if p.name.startswith(".")]
    assert {p.name for p in out.iterdir()} == {*MODELS, "stages", "lineage.json", "result.json"}
    assert pair.table["vlm_planted_3_5"].keys() > pair.table["vlm_aligned"].keys()


@pytest.mark.parametrize(
    ("stage", "step"), [("backbone, chapter 2 of 2", 1), ("vision tower", 2), ("measuring", 1)]
)
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(made, tmp_path, stage, step):
    with pytest.raises(Killed):
        make(tmp_path / "pair", progress=killed_at(stage, step))
    told = []
    make(tmp_path / "pair", progress=lambda *s: told.append(s[0]))
    assert weights(tmp_path / "pair") == weights(made[1])
    assert "backbone, chapter 1 of 2" not in told


def test_a_missed_mark_names_it_and_keeps_what_was_trained(made, tmp_path):
    with pytest.raises(
        UserError, match=r"the backbone missed its mark: `\w+` of .* expected 1\.1 to 1"
    ):
        make(tmp_path / "pair", course=replace(COURSE, letters=1.1))
    kept = weights(tmp_path / "pair")
    assert kept.keys() == {p for p in weights(made[1]) if p.name.startswith("backbone-")}
    assert all(weights(made[1])[name] == content for name, content in kept.items())


def test_a_folder_of_another_lineage_is_refused(made):
    with pytest.raises(UserError, match="holds another lineage"):
        make(made[1], lineage=replace(LINEAGE, seed=4))


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files; name an empty folder"):
        make(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"layers": 5}, "--layers must be 7 or more, got 5"),
        ({"hidden": 64}, "--hidden must be a multiple of 8 and 72 or more, got 64"),
        ({"hidden": 100}, "--hidden must be a multiple of 8 and 72 or more, got 100"),
        ({"seed": -1}, "--seed must be 0 or more, got -1"),
        ({"planted": ((2, 4),)}, "different layers of 3 to 6, got '2,4'"),
        ({"planted": ((4, 4),)}, "different layers of 3 to 6, got '4,4'"),
    ],
)
def test_options_that_do_not_fit_are_a_sentence(tmp_path, wrong, said):
    with pytest.raises(UserError, match=said):
        make(tmp_path / "pair", lineage=replace(LINEAGE, **wrong))
    assert not (tmp_path / "pair").exists()
