"""Which module goes to which GPU, and how what is there is loaded."""

from importlib.util import find_spec

import pytest
import torch

from merit_opt.errors import UserError
from merit_opt.models.spread import Spread, balanced

SMALL = 1_500_000
PLENTY = 10**9

needs_accelerate = pytest.mark.skipif(
    find_spec("accelerate") is None, reason="accelerate is not installed"
)


@pytest.fixture(scope="module")
def config(tiny_source):
    return tiny_source.vlm_config


def device_bits(model):
    tensors = (*model.named_parameters(), *model.named_buffers())
    return {name: (t.dtype, t.numpy().tobytes()) for name, t in tensors}


def test_sizes_are_those_of_the_modules_on_each_gpu(tiny_source):
    skeleton = tiny_source.vlm_skeleton
    layers = [f"model.language_model.layers.{i}" for i in range(9)]
    gpus = {
        "model.visual": 0,
        "model.language_model.embed_tokens": 0,
        **dict.fromkeys(layers[:4], 0),
        **dict.fromkeys(layers[4:], 1),
        "model.language_model.norm": 2,
        "lm_head": 0,
    }
    spread = Spread(skeleton, gpus)
    own = [sum(p.nbytes for p in layer.parameters()) for layer in skeleton.get_decoder().layers]
    weights = spread.weights()
    assert weights[1] == sum(own[4:])
    assert weights[2] == skeleton.get_decoder().norm.weight.nbytes
    assert sum(weights.values()) == sum(p.nbytes for p in skeleton.parameters())
    one = sum(p.nbytes for p in skeleton.get_decoder().layers[0].self_attn.parameters())
    assert spread.attention(tiny_source.alignment) == {0: 4 * one, 1: 5 * one, 2: 0}


@needs_accelerate
@pytest.mark.parametrize(("count", "free"), [(2, PLENTY), (4, PLENTY), (4, SMALL)])
def test_every_gpu_takes_about_as_much_and_no_layer_lies_on_two(config, count, free):
    spread = balanced(config, torch.float32, dict.fromkeys(range(count), free))
    weights = spread.weights()
    assert list(weights) == list(range(count))
    total = sum(p.nbytes for p in spread.skeleton.parameters())
    assert sum(weights.values()) == total
    layer = sum(p.nbytes for p in spread.skeleton.get_decoder().layers[0].parameters())
    assert max(weights.values()) <= min(free, total / count + 2 * layer)
    assert {f"model.language_model.layers.{i}" for i in range(9)} <= spread.gpus.keys()


@needs_accelerate
def test_half_the_bytes_a_weight_are_half_the_bytes_a_gpu(config):
    free = {0: PLENTY, 1: PLENTY}
    whole, half = (balanced(config, t, free) for t in (torch.float32, torch.float16))
    assert whole.gpus == half.gpus
    assert whole.weights() == {gpu: 2 * size for gpu, size in half.weights().items()}


@needs_accelerate
def test_what_would_be_left_on_a_disk_is_refused_with_the_sizes(config):
    with pytest.raises(UserError, match=r"does not fit 2 GPUs with 0\.0, 0\.0 GiB free: weights"):
        balanced(config, torch.float32, {0: 1_000_000, 1: 1_000_000})
    with pytest.raises(UserError, match=r"does not fit 1 GPUs"):
        balanced(config, torch.float32, {0: 1_000_000})


@needs_accelerate
def test_nothing_is_said_of_the_configuration(config):
    before = config.to_dict()
    balanced(config, torch.float16, {0: PLENTY, 1: PLENTY})
    assert config.to_dict() == before


@needs_accelerate
def test_weights_loaded_to_their_places_are_those_loaded_at_once(
    foreign_source, foreign_pair_live, monkeypatch
):
    def on_the_cpu(config, dtype, free):
        spread = balanced(config, dtype, free)
        return Spread(spread.skeleton, dict.fromkeys(spread.gpus, "cpu"))

    monkeypatch.setattr("merit_opt.models.source.balanced", on_the_cpu)
    monkeypatch.setattr(
        "merit_opt.models.source.free_memory", lambda: dict.fromkeys((0, 1), PLENTY)
    )
    pair = foreign_source.load("balanced", "device")
    assert device_bits(pair.model) == device_bits(foreign_pair_live.model)
    assert pair.model.lm_head.weight is pair.model.get_input_embeddings().weight
