"""Which module goes to which GPU, and how what is there is loaded."""

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

from merit_opt.errors import UserError
from merit_opt.models.spread import Plan, Share, Spread, balanced, free_memory, planned

SMALL = 1_500_000
PLENTY = 10**9

needs_accelerate = pytest.mark.skipif(
    find_spec("accelerate") is None, reason="accelerate is not installed"
)


@pytest.fixture(scope="module")
def config(tiny_source):
    return tiny_source.vlm_config


@pytest.fixture
def gpus(monkeypatch):
    """So many bytes free on each."""

    def with_free(*sizes):
        monkeypatch.setattr("torch.cuda.device_count", lambda: len(sizes))
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda gpu: (sizes[gpu], PLENTY))

    return with_free


@pytest.fixture
def plan(tiny_source):
    """Of the tiny pair in float32, by device and place of the backbone's attention."""

    def of(device, backbone="device"):
        alignment = tiny_source.alignment
        return planned(tiny_source.vlm_config, torch.float32, alignment, device, backbone)

    return of


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
    said = (
        r"takes 4\.7 MiB and does not fit what is free, 976\.6 KiB on cuda:0, 1\.9 MiB on cuda:1: "
    )
    with pytest.raises(UserError, match=said):
        balanced(config, torch.float32, {0: 1_000_000, 1: 2_000_000})


@needs_accelerate
def test_nothing_is_said_of_the_configuration(config):
    before = config.to_dict()
    balanced(config, torch.float16, {0: PLENTY, 1: PLENTY})
    assert config.to_dict() == before


@needs_accelerate
def test_weights_loaded_to_their_places_are_those_loaded_at_once(
    foreign_source, foreign_pair_live, gpus, monkeypatch
):
    def on_the_cpu(*asked):
        plan = planned(*asked)
        return replace(plan, gpus=dict.fromkeys(plan.gpus, "cpu"))

    gpus(PLENTY, PLENTY)
    monkeypatch.setattr("merit_opt.models.source.planned", on_the_cpu)
    pair = foreign_source.load("balanced", "device")
    assert device_bits(pair.model) == device_bits(foreign_pair_live.model)
    assert pair.model.lm_head.weight is pair.model.get_input_embeddings().weight


def test_a_plan_for_the_cpu_asks_no_gpu(plan, monkeypatch):
    monkeypatch.setattr("torch.cuda.mem_get_info", pytest.fail)
    assert plan("cpu").shares == ()
    plan("cpu").require_room()


@pytest.mark.parametrize(("device", "gpu"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2)])
def test_one_gpu_takes_everything_and_is_asked_alone(plan, tiny_source, monkeypatch, device, gpu):
    monkeypatch.setattr("torch.cuda.mem_get_info", {gpu: (SMALL, PLENTY)}.__getitem__)
    skeleton = tiny_source.vlm_skeleton
    layers = [layer.self_attn for layer in skeleton.get_decoder().layers]
    whole, attention = (
        4 * sum(p.numel() for part in parts for p in part.parameters())
        for parts in ([skeleton], layers)
    )
    assert plan(device) == Plan(None, (Share(gpu, whole, attention, 2, SMALL),))
    assert plan(device, "host").shares[0].wanted == whole + attention


def test_room_is_had_to_the_byte(plan, gpus):
    gpus(PLENTY)
    for backbone in ("device", "host"):
        wanted = plan("cuda:0", backbone).shares[0].wanted
        gpus(wanted)
        plan("cuda:0", backbone).require_room()
        gpus(wanted - 1)
        with pytest.raises(
            UserError, match=r"^cuda:0 has .* free, too little for 4\.7 MiB of the VLM"
        ):
            plan("cuda:0", backbone).require_room()


def test_the_host_is_advised_only_where_that_helps(gpus, plan):
    for free, backbone, helps in (
        (7_000_000, "device", True),
        (6_000_000, "device", False),
        (6_000_000, "host", False),
    ):
        gpus(free)
        with pytest.raises(UserError) as refused:
            plan("cuda:0", backbone).require_room()
        assert "use a larger GPU, or several (device=balanced)" in str(refused.value)
        assert ("or engine.backbone=host" in str(refused.value)) is helps


@needs_accelerate
def test_a_plan_for_several_is_the_spread_over_them(plan, gpus, config, tiny_source):
    gpus(PLENTY, PLENTY)
    spread, found = balanced(config, torch.float32, {0: PLENTY, 1: PLENTY}), plan("balanced")
    assert found.gpus == spread.gpus
    assert {s.gpu: s.weights for s in found.shares} == spread.weights()
    assert {s.gpu: s.attention for s in found.shares} == spread.attention(tiny_source.alignment)


@pytest.mark.parametrize("device", ["cuda:0", pytest.param("balanced", marks=needs_accelerate)])
def test_no_weights_load_where_the_attention_beside_them_has_no_room(
    tiny_source, gpus, monkeypatch, device
):
    gpus(*[5_500_000] if device == "cuda:0" else [3_300_000] * 2)
    monkeypatch.setattr("merit_opt.models.source._load_vlm", pytest.fail)
    with pytest.raises(
        UserError, match=r"too little for .* of the VLM and 2 x .* of self-attention"
    ):
        tiny_source.load(device, "device")


def test_memory_that_this_process_holds_unused_is_free(gpus, monkeypatch):
    gpus(1000)
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda gpu: 300)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda gpu: 100)
    assert free_memory([0]) == {0: 1200}


def test_a_gpu_that_does_not_answer_is_named(monkeypatch):
    def broken(_):
        raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be")

    monkeypatch.setattr("torch.cuda.mem_get_info", broken)
    with pytest.raises(
        UserError, match=r"^cuda:3 does not say .* free: CUDA error: out of memory"
    ):
        free_memory([3])


@pytest.mark.parametrize("culprit", ["_load_vlm", "waiting_weights"])
def test_a_gpu_that_fills_up_while_weights_load_is_told_in_a_sentence(
    tiny_source, monkeypatch, culprit
):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 1 has")

    monkeypatch.setattr(f"merit_opt.models.source.{culprit}", full)
    with pytest.raises(UserError, match=r"^a GPU ran out .* loaded: CUDA out .* GPU 1 has; end "):
        tiny_source.load("cpu", "device")
