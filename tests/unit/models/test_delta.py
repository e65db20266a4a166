import json
import os
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from merit_opt.errors import UserError
from merit_opt.models.card import Measured
from merit_opt.models.export import export_checkpoint, export_delta
from merit_opt.models.merge import (
    DELTA,
    DELTA_SUM,
    is_delta,
    measured_of_delta,
    merge_of_delta,
    merge_of_recipe,
)
from merit_opt.recipe.constructors import base as unmerged
from merit_opt.recipe.store import read_recipe
from tests.unit.models.small import (
    RECIPE,
    TASK_VECTORS,
    bits,
    change_json,
    expected_merge,
    exported,
    files,
    loaded,
    nothing,
    small_pair,
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return small_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def kept(source, tmp_path_factory):
    return delta(source, RECIPE, tmp_path_factory.mktemp("delta") / "delta")


@pytest.fixture
def broken(kept, tmp_path):
    """A copy of the delta, to break."""
    return shutil.copytree(kept, tmp_path / "delta")


def delta(source, recipe, out):
    export_delta(merge_of_recipe(source, recipe), out, (), nothing)
    return out


def applied(source, folder, out):
    export_checkpoint(source, merge_of_delta(source, folder), out, (), nothing)
    return out


def alone(source):
    """The pair of someone who has the VLM, and no text model."""
    return replace(source, backbone=None, base=None)


def test_it_holds_the_changed_tensors_under_the_vlm_s_names_and_nothing_else(source, kept):
    assert sorted(os.listdir(kept)) == [
        *("README.md", DELTA, DELTA_SUM, "merit_opt.json", "recipe.json")
    ]
    weights = load_file(kept / DELTA)
    layers = {
        (int(name.split("layers.")[1].split(".")[0]), "self_attn" in name, "mlp" in name)
        for name in weights
    }
    assert layers == {(3, True, False), (4, False, True), (4, False, False), (5, True, False)}
    assert len(weights) == 7 + 3 + 2 + 7
    stored = {t.name for shard in source.shards for t in shard.tensors}
    assert weights.keys() <= stored
    expected = expected_merge(source, RECIPE, torch.bfloat16)
    renamed = {
        n.replace("model.layers", "model.language_model.layers"): t for n, t in weights.items()
    }
    assert renamed.keys() <= expected.keys()
    assert bits(renamed) == bits({name: expected[name] for name in renamed})
    assert read_recipe(kept) == RECIPE
    assert is_delta(kept)
    assert not is_delta(kept.parent)


@pytest.mark.parametrize("dtype", [None, "float32"])
@pytest.mark.parametrize("recipe", [RECIPE, TASK_VECTORS, unmerged(9)])
def test_applied_it_is_the_export_byte_for_byte(source, tmp_path, recipe, dtype):
    pair = replace(source, dtype=dtype)
    whole = exported(pair, recipe, tmp_path / "whole")
    folder = delta(pair, recipe, tmp_path / "delta")
    assert files(applied(alone(pair), folder, tmp_path / "out")) == files(whole)


def test_nobody_asks_for_the_text_models(source, kept, tmp_path, monkeypatch):
    from merit_opt.models import checkpoint

    monkeypatch.setattr(
        checkpoint, "snapshot_download", lambda *_args, **_options: pytest.fail("asked the hub")
    )
    loaded(applied(alone(source), kept, tmp_path / "out"))


def test_a_copy_of_the_vlm_elsewhere_will_do(source, kept, tmp_path):
    copy = shutil.copytree(source.vlm, tmp_path / "copy")
    elsewhere = replace(alone(source), vlm=str(copy))
    loaded(applied(elsewhere, kept, tmp_path / "out"))


def test_another_vlm_is_refused(source, kept, tmp_path):
    copy = shutil.copytree(source.vlm, tmp_path / "copy")
    change_json(copy / "config.json", video_token_id=5)
    other = replace(alone(source), vlm=str(copy))
    with pytest.raises(UserError, match=r"delta changes .*, but .*/copy is another .*pair\.vlm="):
        merge_of_delta(other, kept)


def test_another_dtype_is_refused(source, kept):
    with pytest.raises(UserError, match=r"was made in bfloat16; give pair\.dtype=bfloat16"):
        merge_of_delta(replace(alone(source), dtype="float16"), kept)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("recipe.json", None, r"cannot read the recipe .*/recipe\.json"),
        ("recipe.json", "{", r"recipe\.json: a recipe is JSON"),
        ("merit_opt.json", None, r"merit_opt\.json does not say what the delta was made of"),
        ("merit_opt.json", "[]", r"merit_opt\.json does not say what the delta was made of"),
        ("merit_opt.json", '{"made_of": 3}', r"merit_opt\.json does not say what the delta was"),
        ("merit_opt.json", '{"made_of": {"vlm": {}}}', r"merit_opt\.json does not say what the"),
        (DELTA_SUM, None, r"delta\.safetensors cannot be checked against .*delta\.sha256"),
        (DELTA, None, r"cannot read .*/delta\.safetensors: No such file"),
        (DELTA, "torn", r"delta\.safetensors is torn, or no safetensors file; copy"),
    ],
)
def test_a_broken_delta_is_a_sentence(source, broken, name, content, message):
    if content is None:
        (broken / name).unlink()
    else:
        (broken / name).write_text(content)
    with pytest.raises(UserError, match=message):
        merge_of_delta(alone(source), broken)


def lose_one(file):
    weights = load_file(file)
    del weights[sorted(weights)[0]]
    save_file(weights, file)


def turn_one(file):
    weights = load_file(file)
    name = next(n for n in weights if n.endswith("gate_proj.weight"))
    weights[name] = weights[name].T.contiguous()
    save_file(weights, file)


def change_a_bit(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("change", [lose_one, turn_one, change_a_bit])
def test_a_delta_that_is_not_as_it_was_written_is_refused(source, broken, change):
    change(broken / DELTA)
    with pytest.raises(UserError, match=r"delta\.safetensors is not what .*delta\.sha256 says it"):
        merge_of_delta(alone(source), broken)


def test_what_was_measured_stays_with_it(source, tmp_path):
    measured = (
        Measured("clips", "TR", 240, 0.61, 0.972, "+0.362 [0.29, 0.43]"),
        Measured("clips", "TP", 160, 0.94, 0.93, "-0.01 [-0.03, 0.02]"),
    )
    merge, out = merge_of_recipe(source, RECIPE), tmp_path / "delta"
    export_delta(merge, out, (), nothing)
    assert measured_of_delta(out) == ()
    export_delta(merge, out, measured, nothing)
    assert measured_of_delta(out) == measured
    assert "| clips | TR | 240 | 0.610 | 0.972 | +0.362 [0.29, 0.43] |" in (
        (out / "README.md").read_text()
    )


@pytest.mark.parametrize("rows", ["3", "[3]", '[{"suite": "clips"}]'])
def test_measurements_that_are_none_are_a_sentence(broken, rows):
    facts = json.loads((broken / "merit_opt.json").read_text()) | {"measured": json.loads(rows)}
    (broken / "merit_opt.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match=r"merit_opt\.json does not say what was measured: "):
        measured_of_delta(broken)


def test_a_delta_of_an_earlier_day_has_no_measurements(broken):
    facts = json.loads((broken / "merit_opt.json").read_text())
    del facts["measured"]
    (broken / "merit_opt.json").write_text(json.dumps(facts))
    assert measured_of_delta(broken) == ()


def test_nothing_else_is_made_of_a_pair_without_a_text_model(source):
    message = r"the pair has no text backbone: give it, pair\.backbone=FOLDER_OR_ID"
    for ask in (lambda pair: pair.alignment, lambda pair: pair.digest, lambda pair: pair.stored):
        with pytest.raises(UserError, match=message):
            ask(alone(source))


def test_its_facts_name_its_form(kept):
    assert json.loads((kept / "merit_opt.json").read_text())["format"] == "delta"
