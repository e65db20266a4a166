import errno
import json
import os
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from merit_opt.errors import UserError
from merit_opt.models.export import export
from merit_opt.models.forward import embed, finish, letter_log_probabilities
from merit_opt.models.source import folder_pair
from merit_opt.models.tiny import tiny_folder
from merit_opt.recipe.constructors import attention
from merit_opt.recipe.recipe import LayerMerge, Recipe
from merit_opt.recipe.rules import Lerp
from merit_opt.recipe.store import read_recipe

resource = pytest.importorskip("resource", reason="file sizes are limited on Unix alone")

RECIPE = Recipe(
    (
        *(LayerMerge(),) * 3,
        LayerMerge(attention=Lerp(1.0)),
        LayerMerge(mlp=Lerp(0.3), norm=Lerp(0.7)),
        LayerMerge(attention=Lerp(0.9)),
        *(LayerMerge(),) * 3,
    )
)


def tensors(model):
    return dict(model.named_parameters()) | dict(model.named_buffers())


def bits(model):
    return {name: tensor.detach().numpy().tobytes() for name, tensor in tensors(model).items()}


def state(folder):
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def pair(foreign_pair_live):
    return foreign_pair_live


@pytest.fixture(scope="module")
def exported(pair, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "deep" / "merged"
    before = bits(pair.model)
    export(pair, RECIPE, out)
    assert bits(pair.model) == before
    return out


def test_it_loads_with_the_auto_classes_and_is_the_live_merge(pair, exported):
    loaded, info = AutoModelForImageTextToText.from_pretrained(exported, output_loading_info=True)
    assert not any(info.values()), info
    with pair.merged(RECIPE) as model:
        assert bits(loaded) == bits(model)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}


def test_its_processor_is_the_pair_s(pair, exported, small_suite):
    processor = AutoProcessor.from_pretrained(exported)
    assert type(processor) is type(pair.processor)
    assert processor.to_dict() == pair.processor.to_dict()
    text = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "? A B"}]}]
    chats = [
        p.apply_chat_template(text, add_generation_prompt=True)
        for p in (processor, pair.processor)
    ]
    assert chats[0] == chats[1]
    for sample in small_suite.samples:
        assert processor.tokenizer(sample.question) == pair.processor.tokenizer(sample.question)


def test_its_log_probabilities_are_the_live_merge_s_bit_for_bit(pair, exported, small_packs):
    def answers(one):
        return [
            letter_log_probabilities(one, p, finish(one, p, embed(one, p), 0))
            for p in small_packs[:3]
        ]

    again = folder_pair(exported, tiny_folder("text"), None).load("cpu", "device")
    with pair.merged(RECIPE):
        live = answers(pair)
    assert answers(again) == live
    assert answers(pair) != live


def test_the_folder_says_what_it_is(pair, exported):
    assert sorted(path.name for path in exported.iterdir()) == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "merit_opt.json",
        "model.safetensors",
        "processor_config.json",
        "recipe.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert read_recipe(exported / "recipe.json") == RECIPE
    provenance = json.loads((exported / "merit_opt.json").read_text())
    assert provenance == {"recipe": RECIPE.digest, "pair": pair.digest}
    assert exported.stat().st_mode & 0o777 == 0o755
    assert os.listdir(exported.parent) == ["merged"]


def test_the_same_export_again_touches_nothing(pair, exported):
    before = state(exported)
    export(pair, RECIPE, exported)
    assert state(exported) == before


def test_another_recipe_never_overwrites_it(pair, exported):
    before = state(exported)
    with pytest.raises(UserError, match=r"merged is not empty and holds another checkpoint; cho"):
        export(pair, attention(9, {3: 1.0}), exported)
    assert state(exported) == before
    assert os.listdir(exported.parent) == ["merged"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("thesis.txt", "years of work"), ("merit_opt.json", "{"), ("merit_opt.json", "[]")],
)
def test_a_folder_with_other_content_is_left_alone(pair, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    before = state(tmp_path)
    with pytest.raises(UserError, match="is not empty and holds another checkpoint; choose anoth"):
        export(pair, RECIPE, tmp_path)
    assert state(tmp_path) == before


def test_a_file_in_its_place_is_left_alone(pair, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match=r"out is a file; choose another out="):
        export(pair, RECIPE, tmp_path / "out")
    with pytest.raises(UserError, match=r"cannot write the checkpoint to .*/out/below: "):
        export(pair, RECIPE, tmp_path / "out" / "below")
    assert (tmp_path / "out").read_text() == "mine"
    assert os.listdir(tmp_path) == ["out"]


def test_an_empty_folder_is_filled(pair, exported, tmp_path):
    export(pair, RECIPE, tmp_path)
    assert {name: content for name, (content, _) in state(tmp_path).items()} == {
        name: content for name, (content, _) in state(exported).items()
    }


@pytest.fixture
def no_room_for_weights():
    """Every file of this process may have 1 MiB: the weights do not fit, the configs do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_weights_that_do_not_fit_leave_nothing(pair, tmp_path, no_room_for_weights):
    before = bits(pair.model)
    with pytest.raises(UserError, match=r"cannot write the checkpoint to .*/out: .*too large"):
        export(pair, RECIPE, tmp_path / "out")
    assert os.listdir(tmp_path) == []
    assert bits(pair.model) == before


@pytest.mark.parametrize("place", ["processor", "rename"])
def test_a_disk_full_in_the_middle_leaves_nothing(pair, tmp_path, monkeypatch, place):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if place == "processor":
        monkeypatch.setattr(pair.processor, "save_pretrained", full)
    else:
        monkeypatch.setattr(os, "replace", full)
    before = bits(pair.model)
    with pytest.raises(UserError, match=r"cannot write .*/out: No space left on device"):
        export(pair, RECIPE, tmp_path / "out")
    assert os.listdir(tmp_path) == []
    assert bits(pair.model) == before


def test_a_checkpoint_that_does_not_load_back_to_the_same_bits_is_not_left(
    pair, tmp_path, monkeypatch
):
    def spoil(folder):
        weights = load_file(folder / "model.safetensors")
        name = next(n for n in weights if n.endswith("layers.4.mlp.up_proj.weight"))
        weights[name].view(-1)[5] += 1e-6
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(pair.processor, "save_pretrained", spoil)
    message = r"differs from the live merge: \['model\..*layers\.4\.mlp\.up_proj\.weight'\]"
    with pytest.raises(RuntimeError, match=message):
        export(pair, RECIPE, tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_a_bfloat16_pair_leaves_as_bfloat16(tmp_path, foreign_source):
    pair = replace(foreign_source, dtype=None).load("cpu", "device")
    export(pair, RECIPE, tmp_path / "out")
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
    with pair.merged(RECIPE) as model:
        ours, theirs = tensors(model), tensors(loaded)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
