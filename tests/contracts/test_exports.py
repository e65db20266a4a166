"""An export of any family is the merge, under the names that its checkpoint has on disk."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from merit_opt.errors import UserError
from merit_opt.models.alignment import layer_tensor
from merit_opt.models.export import export_checkpoint, export_delta
from merit_opt.models.merge import merge_of_delta, merge_of_recipe
from merit_opt.recipe.recipe import PARTS, LayerMerge, Recipe
from merit_opt.recipe.rules import DareTies, Lerp, Slerp, TaskArithmetic, Ties
from tests.contracts.stock import exported, snapshot, tensors_of, unlike
from tests.unit.models.papers import merge_by_formula


@pytest.fixture(scope="session")
def based(source, tmp_path_factory):
    """The pair with a base, a neighbour of the backbone."""
    folder = tmp_path_factory.mktemp("base") / "base"
    shutil.copytree(source.backbone, folder)
    generator = torch.Generator().manual_seed(3)
    weights = load_file(folder / "model.safetensors")
    moved = {n: t + 0.1 * torch.randn(t.shape, generator=generator) for n, t in weights.items()}
    save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})
    return replace(source, base=str(folder))


@pytest.fixture(scope="session")
def recipe(based):
    """Rules of every kind on the parts that the pair merges, and layers left alone."""
    ties, circle, task = Ties(0.6, 0.9, 0.5), Slerp(0.4), TaskArithmetic(0.3, 1.2)
    dare = DareTies(0.5, 1.0, 0.7, 1)
    rows = [(ties, task, Lerp(0.3)), (circle, dare, Lerp(1.0)), (dare, circle, ties)]
    parts = based.alignment.parts
    merged = [
        LayerMerge(**{part: rule for part, rule in zip(PARTS, row, strict=True) if part in parts})
        for row in rows
    ]
    return Recipe((*merged, *(LayerMerge(),) * (based.alignment.n_layers - len(merged))))


def halves(source, folder, *, tied):
    """The VLM in float16 and small shards, its head tied to the embeddings or not."""
    model = AutoModelForImageTextToText.from_pretrained(source.vlm, dtype=torch.float16)
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = tied
    words = model.get_input_embeddings().weight
    head = words if tied else torch.nn.Parameter(words.detach().flip(0))
    model.get_output_embeddings().weight = head
    shutil.copytree(source.vlm, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    model.save_pretrained(folder, max_shard_size="100KB")
    return replace(source, vlm=str(folder), dtype=None)


def loaded(folder, dtype=None):
    options = {} if dtype is None else {"dtype": dtype}
    model, info = AutoModelForImageTextToText.from_pretrained(
        folder, output_loading_info=True, **options
    )
    assert not any(info.values()), info
    return model


def independent(source, recipe, dtype):
    """Name in memory -> values, from models that transformers loads."""
    vlm = loaded(source.vlm, dtype)
    texts = [
        AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        for folder in (source.backbone, source.base)
    ]
    names = {id(p): name for name, p in vlm.named_parameters()}
    expected = snapshot(vlm)
    for tensor in source.alignment.tensors:
        if rule := recipe.layers[tensor.layer].rule(tensor.part):
            ours = layer_tensor(vlm, tensor)
            backbone, base = (layer_tensor(text, tensor).detach() for text in texts)
            name = f"layers.{tensor.layer}.{tensor.name}"
            expected[names[id(ours)]] = merge_by_formula(rule, name, ours.detach(), backbone, base)
    return expected


def test_every_aligned_tensor_lies_once_in_each_checkpoint(based):
    alignment, stored = based.alignment, based.stored
    for where, skeleton in ((stored.vlm, based.vlm_skeleton), (stored.backbone, None)):
        assert tuple(where) == alignment.tensors
        assert len({t.name for t in where.values()}) == len(alignment.tensors)
        for tensor, one in where.items():
            assert f"layers.{tensor.layer}." in one.name
            assert one.name.endswith(tensor.name)
            if skeleton is not None:
                assert one.shape == tuple(layer_tensor(skeleton, tensor).shape)
    assert tuple(based.stored_base) == alignment.tensors
    vlm = based.vlm_skeleton
    names = {id(p): name for name, p in vlm.named_parameters()}
    language = [*vlm.get_decoder().parameters(), *vlm.get_output_embeddings().parameters()]
    merged = [names[id(layer_tensor(vlm, tensor))] for tensor in alignment.tensors]
    assert sorted([*merged, *alignment.kept]) == sorted({names[id(p)] for p in language})
    assert stored.kept.keys() == alignment.kept.keys()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_is_the_merge_computed_otherwise_and_the_live_one(based, recipe, tmp_path, dtype):
    asked = replace(based, dtype=dtype)
    out = exported(asked, recipe, tmp_path / "out")
    model = loaded(out)
    expected = independent(asked, recipe, getattr(torch, dtype))
    assert unlike(tensors_of(model), expected) == []
    assert unlike(tensors_of(loaded(based.vlm, getattr(torch, dtype))), expected) != []
    ours, theirs = (load_file(f"{f}/model.safetensors") for f in (out, based.vlm))
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in theirs.items()}
    pair = asked.load("cpu", "device")
    with pair.merged(recipe) as live:
        assert unlike(tensors_of(live), expected) == []


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_it_is_the_merge_in_float16_and_shards_with_either_head(based, recipe, tmp_path, tied):
    halved = halves(based, tmp_path / "vlm", tied=tied)
    out = exported(halved, recipe, tmp_path / "out")
    shards = [sorted(f.name for f in Path(d).glob("*.safetensors")) for d in (halved.vlm, out)]
    assert shards[0] == shards[1]
    assert len(shards[0]) > 1
    model = loaded(out)
    assert unlike(tensors_of(model), independent(halved, recipe, torch.float16)) == []
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied


def test_a_delta_applied_is_the_export(based, recipe, tmp_path):
    whole = exported(based, recipe, tmp_path / "whole")
    export_delta(merge_of_recipe(based, recipe), tmp_path / "delta", (), lambda *_: None)
    merge = merge_of_delta(replace(based, backbone="no/body", base=None), tmp_path / "delta")
    export_checkpoint(based, merge, tmp_path / "out", (), lambda *_: None)
    for path in whole.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_a_checkpoint_with_the_names_of_memory_is_exported_under_them(based, recipe, tmp_path):
    vlm = shutil.copytree(based.vlm, tmp_path / "vlm")
    named = {n: p.detach().clone() for n, p in loaded(based.vlm).named_parameters()}
    save_file(named, vlm / "model.safetensors", metadata={"format": "pt"})
    asked = replace(based, vlm=str(vlm))
    assert len(asked.stored.vlm) == len(based.stored.vlm)
    out = exported(asked, recipe, tmp_path / "out")
    assert load_file(out / "model.safetensors").keys() == named.keys()
    expected = independent(based, recipe, torch.float32)
    assert unlike(tensors_of(loaded(out)), expected) == []


def test_a_lost_tensor_is_told_under_its_name(based, recipe, tmp_path):
    vlm = shutil.copytree(based.vlm, tmp_path / "vlm")
    weights = load_file(vlm / "model.safetensors")
    lost = next(iter(based.stored.vlm.values()))
    del weights[lost.name]
    save_file(weights, vlm / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lack, or have in another shape than config\.json says"):
        exported(replace(based, vlm=str(vlm)), recipe, tmp_path / "out")
