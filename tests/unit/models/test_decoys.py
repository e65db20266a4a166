import copy

import pytest
import torch
from transformers import AutoModelForImageTextToText, Qwen2Config, Qwen2Model

from merit_opt.errors import UserError
from merit_opt.models.tiny import tiny_folder
from merit_opt.models.tiny.decoys import require_decoys, turn_signs

CHANGED = {"self_attn.v_proj.weight", "self_attn.v_proj.bias", "self_attn.o_proj.weight"}


def grouped():
    """A language model whose heads share keys and values, with random biases."""
    sizes = {"hidden_size": 48, "intermediate_size": 64, "vocab_size": 20}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2, "num_hidden_layers": 3}
    model = Qwen2Model(Qwen2Config(**sizes, **heads)).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.normal_(0.0, 0.2, generator=generator)
    return model


def tiny():
    folder = tiny_folder("vlm_aligned")
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    return model.model.language_model.eval().requires_grad_(False)


def differing(one, other):
    theirs = dict(other.named_parameters())
    return {name for name, ours in one.named_parameters() if not torch.equal(ours, theirs[name])}


@pytest.mark.parametrize("make", [grouped, tiny])
def test_turned_signs_change_half_of_the_value_dimensions_and_no_answer(make):
    model, ids = make(), torch.arange(14)[None]
    turned = copy.deepcopy(model)
    turn_signs(turned, (0, 2), seed=3)
    assert (model(ids)[0] - turned(ids)[0]).abs().max() <= 1e-5
    assert differing(model, turned) == {f"layers.{k}.{name}" for k in (0, 2) for name in CHANGED}
    for name in ("v_proj.weight", "o_proj.weight"):
        ours, theirs = (m.get_parameter(f"layers.0.self_attn.{name}") for m in (model, turned))
        assert torch.equal(ours.abs(), theirs.abs())
        assert (ours == -theirs).float().mean() == 0.5


@pytest.mark.parametrize("make", [grouped, tiny])
def test_half_way_back_the_layer_is_lost(make):
    model, ids = make(), torch.arange(14)[None]
    turned = copy.deepcopy(model)
    turn_signs(turned, (1,), seed=3)
    for name, parameter in turned.named_parameters():
        parameter.lerp_(model.get_parameter(name), 0.5)
    assert (model(ids)[0] - turned(ids)[0]).abs().max() > 1e-2


def test_the_seed_and_the_layer_choose_the_dimensions():
    def signs(layer, seed):
        model = grouped()
        turned = copy.deepcopy(model)
        turn_signs(turned, (layer,), seed)
        name = f"layers.{layer}.self_attn.v_proj.weight"
        return tuple((turned.get_parameter(name) / model.get_parameter(name))[:, 0].tolist())

    assert signs(0, 5) == signs(0, 5)
    assert len({signs(0, 5), signs(1, 5), signs(0, 6)}) == 3


@pytest.mark.parametrize("decoys", [(4,), (2,), (9,), (5, 5), (-1,)])
def test_decoys_that_cannot_be_are_refused(decoys):
    with pytest.raises(UserError, match=r"different ones of 3 to 8 that are not damaged, got \["):
        require_decoys(decoys, (4, 6), range(3, 9))


def test_other_layers_may_be_decoys():
    require_decoys((), (4, 6), range(3, 9))
    require_decoys((8, 3), (4, 6), range(3, 9))
