import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    LlamaConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen2VLConfig,
)

from merit_opt.errors import PairMismatch, UserError
from merit_opt.models.alignment import layer_tensor
from merit_opt.models.rope import require_float32_rope
from merit_opt.models.source import folder_pair
from merit_opt.models.tiny import tiny_folder
from merit_opt.recipe.constructors import backbone as backbone_recipe
from tests.contracts.checkpoints.llava import llava_next_video

VLM, TEXT = tiny_folder("vlm_planted_3_5"), tiny_folder("text")
PLAIN = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 20,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    "bos_token_id": None,
    "eos_token_id": 2,
}
ROPE = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 1, 1]}
VISION = {"depth": 1, "embed_dim": 16, "hidden_size": 16, "num_heads": 2, "mlp_ratio": 2}


@pytest.fixture(scope="module")
def vlm(tmp_path_factory):
    """A Qwen2-VL folder of the plain text model."""
    folder = tmp_path_factory.mktemp("vlm")
    config = Qwen2VLConfig(
        text_config=PLAIN | {"rope_parameters": ROPE}, vision_config=VISION, video_token_id=6
    )
    AutoModelForImageTextToText.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture
def backbone(tmp_path):
    """Make a Qwen2 folder that differs from the plain text model in the given fields."""

    def make(config_class=Qwen2Config, **changes):
        config = config_class(**PLAIN | changes)
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "backbone")
        return tmp_path / "backbone"

    return make


@pytest.fixture
def no_weights(monkeypatch):
    """Whoever opens weights fails the test."""

    def opened(*_args, **_options):
        pytest.fail("weights were opened before the pair was checked")

    monkeypatch.setattr(PreTrainedModel, "from_pretrained", opened)
    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", opened)
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", opened)


@pytest.fixture
def copies(tmp_path):
    """The packaged pair's folders, to break."""
    return (
        shutil.copytree(VLM, tmp_path / "vlm"),
        shutil.copytree(TEXT, tmp_path / "text"),
    )


def test_the_plain_pair_fits(vlm, backbone, no_weights):
    source = folder_pair(vlm, backbone(), None)
    counts = {part: source.alignment.count(part) for part in ("attention", "mlp", "norm")}
    assert counts == {"attention": 14, "mlp": 6, "norm": 4}
    assert source.notes == ()
    assert source.family.model_type == "qwen2_vl"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 3}, r"decoder layers: the VLM has 2, the backbone has 3"),
        ({"hidden_size": 32}, r"hidden size: the VLM has 16, the backbone has 32"),
        (
            {"num_attention_heads": 4, "num_key_value_heads": 4},
            r"attention heads: the VLM has 2, the backbone has 4; key/value heads: .* 2, .* 4",
        ),
        ({"num_key_value_heads": 1}, r"key/value heads: the VLM has 2, the backbone has 1"),
        ({"intermediate_size": 48}, r"MLP width: the VLM has 24, the backbone has 48"),
        ({"rms_norm_eps": 1e-5}, r"RMS norm epsilon: the VLM has 1e-06, the backbone has 1e-05"),
        ({"hidden_act": "gelu"}, r"activation: the VLM has silu, the backbone has gelu"),
        (
            {"rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0}},
            r"RoPE theta: the VLM has 10000\.0, the backbone has 1000000\.0",
        ),
        (
            {"num_hidden_layers": 1, "rms_norm_eps": 1e-5},
            r"decoder layers: .* has 1; RMS norm epsilon: .* has 1e-05\. Is .* was tuned from\?",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else None,
)
def test_a_backbone_of_another_architecture_is_refused(
    vlm, backbone, no_weights, changes, message
):
    with pytest.raises(PairMismatch, match=f"^{message}") as caught:
        folder_pair(vlm, backbone(**changes), None).load("cpu", "device")
    assert str(vlm) in str(caught.value)


def test_a_backbone_of_another_type_is_refused(vlm, backbone, no_weights):
    message = "^a qwen2_vl VLM on qwen2_vl_text pairs with qwen2, but .*/backbone is llama$"
    with pytest.raises(PairMismatch, match=message):
        folder_pair(vlm, backbone(LlamaConfig), None).load("cpu", "device")


def test_a_vlm_of_an_unknown_family_is_refused(no_weights):
    with pytest.raises(UserError, match="model_type 'qwen2' is not supported; supported: qwen2_v"):
        folder_pair(TEXT, TEXT, None).load("cpu", "device")


def test_vocabularies_of_different_size_fit_and_are_noted(vlm, backbone):
    source = folder_pair(vlm, backbone(vocab_size=26), None)
    assert source.alignment.n_layers == 2
    assert source.notes == (
        "vocabularies differ (20 and 26): fine, embeddings and heads are not merged",
    )


@pytest.mark.parametrize("role", ["vlm", "backbone"])
@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "expected a checkpoint folder or a repository OWNER/NAME of the hub, but .* is no"),
        ((), r"holds no config\.json and no model\*\.safetensors"),
        (("config.json",), r"holds no model\*\.safetensors$"),
        (("config.json", "other.safetensors"), r"holds no model\*\.safetensors$"),
        (("model.safetensors",), r"holds no config\.json$"),
        (("config.json", "pytorch_model.bin"), r"holds its weights as pickle, which can run code"),
        (("config.json", "model.safetensors", "adapter_config.json"), r"is a LoRA adapter, not a"),
    ],
)
def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path, no_weights, role, files, message):
    folder = tmp_path / "folder"
    if files is not None:
        folder.mkdir()
        for name in files:
            (folder / name).touch()
    folders = {"vlm": VLM, "backbone": TEXT, role: folder}
    with pytest.raises(UserError, match=rf"^pair\.{role}: .*{message}"):
        folder_pair(folders["vlm"], folders["backbone"], None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"model_type": "qwen', "is not a valid JSON file"),
        (b"", "is not a valid JSON file"),
        (b"\xff\xfe\x00", "is not a valid JSON file"),
        (b"null", ""),
        (b"{}", "Should have a `model_type` key"),
        (b'{"model_type": "qwen9"}', "model type `qwen9`"),
        (b'{"model_type": "qwen2", "num_hidden_layers": "two"}', "num_hidden_layers.*got str"),
    ],
    ids=["torn", "empty", "binary", "null", "no type", "unknown type", "mistyped"],
)
@pytest.mark.parametrize("index", [0, 1], ids=["vlm", "backbone"])
def test_a_corrupt_config_is_a_sentence(copies, no_weights, index, content, reason):
    (copies[index] / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json cannot be read: .*" + reason) as caught:
        folder_pair(*copies, None).load("cpu", "device")
    assert str(copies[index]) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_dtype_has_one_of_three_names():
    with pytest.raises(
        UserError, match=r"pair\.dtype is one of float32, bfloat16, float16; got 'fp16'"
    ):
        folder_pair(VLM, TEXT, "fp16")


@pytest.mark.parametrize("dtype", [None, "float32", "bfloat16", "float16"])
def test_both_models_compute_in_the_dtype_asked_for(copies, dtype):
    weights = load_file(copies[1] / "model.safetensors")
    precise = {n: t.float() * 1.0009765625 for n, t in weights.items()}
    save_file(precise, copies[1] / "model.safetensors", metadata={"format": "pt"})
    pair = folder_pair(*copies, dtype).load("cpu", "device")
    expected = getattr(torch, dtype or "bfloat16")
    assert {p.dtype for p in pair.model.parameters()} == {expected}
    assert not any(p.requires_grad for p in pair.model.parameters())
    assert not any(module.training for module in pair.model.modules())
    with pair.merged(backbone_recipe(9)) as model:
        for tensor in pair.alignment.tensors:
            cast = precise[f"model.layers.{tensor.layer}.{tensor.name}"].to(expected)
            assert torch.equal(layer_tensor(model, tensor), cast)


def test_the_stored_weights_are_what_is_loaded(tiny_pair_live):
    stored = load_file(VLM / "model.safetensors")
    loaded = dict(tiny_pair_live.model.get_decoder().named_parameters())
    decoder = {n.removeprefix("model."): t for n, t in stored.items() if n.startswith("model.l")}
    assert len(decoder) == 108
    assert all(torch.equal(loaded[name], tensor.float()) for name, tensor in decoder.items())


def test_rope_frequencies_are_float32_in_every_compute_dtype():
    model = folder_pair(VLM, TEXT, "bfloat16").load("cpu", "device").model
    frequencies = [b for n, b in model.named_buffers() if n.endswith("inv_freq")]
    assert len(frequencies) >= 2
    assert {b.dtype for b in frequencies} == {torch.float32}
    message = r"^model\.\S*inv_freq is torch\.bfloat16, expected float32: load, never cast"
    with pytest.raises(RuntimeError, match=message):
        require_float32_rope(model.to(torch.bfloat16))


def test_a_model_that_comes_cast_is_never_used(copies, monkeypatch):
    load = AutoModelForImageTextToText.from_pretrained

    def cast(folder, **options):
        model, info = load(folder, **options)
        return model.to(torch.bfloat16), info

    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", cast)
    with pytest.raises(RuntimeError, match=r"inv_freq is torch\.bfloat16, expected float32"):
        folder_pair(*copies, "bfloat16").load("cpu", "device")


LOST = "model.layers.3.self_attn.q_proj.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(LOST), r"layers\.3\.self_attn\.q_proj\.weight"),
        (
            lambda t: t.update({LOST: t[LOST][:90].clone()}),
            r"layers\.3\.self_attn\.q_proj\.weight",
        ),
        (
            lambda t: [t.pop(n) for n in [*t] if ".5.mlp." in n or ".6.mlp." in n],
            r"layers\.5\.mlp\.down_proj.*, .*, .* \(and 3 more\)",
        ),
    ],
    ids=["missing", "shape", "many"],
)
@pytest.mark.parametrize("index", [0, 1], ids=["vlm", "backbone"])
def test_weights_are_never_made_up(copies, index, change, message):
    weights = load_file(copies[index] / "model.safetensors")
    change(weights)
    save_file(weights, copies[index] / "model.safetensors", metadata={"format": "pt"})
    expected = rf"the weights in {copies[index]} lack, or have in another shape .*{message}; copy"
    with pytest.raises(UserError, match=expected):
        folder_pair(*copies, None).load("cpu", "device")


@pytest.mark.parametrize("index", [0, 1], ids=["vlm", "backbone"])
def test_torn_weights_are_a_sentence(copies, index):
    weights = copies[index] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    message = rf"{weights} has \d+ bytes, but its header describes \d+; copy the checkpoint again"
    with pytest.raises(UserError, match=message):
        folder_pair(*copies, None).load("cpu", "device")


@pytest.mark.parametrize("content", [None, "{"], ids=["missing", "torn"])
@pytest.mark.parametrize("name", ["tokenizer.json", "processor_config.json"])
def test_a_broken_processor_is_a_sentence(copies, name, content):
    if content is None:
        (copies[0] / name).unlink()
    else:
        (copies[0] / name).write_text(content)
    with pytest.raises(UserError, match=f"the processor in {copies[0]} cannot be read: "):
        folder_pair(*copies, None).load("cpu", "device")


def test_weights_lie_in_aligned_memory_of_their_own(copies):
    pair = folder_pair(*copies, None).load("cpu", "device")
    assert {p.data_ptr() % 64 for p in pair.model.parameters()} == {0}
    assert pair.model.lm_head.weight is pair.model.get_input_embeddings().weight
    before = {name: p.clone() for name, p in pair.model.named_parameters()}
    with (copies[0] / "model.safetensors").open("r+b") as file:
        file.seek(100_000)
        file.write(bytes(1_000_000))
    assert all(torch.equal(p, before[name]) for name, p in pair.model.named_parameters())


def test_a_video_processor_that_no_file_names_is_a_sentence(tmp_path):
    found = llava_next_video(tmp_path)
    vlm = Path(found.vlm)
    kept = vlm / "processor_config.json"
    facts = json.loads(kept.read_text())
    del facts["video_processor"]
    image = facts.pop("image_processor")
    kept.write_text(json.dumps(facts))
    (vlm / "preprocessor_config.json").write_text(json.dumps(image))
    with pytest.raises(UserError, match=r"name no video_processor_type.* LlavaNextVideoVideoProc"):
        _ = found.processor
