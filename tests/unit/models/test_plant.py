import json
import random
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from merit_opt.data.clips.questions import KINDS
from merit_opt.data.clips.scene import clip_events
from merit_opt.errors import UserError
from merit_opt.models.tiny import plant as plant_module
from merit_opt.models.tiny import tiny_folder
from merit_opt.models.tiny.classroom import see_clips
from merit_opt.models.tiny.damage import Damage
from merit_opt.models.tiny.lessons import Writer
from merit_opt.models.tiny.measure import accuracy, restored
from merit_opt.models.tiny.packing import pack, target_logits, video_prefix
from merit_opt.models.tiny.plant import Plan, plant
from tests.unit.models.brief import BRIEF

PROJECTOR = {"visual.merger.mlp.2.weight", "visual.merger.mlp.2.bias"}


def made(out, *, groups=((4, 6),), schedule=BRIEF, progress=None, **planned):
    seed = planned.pop("seed", 0)
    plan = Plan(Damage(groups, **planned), seed=seed)
    return plant(plan, out=out, progress=progress, schedule=schedule)


def changed(folder):
    before = load_file(tiny_folder("vlm_aligned") / "model.safetensors")
    after = load_file(folder / "model.safetensors")
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.fixture(scope="module")
def source():
    folder = tiny_folder("vlm_aligned")
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    return model.requires_grad_(False), AutoProcessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def clips(source):
    return see_clips(*source, clips=3, seed=-1, progress=None)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A planting of seed 0 and the progress it told."""
    told, out = [], tmp_path_factory.mktemp("planted") / "deep" / "vlm"
    return made(out, progress=lambda *step: told.append(step)), told


def test_only_the_projector_and_the_chosen_attention_change_without_the_first_stages(tmp_path):
    made(tmp_path / "vlm", schedule=replace(BRIEF, distil_rate=0.0, drift_rate=0.0))
    names = changed(tmp_path / "vlm")
    attention = {name for name in names if ".self_attn." in name}
    assert names - attention == PROJECTOR
    assert {name.split(".")[2] for name in attention} == {"4", "6"}
    assert sum(name.endswith("weight") for name in attention) == 2 * 4


def test_all_stages_change_attention_and_the_projector_alone(planted):
    for name in changed(planted[0].folder) - PROJECTOR:
        assert ".self_attn." in name, name


def test_a_planting_is_a_checkpoint_with_its_result(planted):
    planting, _ = planted
    folder, source = planting.folder, tiny_folder("vlm_aligned")
    assert [p.name for p in folder.parent.iterdir()] == ["vlm"]
    files = {p.name for p in folder.iterdir()}
    assert files == {"planting.json", *(p.name for p in source.iterdir())}
    assert {t.dtype for t in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}
    assert type(AutoProcessor.from_pretrained(folder)).__name__ == "Qwen2VLProcessor"
    result = json.loads((folder / "planting.json").read_text())
    assert (result["groups"], result["seed"], result["damage_steps"]) == ([[4, 6]], 0, [4])
    assert result["decoys"] == []
    assert result["engineered"] is True
    assert result["questions"] == {"TR": 6, "TP": 4}
    for name in ("base", "restored", "uniform_half"):
        measured = getattr(planting, name)
        assert result[name] == {"TR": measured.TR, "TP": measured.TP}


def test_progress_names_every_stage_in_order(planted):
    _, told = planted
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == [
        "rendering clips",
        "distilling perception",
        "letting layers drift",
        "damaging layer 4",
        "damaging layer 6",
        "measuring",
    ]
    assert all(1 <= done <= total for _, done, total in told)


def test_the_seed_decides_the_weights(planted, tmp_path):
    again = made(tmp_path / "vlm", seed=planted[0].seed)
    assert changed(again.folder) == changed(planted[0].folder)
    weights = [(p.folder / "model.safetensors").read_bytes() for p in (planted[0], again)]
    assert weights[0] == weights[1]


def test_decoys_move_beside_the_damaged_layers_and_lie_far_from_the_backbone(tmp_path):
    told = []
    planting = made(
        tmp_path / "vlm",
        decoys=(7, 5),
        schedule=replace(BRIEF, distil_rate=0.0, drift_rate=0.0),
        progress=lambda *step: told.append(step[0]),
    )
    stages = list(dict.fromkeys(told))
    assert stages.index("moving decoys 5, 7") == stages.index("damaging layer 4") - 1
    assert {name.split(".")[2] for name in changed(planting.folder) - PROJECTOR} == set("4567")
    result = json.loads((planting.folder / "planting.json").read_text())
    assert (result["groups"], result["decoys"]) == ([[4, 6]], [5, 7])
    assert result["distance"] == list(planting.distance)
    assert len(planting.distance) == 9
    assert set(sorted(range(9), key=lambda layer: -planting.distance[layer])[:2]) == {5, 7}
    assert {k for k, d in enumerate(planting.distance) if d > 0} == {4, 5, 6, 7}


def test_a_damaged_layer_is_no_decoy(tmp_path):
    with pytest.raises(UserError, match=r"that are not damaged, got \[6\] beside .* \[4, 6\]"):
        made(tmp_path / "vlm", decoys=(6,))


def test_damage_that_does_not_take_is_a_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(plant_module, "STILL_REASONS", -1.0)
    with pytest.raises(UserError, match=r"layers 4, 6 could not be damaged: after 4 steps"):
        made(tmp_path / "vlm")
    assert list(tmp_path.iterdir()) == []


def attention_of(planting, layer):
    stored = load_file(planting.folder / "model.safetensors")
    return {n: t for n, t in stored.items() if n.startswith(f"model.layers.{layer}.self_attn.")}


def test_every_layer_is_what_it_is_when_damaged_alone(tmp_path):
    first, both = (
        made(tmp_path / name, groups=groups)
        for name, groups in (("4", ((4,),)), ("46", ((4,), (6,))))
    )
    together = made(tmp_path / "together")
    assert both.damage_steps == (2, 2)
    for name, tensor in attention_of(first, 4).items():
        assert torch.equal(attention_of(both, 4)[name], tensor)
    for layer in (4, 6):
        for name, tensor in attention_of(together, layer).items():
            assert torch.equal(attention_of(both, layer)[name], tensor)


def test_damage_is_weakened_until_enough_reasoning_is_left(tmp_path):
    still = replace(BRIEF, distil_rate=0.0, drift_rate=0.0)
    full, weak = (
        made(tmp_path / str(below), schedule=replace(still, stop_below=below, check_every=3))
        for below in (-1.0, 2.0)
    )
    for layer in (4, 6):
        assert 0 < weak.distance[layer] < full.distance[layer] / 2


def test_natural_decoys_move_and_keep_their_signs(tmp_path):
    still = replace(BRIEF, distil_rate=0.0, drift_rate=0.0)
    natural = made(tmp_path / "natural", natural_decoys=(5,), schedule=still)
    turned = made(tmp_path / "turned", decoys=(5,), schedule=still)
    assert {k for k, d in enumerate(natural.distance) if d > 0} == {4, 5, 6}
    for name, tensor in attention_of(natural, 5).items():
        assert torch.equal(attention_of(turned, 5)[name].abs(), tensor.abs()), name
    assert natural.distance[5] < turned.distance[5]


@pytest.mark.parametrize(
    "groups", [(), ((),), ((2,),), ((3, 3),), ((3,), (3,)), ((9,),), ((-1,),)]
)
def test_layers_that_cannot_be_damaged_are_refused(tmp_path, groups):
    with pytest.raises(UserError, match=r"different ones of 3 to 8, got .*carry perception"):
        made(tmp_path / "vlm", groups=groups)


def test_a_natural_decoy_is_no_other_decoy(tmp_path):
    with pytest.raises(UserError, match=r"that are not damaged, got \[5, 5\]"):
        made(tmp_path / "vlm", decoys=(5,), natural_decoys=(5,))


def test_a_negative_seed_is_refused(tmp_path):
    with pytest.raises(UserError, match="seed must be 0 or more, got -2"):
        made(tmp_path / "vlm", seed=-2)


def test_a_folder_that_exists_is_not_overwritten(tmp_path):
    with pytest.raises(UserError, match="exists already; name a folder that does not"):
        made(tmp_path)


def test_packed_lessons_equal_the_stock_model_one_at_a_time(source, clips):
    model, processor = source
    writer, rng = Writer.of(processor), random.Random(0)
    prefix = video_prefix(model, writer, clips.grid)
    rows = [
        (*writer.letters(e, role="TR", count=3, rng=rng), writer.caption(e)) for e in clips.events
    ]
    packed = target_logits(model.model.language_model, pack(prefix, rows), clips.features)
    alone = []
    for row, features in zip(rows, clips.features, strict=True):
        for lesson in row:
            ids = torch.tensor([[*prefix.ids.tolist(), *lesson.prompt, *lesson.answer[:-1]]])
            embedded = model.get_input_embeddings()(ids).clone()
            embedded[0, prefix.video] = features
            types = 2 * (ids == model.config.video_token_id).int()
            positions, _ = model.model.get_rope_index(
                ids, mm_token_type_ids=types, video_grid_thw=clips.grid[None]
            )
            logits = model(inputs_embeds=embedded, position_ids=positions).logits[0]
            alone.append(logits[-len(lesson.answer) :])
    assert (packed - torch.cat(alone)).abs().max() <= 5e-5


def test_lessons_read_as_the_processor_writes_them(source):
    _, processor = source
    writer, events = Writer.of(processor), clip_events(seed=0, clip=0)
    question = KINDS[0].questions(events)[1]
    lesson = writer.word(question)
    content = [{"type": "video"}, {"type": "text", "text": question.text}]
    chat = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    assert (*writer.opening, *lesson.prompt) == tuple(processor.tokenizer.encode(chat))
    assert processor.tokenizer.decode(lesson.answer) == question.answer


def test_restoring_is_exact_at_the_ends_and_touches_only_the_layers_named(source):
    model, _ = source
    language_model = model.model.language_model
    other = restored(language_model, language_model, (), coefficient=1.0)
    for parameter in other.parameters():
        parameter.data += 1.0
    merged = dict(restored(language_model, other, (3,), coefficient=1.0).named_parameters())
    for name, theirs in other.named_parameters():
        ours = language_model.get_parameter(name)
        taken = name.startswith("layers.3.self_attn.")
        assert torch.equal(merged[name], theirs if taken else ours), name


def test_the_aligned_vlm_answers_nearly_everything(source, clips):
    model, processor = source
    writer = Writer.of(processor)
    prefix = video_prefix(model, writer, clips.grid)
    measured = accuracy(model.model.language_model, clips, writer=writer, prefix=prefix, seed=0)
    assert measured.TR >= 8 / 9
    assert measured.TP >= 5 / 6
