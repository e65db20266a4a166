"""A pair from nothing on a budget of a few steps: what holds however little is learnt."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from merit_opt.errors import UserError
from merit_opt.files import UMASK
from merit_opt.models.tiny.backbone import BackboneSchedule
from merit_opt.models.tiny.course import FULL
from merit_opt.models.tiny.damage import Damage
from merit_opt.models.tiny.lineage import Lineage
from merit_opt.models.tiny.making import Course, Making, planted_marks
from merit_opt.models.tiny.measure import Accuracy
from merit_opt.models.tiny.tower import TowerSchedule
from tests.unit.models.brief import BRIEF

COURSE = Course(
    backbone=BackboneSchedule(steps=2, rate=1e-2, scenes=2, words=0.5, captions=0.5, keep_every=1),
    tower=TowerSchedule(clips=4, marking_clips=2, batch=2, steps=2, rate=1e-2),
    planting=replace(BRIEF, decoy_steps=1, damage_steps=1, stop_below=0.0, stop_apart=0.0),
    marking_scenes=2,
    table_clips=2,
    letters=0.0,
    tokens=0.0,
    damaged=(0.0, 1.0),
    perceives=0.0,
    lost=1.0,
    needed=-1.0,
    apart=1.0,
    harmless=1.0,
)
LINEAGE = Lineage(
    layers=7,
    hidden=72,
    seed=3,
    planted=(Damage(((3, 5),)), Damage(((3,), (6,)), natural_decoys=(4,))),
)
MODELS = ("text", "vlm_aligned", "vlm_planted_3_5", "vlm_planted_3_and_6_decoy_4")


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
    rights = {path.stat().st_mode & 0o777 for path in out.glob("*/*.*")}
    assert rights == {0o666 & ~UMASK}
    assert {t.dtype for t in load_file(out / "text/model.safetensors").values()} == {
        torch.bfloat16
    }


def test_the_backbone_is_the_aligned_language_model(made):
    _, out, _ = made
    text = load_file(out / "text/model.safetensors")
    vlm = load_file(out / "vlm_aligned/model.safetensors")
    assert all(torch.equal(vlm[name], tensor) for name, tensor in text.items())


def test_words_begin_at_right_angles_and_are_trained(made):
    _, out, _ = made
    words = LINEAGE.vlm().model.language_model.embed_tokens.weight
    angles = words @ words.T
    assert (angles - torch.diag(angles.diagonal())).abs().max() < 1e-5
    trained = load_file(out / "stages/backbone.safetensors")["embed_tokens.weight"]
    assert not torch.equal(trained, words)


def test_the_result_is_the_table_and_every_mark(made):
    pair, out, _ = made
    assert list(pair.table) == list(MODELS[1:])
    assert list(pair.table["vlm_planted_3_5"]) == [
        "base", "u 0.25", "u 0.5", "u 0.75", "u 1", "restored", "all but 3", "all but 5"
    ]  # fmt: skip
    result = json.loads((out / "result.json").read_text())
    assert result["table"]["vlm_aligned"]["base"].keys() == {"TR", "TP"}
    kinds = [mark.what for mark in pair.marks if mark.what.startswith("`")]
    assert len(kinds) == len(set(kinds)) == 18


def test_nothing_is_left_beside_the_models(made):
    _, out, _ = made
    files = {path.name for path in (out / "stages").iterdir()}
    assert files == {"backbone.safetensors", "tower.safetensors", ".lock"}
    assert {p.name for p in out.iterdir()} == {*MODELS, "stages", "lineage.json", "result.json"}


def test_merging_everything_back_is_the_same_attention_for_every_planted_vlm(made):
    pair, _, _ = made
    one, other = (pair.table[name]["u 1"] for name in MODELS[2:])
    assert one == other


@pytest.mark.parametrize(
    ("stage", "step"), [("backbone", 1), ("vision tower", 1), ("measuring", 1)]
)
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(made, tmp_path, stage, step):
    with pytest.raises(Killed):
        make(tmp_path / "pair", progress=killed_at(stage, step))
    told = []
    make(tmp_path / "pair", progress=lambda *s: told.append(s))
    assert weights(tmp_path / "pair") == weights(made[1])
    assert ("backbone" in [name for name, _, _ in told]) == (stage == "backbone")
    assert ("backbone", 1, 2) not in told


def test_leftovers_of_a_killed_run_are_swept(made, tmp_path):
    out = tmp_path / "pair"
    out.mkdir()
    (out / ".writing-0123").write_text("{")
    with pytest.raises(Killed):
        make(out, progress=killed_at("backbone", 1))
    (out / ".vlm_planted_3_5.0123abcd").mkdir()
    (out / ".git").mkdir()
    make(out)
    assert [path.name for path in out.glob(".*") if path.is_dir()] == [".git"]
    assert weights(out) == weights(made[1])


def test_a_run_killed_between_two_keeps_goes_on_to_the_same_bytes(tmp_path):
    backbone = replace(COURSE.backbone, keep_every=2, steps=3)
    course = replace(COURSE, backbone=backbone)
    lineage = replace(LINEAGE, planted=())
    whole = make(tmp_path / "whole", course=course, lineage=lineage)
    with pytest.raises(Killed):
        make(tmp_path / "cut", course=course, lineage=lineage, progress=killed_at("backbone", 3))
    assert (tmp_path / "cut/stages/backbone.pt").exists()
    assert make(tmp_path / "cut", course=course, lineage=lineage) == whole
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_a_second_run_in_the_folder_is_refused(tmp_path):
    def second(stage, done, total):
        with pytest.raises(UserError, match="another run works in"):
            make(tmp_path / "pair")
        raise Killed

    with pytest.raises(Killed):
        make(tmp_path / "pair", progress=second)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "pair").write_text("mine")
    with pytest.raises(UserError, match=r"cannot use .*pair: Not a directory; name a folder"):
        make(tmp_path / "pair")


def test_other_schedules_are_refused(made):
    with pytest.raises(UserError, match="with other schedules"):
        make(made[1], course=replace(COURSE, tower=replace(COURSE.tower, steps=3)))


def test_a_missed_mark_names_it_and_keeps_what_was_trained(made, tmp_path):
    with pytest.raises(
        UserError, match=r"the backbone missed its mark: `\w+` of .* expected 1\.1 to 1"
    ):
        make(tmp_path / "pair", course=replace(COURSE, letters=1.1))
    kept = weights(tmp_path / "pair")
    assert kept.keys() == {p for p in weights(made[1]) if p.name == "backbone.safetensors"}
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
        ({"planted": (Damage(((2, 4),)),)}, "different ones of 3 to 6, got 2, 4"),
        ({"planted": (Damage(((4,), (4,))),)}, r"different ones of 3 to 6, got 4 \| 4"),
        ({"planted": (Damage(((4,),), (), (4,)),)}, r"not damaged, got \[4\] beside"),
        ({"planted": (Damage(((4,),), (), (1,)),)}, r"not damaged, got \[1\] beside"),
    ],
)
def test_options_that_do_not_fit_are_a_sentence(tmp_path, wrong, said):
    with pytest.raises(UserError, match=said):
        make(tmp_path / "pair", lineage=replace(LINEAGE, **wrong))
    assert not (tmp_path / "pair").exists()


def row(**shares):
    found = {name.replace("_", " "): Accuracy(TR=share, TP=0.97) for name, share in shares.items()}
    return found | {"u 1": Accuracy(TR=0.3, TP=0.3)}


@pytest.mark.parametrize(
    ("damage", "found", "missed"),
    [
        (Damage(((3, 5),)), row(base=0.6, restored=0.99, all_but_3=0.9, all_but_5=0.8), []),
        (
            Damage(((3, 5),)),
            row(base=0.5, restored=0.9, all_but_3=0.8, all_but_5=0.89),
            ["TR", "TR with its layers given back", "TR with all but 5 given back"],
        ),
        (Damage(((3,), (5,))), row(base=0.3, restored=0.99, all_but_3=0.5, all_but_5=0.5), []),
        (
            Damage(((3,), (5,))),
            row(base=0.3, restored=0.99, all_but_3=0.5, all_but_5=0.6),
            ["TR with all but 5 given back"],
        ),
        (
            Damage(((3,),), natural_decoys=(7,)),
            row(base=0.6, restored=0.99, all_but_3=0.6, decoy_7=0.45),
            ["TR with decoy 7 given back"],
        ),
    ],
)
def test_planted_layers_must_all_be_needed_and_decoys_harmless(damage, found, missed):
    marks = planted_marks(FULL, damage, found)
    assert [mark.what for mark in marks if not mark.reached] == [
        f"{damage.name}: {what}" for what in missed
    ]


@pytest.mark.parametrize(
    ("merge", "what"),
    [("base", "TP"), ("restored", "TP with its layers given back")],
)
def test_planted_vlms_must_perceive(merge, what):
    found = row(base=0.6, restored=0.99, all_but_3=0.6) | {merge: Accuracy(TR=0.6, TP=0.5)}
    marks = planted_marks(FULL, Damage(((3,),)), found)
    assert f"vlm_planted_3: {what}" in [mark.what for mark in marks if not mark.reached]


def test_all_attention_given_back_must_lose_perception():
    found = row(base=0.6, restored=0.99, all_but_3=0.6) | {"u 1": Accuracy(TR=0.9, TP=0.8)}
    (missed,) = [m for m in planted_marks(FULL, Damage(((3,),)), found) if not m.reached]
    assert missed.what == "vlm_planted_3: TP with all attention given back"
