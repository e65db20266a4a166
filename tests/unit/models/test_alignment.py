from collections import Counter

import pytest
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
)

from merit_opt.errors import PairMismatch
from merit_opt.models.alignment import align, decoder_layers, layer_tensor
from merit_opt.models.tiny import tiny_folder


@pytest.fixture
def unloaded():
    """The tiny pair without weights, a copy to break."""
    with torch.device("meta"):
        return (
            AutoModelForImageTextToText.from_config(
                AutoConfig.from_pretrained(tiny_folder("vlm_planted_3_5"))
            ),
            AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tiny_folder("text"))),
        )


def test_the_tiny_pair_has_so_many_tensors_a_part(tiny_source):
    alignment = tiny_source.alignment
    counts = {part: alignment.count(part) for part in ("attention", "mlp", "norm")}
    assert counts == {"attention": 63, "mlp": 27, "norm": 18}
    assert alignment.n_layers == 9
    assert len(set(alignment.tensors)) == len(alignment.tensors) == 108


def test_each_layer_has_the_same_tensors_in_their_parts(tiny_source):
    layers = Counter((t.part, t.name) for t in tiny_source.alignment.tensors)
    attention = {
        *(f"self_attn.{x}_proj.{kind}" for x in "qkv" for kind in ("weight", "bias")),
        "self_attn.o_proj.weight",
    }
    mlp = {f"mlp.{x}_proj.weight" for x in ("gate", "up", "down")}
    norm = {"input_layernorm.weight", "post_attention_layernorm.weight"}
    parts = {"attention": attention, "mlp": mlp, "norm": norm}
    assert layers == {(part, name): 9 for part, names in parts.items() for name in names}
    assert [t.layer for t in tiny_source.alignment.tensors] == sorted(list(range(9)) * 12)


def test_what_is_kept_says_why(tiny_source):
    assert tiny_source.alignment.kept == {
        "model.language_model.embed_tokens.weight": "outside the decoder layers: the VLM's is kept",
        "model.language_model.norm.weight": "outside the decoder layers: the VLM's is kept",
    }


def test_every_tensor_of_the_language_model_is_merged_or_kept_once(tiny_pair_live):
    alignment = tiny_pair_live.alignment
    aligned = [f"model.language_model.{t.path}" for t in alignment.tensors]
    names = dict(tiny_pair_live.model.named_parameters())
    language = [n for n in names if n.startswith(("model.language_model.", "lm_head."))]
    assert sorted([*aligned, *alignment.kept]) == sorted(language)


def test_what_is_kept_is_found_on_disk_too(tiny_source):
    on_disk = {name: stored.name for name, stored in tiny_source.stored.kept.items()}
    assert on_disk == {
        "model.language_model.embed_tokens.weight": "model.embed_tokens.weight",
        "model.language_model.norm.weight": "model.norm.weight",
    }


def test_a_name_leads_to_the_live_parameter(tiny_pair_live):
    model = tiny_pair_live.model
    for tensor in tiny_pair_live.alignment.tensors:
        path = f"model.language_model.layers.{tensor.layer}.{tensor.name}"
        assert layer_tensor(model, tensor) is model.get_parameter(path)


def test_loaded_models_align_as_unloaded_ones_do(tiny_source, tiny_pair_live):
    backbone = AutoModelForCausalLM.from_pretrained(tiny_source.backbone)
    assert align(tiny_pair_live.model, backbone) == tiny_source.alignment


def test_unloaded_models_hold_no_memory_and_align(unloaded, tiny_source):
    assert {p.device.type for model in unloaded for p in model.parameters()} == {"meta"}
    assert align(*unloaded) == tiny_source.alignment


def test_another_number_of_layers_is_refused(unloaded):
    vlm, backbone = unloaded
    del backbone.model.layers[8]
    message = "the VLM has 9 decoder layers, the backbone has 8; give the text model"
    with pytest.raises(PairMismatch, match=message):
        align(vlm, backbone)


def test_shapes_that_differ_are_listed_three_at_most(unloaded):
    vlm, backbone = unloaded
    for layer in decoder_layers(backbone)[4:]:
        layer.mlp.down_proj = nn.Linear(128, 96, bias=False, device="meta")
    message = (
        r"^layer 4 mlp\.down_proj\.weight: the VLM has \(96, 256\), the backbone has \(96, 128\); "
        r"layer 5 .*; layer 6 [^;]* \(and 2 more\)$"
    )
    with pytest.raises(PairMismatch, match=message):
        align(vlm, backbone)


@pytest.mark.parametrize(("owner", "index"), [("VLM", 0), ("backbone", 1)])
def test_a_tensor_of_one_side_alone_is_refused(unloaded, owner, index):
    attention = decoder_layers(unloaded[index])[7].self_attn
    attention.q_norm = nn.RMSNorm(24, device="meta")
    with pytest.raises(PairMismatch, match=rf"^layer 7: only the {owner} has self_attn\.q_norm"):
        align(*unloaded)


def test_norms_inside_attention_belong_to_attention(unloaded):
    for model in unloaded:
        decoder_layers(model)[7].self_attn.q_norm = nn.RMSNorm(24, device="meta")
    assert align(*unloaded).count("attention") == 64


def test_a_module_of_no_known_part_is_refused(unloaded):
    for model in unloaded:
        decoder_layers(model)[2].router = nn.Linear(4, 4, device="meta")
    with pytest.raises(PairMismatch, match=r"layer 2 holds router\.weight, which is none of self"):
        align(*unloaded)
