"""What the contract tests hold of every family on a CPU, on a GPU."""

import random
import shutil
from dataclasses import replace

import pytest
import torch

from merit_opt.evaluation.engine import Engine
from merit_opt.recipe.constructors import attention, base
from tests.contracts.stock import (
    ROUNDING,
    furthest,
    random_recipe,
    some_layers,
    tensors_of,
    unlike,
)
from tests.contracts.test_packs import BF16_RATIO, bfloat16_errors, largest_difference
from tests.unit.evaluation.conftest import SETTINGS, Told

DEVICE = "cuda:0"
SWITCHES = 12
CPU_ROUNDING = 1e-4
pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="this machine has no CUDA device"
)


@pytest.fixture(autouse=True)
def full_precision():
    """Torch rounds convolutions of float32 to TF32 by default."""
    settings = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    before = [one.fp32_precision for one in settings]
    for one in settings:
        one.fp32_precision = "ieee"
    yield
    for one, own in zip(settings, before, strict=True):
        one.fp32_precision = own


def on_host(model):
    return {
        name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors_of(model).items()
    }


def test_a_pack_answers_as_the_stock_forward_on_the_same_gpu(
    source, small_suite, clips, record_property
):
    pair = source.load(DEVICE, "device")
    found = largest_difference(pair, small_suite, list(clips.values())[:2])
    record_property("largest difference", found)
    assert found <= ROUNDING


def test_in_bfloat16_a_pack_is_as_near_to_float32_as_the_stock_forward(
    source, small_suite, clips, record_property
):
    pair = replace(source, dtype="bfloat16").load(DEVICE, "device")
    ours, stock = bfloat16_errors(pair, small_suite, list(clips.values())[:3])
    record_property("errors, ours and stock", (ours, stock))
    assert stock > 1e-3
    assert ours <= BF16_RATIO * stock


@pytest.mark.parametrize("backbone", ["device", "host"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_merges_are_those_of_the_cpu_and_lead_back(source, dtype, backbone):
    asked, rng = replace(source, dtype=dtype), random.Random(SWITCHES)
    pair, reference = asked.load(DEVICE, backbone), asked.load("cpu", "device")
    own = on_host(pair.model)
    assert unlike(own, on_host(reference.model)) == []
    with pair.switching() as switch, reference.switching() as expected:
        for _ in range(SWITCHES):
            recipe = random_recipe(pair.n_layers, rng, pair.alignment.parts)
            assert unlike(on_host(switch(recipe)), on_host(expected(recipe))) == []
        assert unlike(on_host(pair.model), own) != []
    assert unlike(on_host(pair.model), own) == []


def evaluated(pair, suite, folder, starts):
    """Scores of recipes of ever later first layers, and what the last one skipped."""
    last = pair.n_layers - 1
    recipes = [base(last + 1), some_layers(pair), attention(last + 1, {last: 0.5})]
    settings = replace(SETTINGS, levels_gib=0.1)
    with Engine(pair, settings, cache=folder, starts=starts, reporter=Told()) as engine:
        found = [engine.evaluate(recipe, suite) for recipe in recipes]
    shutil.rmtree(folder / "evaluations")
    return [score for one in found for score in one.scores], found[-1].cost.layers_skipped


@pytest.mark.parametrize("source", ["qwen2_5_vl"], indirect=True)
def test_an_evaluation_is_that_of_the_cpu(source, small_suite, tmp_path, record_property):
    few = small_suite.only(s.id for s in small_suite.samples[:15])
    rows = []
    for device in (DEVICE, "cpu"):
        pair, folder = source.load(device, "device"), tmp_path / device.partition(":")[0]
        last = pair.n_layers - 1
        kept, skipped = evaluated(pair, few, folder, {last: 1.0})
        plain, none = evaluated(pair, few, folder, {})
        assert kept == plain
        assert (skipped, none) == (pytest.approx(last / pair.n_layers), 0.0)
        rows.append([score.log_probability for score in kept])
    record_property("furthest from the CPU", furthest(*rows))
    assert furthest(*rows) <= CPU_ROUNDING
