"""What a pair's checkpoints may be, told before weights are opened."""

import json
import re
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from merit_opt.errors import PairMismatch, UserError
from merit_opt.models import checkpoint
from merit_opt.models.checkpoint import Checkpoint
from merit_opt.models.source import folder_pair
from merit_opt.recipe.constructors import uniform
from merit_opt.recipe.recipe import LayerMerge, Recipe
from merit_opt.recipe.rules import Ties
from tests.unit.models.small import TEXT, VLM, change_json, change_weights, noisy

ROPE = {"rope_type": "default", "rope_theta": 5e5}
TASK_VECTORS = Recipe((LayerMerge(attention=Ties(0.5, 1.0, 0.5)),) * 9)


@pytest.fixture
def text(tmp_path):
    return shutil.copytree(TEXT, tmp_path / "text")


@pytest.fixture
def vlm(tmp_path):
    return shutil.copytree(VLM, tmp_path / "vlm")


@pytest.fixture(autouse=True)
def no_weights_and_no_hub(monkeypatch):
    """Whoever loads a model or asks the hub fails the test."""

    def opened(*_args, **_options):
        pytest.fail("something heavy was opened before the pair was checked")

    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", opened)
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", opened)
    monkeypatch.setattr(checkpoint, "snapshot_download", opened)


@pytest.mark.parametrize(
    "name",
    ["./nowhere", "../nowhere", "nowhere", "/no/where", "~/nowhere", "a/b/c", "", "-/-", "a//b"],
)
def test_a_path_that_is_not_there_is_no_repository(name):
    message = r"^pair\.vlm: expected a checkpoint folder or a repository OWNER/NAME of the hub, bu"
    with pytest.raises(UserError, match=message):
        replace(folder_pair(VLM, TEXT, None), vlm=name)


def test_a_repository_s_id_is_taken_without_asking_anyone():
    source = replace(folder_pair(VLM, TEXT, None), backbone="Qwen/Qwen2-7B.v-1_0")
    assert source.backbone_checkpoint.name == "Qwen/Qwen2-7B.v-1_0"


def test_a_folder_has_no_revision():
    with pytest.raises(
        UserError, match=r"^pair\.backbone: .* is a folder, and folders have no re"
    ):
        replace(folder_pair(VLM, TEXT, None), backbone_revision="main")


def test_a_file_is_no_checkpoint():
    with pytest.raises(UserError, match="expected a checkpoint folder or a repository"):
        Checkpoint("pair.vlm", str(VLM / "config.json"), None)


@pytest.mark.parametrize("role", ["vlm", "text"])
@pytest.mark.parametrize(
    "quantised",
    [{"quant_method": "awq", "bits": 4}, {"quant_method": "fp8"}, {"load_in_4bit": True}],
)
def test_quantised_checkpoints_are_refused(vlm, text, role, quantised):
    change_json({"vlm": vlm, "text": text}[role] / "config.json", quantization_config=quantised)
    with pytest.raises(UserError, match=r"is quantised \(.*\): its numbers are codes.*made from"):
        _ = folder_pair(vlm, text, None).alignment


def test_quantised_language_models_inside_a_vlm_are_refused(vlm, text):
    config = json.loads((vlm / "config.json").read_text())
    config["text_config"]["quantization_config"] = {"quant_method": "awq"}
    change_json(vlm / "config.json", **config)
    with pytest.raises(UserError, match=r"is quantised \(awq\)"):
        _ = folder_pair(vlm, text, None).alignment


@pytest.mark.parametrize("role", ["vlm", "text"])
def test_weights_that_are_codes_are_refused(vlm, text, role):
    folder = {"vlm": vlm, "text": text}[role]
    name = "model.layers.3.self_attn.q_proj.weight"
    change_weights(folder, lambda w: w.update({name: w[name].to(torch.float8_e4m3fn)}))
    message = rf"{name} in {folder}/model\.safetensors is stored as F8_E4M3; weights to merge are"
    with pytest.raises(UserError, match=message):
        folder_pair(vlm, text, None).load("cpu", "device")


def test_a_vlm_of_codes_alone_has_no_dtype(vlm, text):
    change_weights(vlm, lambda w: w.update({n: t.to(torch.float8_e4m3fn) for n, t in w.items()}))
    with pytest.raises(
        UserError, match=r"are none of F64, F32, F16, BF16: give a checkpoint that"
    ):
        _ = folder_pair(vlm, text, None).compute_dtype


def test_mixed_dtypes_need_a_choice(vlm, text):
    change_weights(vlm, lambda w: w.update({n: w[n].float() for n in [*w][:3]}))
    with pytest.raises(UserError, match=r"mixes dtypes BF16, F32: set pair\.dtype"):
        _ = folder_pair(vlm, text, None).compute_dtype
    assert folder_pair(vlm, text, "float16").compute_dtype == torch.float16


def test_a_different_theta_passes_where_it_is_accepted_and_is_noted(vlm, text):
    change_json(text / "config.json", rope_parameters=ROPE)
    source = folder_pair(vlm, text, None)
    told = r"RoPE theta: the VLM has \S+, the backbone has 500000\.0"
    with pytest.raises(PairMismatch, match=rf"^{told}\. Is .* pair\.accept=\[rope_theta\]$"):
        _ = source.alignment
    accepted = replace(source, accept=("rope_theta",))
    assert accepted.alignment.n_layers == 9
    assert [n.split(":")[0] for n in accepted.notes] == ["accepted by pair.accept"]
    with pytest.raises(PairMismatch, match="RoPE theta"):
        _ = replace(source, accept=("rms_norm_eps",)).alignment


def test_a_base_is_only_subtracted_so_its_theta_is_free_but_not_its_sizes(vlm, text):
    change_json(text / "config.json", rope_parameters=ROPE)
    source = replace(folder_pair(vlm, TEXT, None), base=str(text))
    source.require(TASK_VECTORS)
    assert source.notes == ()
    change_json(text / "config.json", intermediate_size=300)
    with pytest.raises(PairMismatch, match=r"MLP width: the VLM has \d+, the base has 300"):
        replace(source, dtype="float32").require(TASK_VECTORS)


def test_what_cannot_be_accepted_brings_no_hint(vlm, text):
    change_json(text / "config.json", rope_parameters=ROPE, intermediate_size=300)
    with pytest.raises(PairMismatch, match=r"MLP width.*RoPE theta.*tuned from\?$"):
        _ = replace(folder_pair(vlm, text, None), accept=("rms_norm_eps",)).alignment


def test_only_known_fields_can_be_accepted():
    with pytest.raises(
        UserError, match=r"pair\.accept takes rope_theta, rms_norm_eps; got \['hid"
    ):
        replace(folder_pair(VLM, TEXT, None), accept=("hidden_size",))


def test_a_base_of_another_architecture_or_kind_is_refused(tmp_path, text):
    change_json(text / "config.json", num_key_value_heads=1)
    pair = folder_pair(VLM, TEXT, None)
    with pytest.raises(PairMismatch, match=r"key/value heads: the VLM has 4, the base has 1"):
        replace(pair, base=str(text)).require(TASK_VECTORS)
    with pytest.raises(PairMismatch, match=r"pairs with qwen2, but .* is qwen2_vl$"):
        replace(pair, base=str(VLM)).require(TASK_VECTORS)
    replace(pair, base=str(VLM)).require(uniform(9, 0.5))
    with pytest.raises(UserError, match=r"^pair\.base: "):
        replace(pair, base=str(tmp_path / "nowhere"))


def test_the_text_model_whose_tensors_differ_is_named(text):
    change_json(text / "config.json", head_dim=48)
    message = rf"^{text}: layer 0 self_attn\.k_proj\.bias: the VLM has \(\d+,\), the backbone has"
    with pytest.raises(PairMismatch, match=message):
        replace(folder_pair(VLM, TEXT, None), base=str(text)).require_base_fits()


def test_weights_in_place_of_others_are_refused(vlm, text):
    shutil.copyfile(text / "model.safetensors", vlm / "model.safetensors")
    with pytest.raises(UserError, match=rf"the weights in {vlm} lack, or have in another shape"):
        folder_pair(vlm, text, None).load("cpu", "device")


def test_a_missing_shard_is_named_before_the_rest_is_opened(tmp_path, vlm):
    weights = load_file(vlm / "model.safetensors")
    (vlm / "model.safetensors").unlink()
    save_file(weights, vlm / "model-00001-of-00002.safetensors")
    names = dict.fromkeys(weights, "model-00001-of-00002.safetensors")
    names[sorted(names)[0]] = "model-00002-of-00002.safetensors"
    (vlm / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(
        UserError, match=r"index\.json names model-00002-of-00002\.safetensors, not"
    ):
        folder_pair(vlm, TEXT, None).load("cpu", "device")


@pytest.mark.parametrize("role", ["vlm", "backbone", "base"])
def test_an_index_whose_files_are_all_absent_names_them(vlm, role):
    (vlm / "model.safetensors").unlink()
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (vlm / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    message = (
        rf"^pair\.{role}: {vlm}/model\.safetensors\.index\.json names "
        r"model-00001-of-00002\.safetensors, model-00002-of-00002\.safetensors, not there; copy"
    )
    with pytest.raises(UserError, match=message):
        replace(folder_pair(VLM, TEXT, None), **{role: str(vlm)})


@pytest.mark.parametrize(
    "changes",
    [
        {"text_config": "none"},
        {"text_config": []},
        {"text_config": {"num_hidden_layers": "nine"}},
        {"text_config": {"hidden_size": -3}},
        {"text_config": {"num_attention_heads": 0}},
        {"text_config": {"rope_parameters": 3}},
        {"text_config": {"hidden_act": "magic"}},
        {"text_config": None},
        {"vision_config": "none"},
        {"model_type": 3},
        {"model_type": None},
        {"model_type": ["qwen2_vl"]},
        {"quantization_config": 3},
        {"dtype": "magic"},
    ],
    ids=str,
)
def test_a_config_that_makes_no_sense_is_a_sentence(vlm, changes):
    config = json.loads((vlm / "config.json").read_text())
    for key, value in changes.items():
        nested = isinstance(value, dict)
        config[key] = config[key] | value if nested else value
    (vlm / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError):
        _ = folder_pair(vlm, TEXT, None).stored


def test_a_text_model_saved_without_its_head_is_located(tmp_path):
    noisy(TEXT, tmp_path / "text", 0)
    change_weights(
        tmp_path / "text",
        lambda w: [w.update({n.removeprefix("model."): w.pop(n)}) for n in list(w)],
    )
    pair = folder_pair(VLM, tmp_path / "text", None)
    assert {t.name.split(".")[0] for t in pair.stored.backbone.values()} == {"layers"}


def test_a_text_model_that_stores_its_tied_head_twice_is_located(text):
    change_weights(
        text, lambda w: w.update({"lm_head.weight": w["model.embed_tokens.weight"].clone()})
    )
    assert len(folder_pair(VLM, text, None).stored.backbone) == 108


@pytest.mark.parametrize("role", ["vlm", "backbone"])
@pytest.mark.parametrize(
    ("key", "value"),
    [("attn_implementation", "acme/kernel"), ("_attn_implementation_internal", "acme/k@v1:f"),
     ("experts_implementation", "a/b"), ("use_kernels", True)],
)  # fmt: skip
def test_a_configuration_that_names_code_of_the_hub_is_refused(tmp_path, role, key, value):
    folder = shutil.copytree({"vlm": VLM, "backbone": TEXT}[role], tmp_path / role)
    config = json.loads((folder / "config.json").read_text())
    config.setdefault("text_config", {})[key] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        UserError, match=rf"config\.json names code of its own, {key}=.* remove the li"
    ):
        _ = folder_pair(*{"vlm": VLM, "backbone": TEXT, role: folder}.values(), None).alignment


@pytest.mark.parametrize(
    ("file", "content", "key"),
    [
        ("config.4.0.0.json", {"attn_implementation": "acme/kernel"}, "attn_implementation"),
        ("config.json", {"parts": [[{"attn_implementation": "acme/k"}]]}, "attn_implementation"),
        ("config.json", {"configuration_files": ["config.4.0.0.json"]}, "configuration_files"),
        ("generation_config.json", {"use_kernels": True}, "use_kernels"),
    ],
)
def test_and_so_is_one_that_another_file_or_a_list_hides(tmp_path, file, content, key):
    folder = shutil.copytree(TEXT, tmp_path / "model")
    path = folder / file
    held = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(held | content))
    with pytest.raises(UserError, match=rf"{re.escape(file)} names code of its own, {key}="):
        _ = Checkpoint("pair.vlm", str(folder), None).config


def test_a_model_that_brings_its_own_code_is_refused(tmp_path):
    config = {"model_type": "own_kind", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text("raise SystemExit('the code was run')")
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(
        UserError, match=r"code of its own, which is not run; .* \(often named …-hf"
    ):
        _ = Checkpoint("pair.vlm", str(tmp_path), None).config
