import errno
import json
import os
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from transformers import AutoProcessor, GenerationConfig

from merit_opt.errors import UserError
from merit_opt.models.export import export_checkpoint
from merit_opt.models.forward import embed, finish, read_answers
from merit_opt.models.merge import merge_of_recipe
from merit_opt.models.source import folder_pair
from merit_opt.recipe.constructors import attention
from merit_opt.recipe.constructors import base as unmerged
from merit_opt.recipe.store import read_recipe
from tests.unit.models.small import (
    DTYPES,
    RECIPE,
    TASK_VECTORS,
    bits,
    change_json,
    expected_merge,
    exported,
    files,
    loaded,
    small_pair,
    text_folder,
    vlm_folder,
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return small_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    return exported(source, RECIPE, tmp_path_factory.mktemp("export") / "deep" / "merged")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Makes a small model's folder once; a test only reads it."""
    return cache(
        lambda make, **options: make(tmp_path_factory.mktemp("made") / "model", **options)
    )


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("shard", ["1GB", "300KB"])
@pytest.mark.parametrize(
    ("stored", "text", "dtype"),
    [
        ("bfloat16", "bfloat16", None),
        ("float16", "float32", None),
        ("float32", "bfloat16", None),
        ("bfloat16", "float16", "float32"),
        ("float32", "float32", "bfloat16"),
        ("float32", "bfloat16", "float16"),
    ],
)
def test_it_is_the_merge_computed_from_loaded_models_bit_for_bit(
    tmp_path, made, tied, shard, stored, text, dtype
):
    pair = folder_pair(
        made(vlm_folder, dtype=stored, shard=shard, tied=tied),
        made(text_folder, dtype=text, shard=shard),
        dtype,
    )
    model = loaded(exported(pair, RECIPE, tmp_path / "out"))
    expected = DTYPES[dtype or stored]
    assert {p.dtype for p in model.parameters()} == {expected}
    assert bits(model.named_parameters()) == bits(expected_merge(pair, RECIPE, expected))
    head = model.get_output_embeddings().weight
    assert (head is model.get_input_embeddings().weight) == tied


@pytest.mark.parametrize("recipe", [RECIPE, TASK_VECTORS], ids=["plain", "task vectors"])
@pytest.mark.parametrize("dtype", [None, "float32"])
def test_it_is_the_live_merge_in_weights_and_answers(source, tmp_path, small_packs, recipe, dtype):
    def answers(pair):
        return [read_answers(pair, p, finish(pair, p, embed(pair, p), 0)) for p in packs]

    chosen = replace(source, dtype=dtype)
    pair = chosen.load("cpu", "device")
    again = folder_pair(exported(chosen, recipe, tmp_path / "out"), source.backbone, None).load(
        "cpu", "device"
    )
    packs = [replace(p, features=cast(p.features, pair.model.dtype)) for p in small_packs[:2]]
    with pair.merged(recipe) as model:
        assert bits(again.model.named_parameters()) == bits(model.named_parameters())
        assert bits(again.model.named_buffers()) == bits(model.named_buffers())
        live = answers(pair)
    assert answers(again) == live
    assert answers(pair) != live


def cast(features, dtype):
    return replace(features, tokens=features.tokens.to(dtype))


def test_its_processor_and_generation_are_the_pair_s(source, whole, small_suite):
    ours, theirs = (AutoProcessor.from_pretrained(folder) for folder in (whole, source.vlm))
    assert type(ours) is type(theirs)
    assert ours.to_dict() == theirs.to_dict()
    text = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "? A B"}]}]
    chats = [p.apply_chat_template(text, add_generation_prompt=True) for p in (ours, theirs)]
    assert chats[0] == chats[1]
    for sample in small_suite.samples:
        assert ours.tokenizer(sample.question) == theirs.tokenizer(sample.question)
    assert GenerationConfig.from_pretrained(whole) == GenerationConfig.from_pretrained(source.vlm)


def test_the_folder_has_the_source_s_layout_and_says_what_it_is(source, whole):
    theirs = files(source.vlm_checkpoint.folder)
    ours = files(whole)
    assert ours.keys() == theirs.keys() | {"README.md", "recipe.json", "merit_opt.json"}
    assert len([name for name in theirs if name.endswith(".safetensors")]) >= 5
    same = {name for name in theirs if ours[name] == theirs[name]}
    assert {n for n in theirs if n.endswith((".jinja", ".index.json"))} <= same
    assert {"tokenizer.json", "tokenizer_config.json", "generation_config.json"} <= same
    assert read_recipe(whole) == RECIPE
    provenance = json.loads(ours["merit_opt.json"])
    assert provenance["recipe"] == RECIPE.digest
    assert provenance["format"] == "hf"
    assert provenance["made_of"]["vlm"]["name"] == Path(source.vlm).name
    assert whole.stat().st_mode & 0o777 == 0o755
    assert os.listdir(whole.parent) == ["merged"]


def test_only_files_in_which_something_changes_are_written(source, whole):
    merge = merge_of_recipe(source, RECIPE)
    for shard in source.shards:
        changes = any(t.name in merge.changes for t in shard.tensors)
        assert (whole / shard.file.name).samefile(shard.file) != changes
    assert any((whole / s.file.name).samefile(s.file) for s in source.shards)


def test_the_source_is_left_as_it_was(tmp_path):
    pair = small_pair(tmp_path)
    before = files(tmp_path)
    exported(pair, RECIPE, tmp_path / "out")
    assert {n: c for n, c in files(tmp_path).items() if not n.startswith("out/")} == before


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM])
def test_where_nothing_can_be_linked_files_are_copied(source, whole, tmp_path, monkeypatch, code):
    def refuse(*_args, **_options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    out = exported(source, RECIPE, tmp_path / "out")
    assert files(out) == files(whole)
    assert {path.stat().st_nlink for path in out.iterdir()} == {1}
    before = state(out)
    exported(source, RECIPE, out)
    assert state(out) == before


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EINVAL, errno.ENOSYS, None])
def test_where_the_kernel_copies_nothing_between_files_the_bytes_are_the_same(
    source, whole, tmp_path, monkeypatch, code
):
    def refuse(*_args):
        raise OSError(code, os.strerror(code))

    if code is None:
        monkeypatch.delattr(os, "copy_file_range")
    else:
        monkeypatch.setattr(os, "copy_file_range", refuse)
    assert files(exported(source, RECIPE, tmp_path / "out")) == files(whole)


def test_a_recipe_that_merges_nothing_is_the_source_again(source, tmp_path):
    out = exported(source, unmerged(9), tmp_path / "out")
    assert all((out / shard.file.name).samefile(shard.file) for shard in source.shards)


def test_an_export_can_be_merged_again(source, whole, tmp_path):
    second = replace(source, vlm=str(whole))
    model = loaded(exported(second, attention(9, {7: 0.5}), tmp_path / "out"))
    expected = expected_merge(second, attention(9, {7: 0.5}), torch.bfloat16)
    assert bits(model.named_parameters()) == bits(expected)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_another_dtype_is_said_in_every_part_of_the_config_and_in_the_index(
    source, tmp_path, dtype
):
    out = exported(replace(source, dtype=dtype), RECIPE, tmp_path / "out")
    config = json.loads((out / "config.json").read_text())
    named = [config, config["text_config"], config["vision_config"]]
    assert {part.get("dtype", dtype) for part in named} == {dtype}
    assert config["dtype"] == dtype
    before, after = (
        json.loads((folder / "model.safetensors.index.json").read_text())
        for folder in (source.vlm_checkpoint.folder, out)
    )
    assert after["weight_map"] == before["weight_map"]
    sizes = {p.numel() * p.itemsize for p in loaded(out).parameters()}
    assert sizes
    total = sum(p.numel() * p.itemsize for p in loaded(out).parameters())
    assert after["metadata"]["total_size"] == total


def test_what_lists_pickled_weights_is_not_carried_over(source, tmp_path):
    vlm = shutil.copytree(source.vlm, tmp_path / "vlm")
    (vlm / "pytorch_model.bin.index.json").write_text('{"weight_map": {}}')
    (vlm / "additional_chat_templates").mkdir()
    (vlm / "additional_chat_templates" / "short.jinja").write_text("{{ 1 }}")
    (vlm / "LICENSE").write_text("theirs")
    (vlm / "modeling_evil.py").write_text("1 / 0")
    out = exported(replace(source, vlm=str(vlm)), RECIPE, tmp_path / "out")
    assert "pytorch_model.bin.index.json" not in os.listdir(out)
    assert "modeling_evil.py" not in os.listdir(out)
    assert (out / "additional_chat_templates" / "short.jinja").read_text() == "{{ 1 }}"
    assert (out / "LICENSE").read_text() == "theirs"


def test_a_single_file_goes_before_a_stale_index_as_in_transformers(tmp_path):
    vlm = vlm_folder(tmp_path / "vlm")
    (vlm / "model.safetensors.index.json").write_text("stale")
    pair = folder_pair(vlm, text_folder(tmp_path / "text"), None)
    out = exported(pair, RECIPE, tmp_path / "out")
    assert "model.safetensors.index.json" not in os.listdir(out)
    model = loaded(out)
    assert bits(model.named_parameters()) == bits(expected_merge(pair, RECIPE, torch.bfloat16))


def test_progress_ends_with_all_bytes_of_the_rewritten_files(source, tmp_path):
    seen = []
    merge = merge_of_recipe(source, RECIPE)
    export_checkpoint(source, merge, tmp_path / "out", (), lambda *row: seen.append(row))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1][0] == seen[-1][1] == {total for _, total in seen}.pop()


def test_values_that_are_not_finite_are_told_and_nothing_is_left(tmp_path):
    from tests.unit.models.small import TEXT, VLM, change_weights, noisy

    text = noisy(TEXT, tmp_path / "text", 0)
    name = "model.layers.4.mlp.up_proj.weight"
    change_weights(text, lambda w: w[name].view(-1)[7:8].fill_(float("nan")))
    message = r"layer 4 mlp\.up_proj\.weight is not finite once merged: .*holds NaN"
    with pytest.raises(UserError, match=message):
        exported(folder_pair(VLM, text, None), RECIPE, tmp_path / "out")
    assert os.listdir(tmp_path) == ["text"]


def test_a_value_beyond_the_dtype_is_told(source, tmp_path):
    from tests.unit.models.small import change_weights

    text = text_folder(tmp_path / "text", dtype="float32")
    name = "model.layers.3.self_attn.q_proj.weight"
    change_weights(text, lambda w: w[name].view(-1)[7:8].fill_(1e6))
    pair = replace(source, backbone=str(text), base=None, dtype="float16")
    with pytest.raises(UserError, match=r"layer 3 self_attn\.q_proj\.weight is not finite.*float"):
        exported(pair, RECIPE, tmp_path / "out")


def test_a_recipe_of_task_vectors_needs_a_base(source, tmp_path):
    with pytest.raises(UserError, match=r"give it, pair\.base=FOLDER_OR_ID"):
        exported(replace(source, base=None), TASK_VECTORS, tmp_path / "out")


def test_config_of_any_style_says_the_dtype(source, tmp_path):
    vlm = shutil.copytree(source.vlm, tmp_path / "vlm")
    config = json.loads((vlm / "config.json").read_text())
    del config["dtype"]
    config["text_config"].pop("dtype", None)
    (vlm / "config.json").write_text(json.dumps(config | {"torch_dtype": "float32"}))
    change_json(vlm / "config.json")
    pair = replace(source, vlm=str(vlm))
    model = loaded(exported(pair, RECIPE, tmp_path / "out"))
    assert bits(model.named_parameters()) == bits(expected_merge(pair, RECIPE, torch.bfloat16))


def state(folder):
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.iterdir())
    }
