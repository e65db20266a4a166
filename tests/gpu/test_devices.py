"""What only a GPU can show: run where there is one, skipped with a reason elsewhere."""

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

from merit_opt.data.suite import Decoding
from merit_opt.evaluation.engine import Engine
from merit_opt.models.alignment import layer_tensor
from merit_opt.models.forward import embed, finish, read_answers
from merit_opt.models.gradient import backbone_of, passed, slopes
from merit_opt.models.live import LiveMerge
from merit_opt.recipe.constructors import attention, base, full
from merit_opt.recipe.recipe import PARTS
from tests.unit.evaluation.conftest import SETTINGS, Told

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="this machine has no CUDA device"
)
RECIPE = attention(9, {1: 0.3, 8: 0.9})


@torch.no_grad()
def answers(pair, pack):
    with pair.merged(RECIPE):
        return read_answers(pair, pack, finish(pair, pack, embed(pair, pack), 0))


def bits(model):
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: t.detach().cpu().numpy().tobytes() for name, t in tensors}


@pytest.mark.parametrize("backbone", ["device", "host"])
def test_switches_on_a_gpu_equal_those_on_the_cpu(foreign_source, foreign_pair_live, backbone):
    pair = foreign_source.load("cuda:0", backbone)
    own = bits(pair.model)
    for recipe in (RECIPE, full(9, 0.5), attention(9, {1: 0.3})):
        with foreign_pair_live.merged(recipe) as reference:
            expected = bits(reference)
        with pair.merged(recipe) as model:
            assert bits(model) == expected
    assert bits(pair.model) == own


def test_a_backbone_on_the_host_is_pinned(foreign_source):
    pair = foreign_source.load("cuda:0", "host")
    resident = pair.live._backbone.resident
    assert {tensor.part for tensor in resident} == {"attention"}
    assert all(tensor.is_pinned() for tensor in resident.values())


@pytest.mark.parametrize("backbone", ["device", "host"])
def test_slopes_on_a_gpu_are_those_of_the_cpu(
    foreign_source, foreign_pair_live, small_packs, backbone
):
    def first_label(rows):
        return [torch.stack([row[0] for row in rows]).sum().cpu()]

    found = []
    for pair in (foreign_pair_live, foreign_source.load("cuda:0", backbone)):
        goals = backbone_of(pair, PARTS)
        found += slopes(pair, passed(pair, small_packs[0]), goals, first_label)
    for tensor, slope in found[0].items():
        assert found[1][tensor] == pytest.approx(slope, rel=1e-2, abs=1e-3)


two_gpus = pytest.mark.skipif(
    torch.cuda.device_count() < 2, reason="this machine has no second CUDA device"
)


@two_gpus
@pytest.mark.skipif(find_spec("accelerate") is None, reason="accelerate is not installed")
@pytest.mark.parametrize("backbone", ["device", "host"])
def test_a_model_spread_over_gpus_is_the_model_on_one(
    foreign_source, small_packs, small_suite, tmp_path, backbone
):
    few = small_suite.only(s.id for s in small_suite.samples[:15])
    asked = replace(few.asking, scorer="generate", decoding=Decoding("greedy", 2))
    found = []
    for device in ("cuda:0", "balanced"):
        pair = foreign_source.load(device, backbone)
        own = bits(pair.model)
        roomy, every = replace(SETTINGS, levels_gib=0.1), dict.fromkeys(range(9), 1 / 9)
        cache = tmp_path / device.replace(":", "")
        with Engine(pair, roomy, cache=cache, starts=every, reporter=Told()) as engine:
            rows = [engine.evaluate(r, few).scores for r in (RECIPE, full(9, 0.5), base(9))]
            rows.append(engine.evaluate(RECIPE, replace(few, asking=asked)).scores)
        assert bits(pair.model) == own
        found.append((own, answers(pair, small_packs[0]), rows))
    assert len(pair.devices) > 1
    assert found[0] == found[1]


@two_gpus
def test_layers_on_two_devices_answer_as_on_one(foreign_source, small_packs):
    pair = foreign_source.load("cuda:0", "device")
    expected = answers(pair, small_packs[0])
    for layer in pair.model.get_decoder().layers[5:]:
        layer.to("cuda:1")
    waiting = pair.live._backbone
    placed = {t: w.to(layer_tensor(pair.model, t).device) for t, w in waiting.resident.items()}
    spread = LiveMerge(pair.model, replace(waiting, resident=placed), None, pair.alignment)
    object.__setattr__(pair, "live", spread)
    assert answers(pair, small_packs[0]) == expected
