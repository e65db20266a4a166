"""A model on several devices answers as on one, whoever moves what goes through it.

On the CPU accelerate's hooks are in their places and move nothing; on pretended devices whatever
meets must lie on one.
"""

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

from merit_opt.data.suite import Decoding
from merit_opt.evaluation.engine import Engine
from merit_opt.evaluation.masking import Masking
from merit_opt.models.flops import SIDE
from merit_opt.models.gradient import backbone_of, feature_gradients, passed, slopes
from merit_opt.models.live import LiveMerge
from merit_opt.models.waiting import waiting_weights
from merit_opt.recipe.constructors import attention, base, full
from merit_opt.recipe.intervention import Intervention
from merit_opt.recipe.recipe import PARTS
from tests.devices import KIND, Claiming, pretending, scatter

RECIPE = attention(9, {1: 0.3, 8: 0.9})
EVERY_LAYER = dict.fromkeys(range(9), 1 / 9)
LAYERS = [f"model.language_model.layers.{i}" for i in range(9)]
# As transformers has it, rotary tables and the final norm lie on the last one.
LAST = {"model.language_model.norm": 2, "model.language_model.rotary_emb": 2}
IN_ORDER = {**{layer: i // 3 for i, layer in enumerate(LAYERS)}, **LAST}
IN_TURNS = {**{layer: (i + 1) % 3 for i, layer in enumerate(LAYERS)}, **LAST}
VISION_SPLIT = {**IN_ORDER, "model.visual.blocks.1": 1, "model.visual.merger": 2}

needs_accelerate = pytest.mark.skipif(
    find_spec("accelerate") is None, reason="accelerate is not installed"
)


def hook(model, places):
    from accelerate import dispatch_model

    rest = (
        name
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
        and not name.startswith(tuple(places))
    )
    dispatch_model(
        model,
        dict.fromkeys((*places, *rest), "cpu"),
        main_device="cpu",
        skip_keys=model._skip_keys_device_placement,
        force_hooks=True,
    )


def pair_on(source, places, *, hooked):
    """A pair of its own, each module where `places` says and all others on the first device."""
    pair = source.load("cpu", "device")
    if hooked:
        hook(pair.model, places)
    scatter(pair.model, places)
    waiting = waiting_weights(source.stored.backbone, pair.model, "device")
    return replace(pair, live=LiveMerge(pair.model, waiting, None, pair.alignment))


@pytest.fixture
def clip(small_suite):
    """The questions about the first clip."""
    return small_suite.only(s.id for s in small_suite.samples[:5])


@pytest.fixture
def pretended(monkeypatch):
    monkeypatch.setitem(SIDE, KIND, 8)
    with pretending():
        yield


def bits(model):
    tensors = [*model.named_parameters(), *model.named_buffers()]
    plain = ((name, t.values if isinstance(t, Claiming) else t) for name, t in tensors)
    return {name: t.detach().numpy().tobytes() for name, t in plain}


def scores(pair, suite, settings, cache, told, *, speaking):
    """Of recipes, with starts between layers, of a mask by means, and of words."""
    asked = replace(suite.asking, scorer="generate", decoding=Decoding("greedy", 2))
    masking = Masking(Intervention((6,), "mlp", "mean"), suite)
    roomy = replace(settings, levels_gib=0.1)
    with Engine(pair, roomy, cache=cache, starts=EVERY_LAYER, reporter=told) as engine:
        found = [engine.evaluate(r, suite) for r in (RECIPE, full(9, 0.5), base(9))]
        found.append(engine.evaluate(RECIPE, suite, masking))
        if speaking:
            found.append(engine.evaluate(RECIPE, replace(suite, asking=asked)))
    assert told.warnings == []
    return [(one.recipe, one.scores) for one in found]


@needs_accelerate
def test_hooks_of_accelerate_change_no_bit(
    foreign_source, foreign_pair_live, clip, settings, told, tmp_path
):
    pair = foreign_source.load("cpu", "device")
    own = bits(pair.model)
    hook(pair.model, {**IN_ORDER, "model.visual": 0})
    found = scores(pair, clip, settings, tmp_path / "hooked", told, speaking=True)
    plain = scores(foreign_pair_live, clip, settings, tmp_path / "plain", told, speaking=True)
    assert found == plain
    assert bits(pair.model) == own


@pytest.fixture
def alone(foreign_source, pretended):
    """The pair, all of it on one pretended device."""
    return pair_on(foreign_source, {}, hooked=False)


SPREADS = [
    pytest.param(IN_ORDER, False, id="in order"),
    pytest.param(IN_TURNS, False, id="in turns"),
    pytest.param(IN_ORDER, True, id="hooked", marks=needs_accelerate),
    pytest.param(VISION_SPLIT, True, id="vision split", marks=needs_accelerate),
]


@pytest.mark.parametrize(("places", "hooked"), SPREADS)
def test_scores_on_three_devices_are_those_on_one(
    foreign_source, alone, places, hooked, clip, settings, told, tmp_path
):
    spread = pair_on(foreign_source, places, hooked=hooked)
    assert {device.index for device in spread.devices} == {0, 1, 2}
    own = bits(spread.model)
    speaking = hooked  # the stock path leaves moving to accelerate
    found = scores(spread, clip, settings, tmp_path / "spread", told, speaking=speaking)
    assert found == scores(alone, clip, settings, tmp_path / "one", told, speaking=speaking)
    assert bits(spread.model) == own


@pytest.mark.parametrize(("places", "hooked"), SPREADS[:3])
def test_gradients_on_three_devices_are_those_on_one(
    foreign_source, alone, small_packs, places, hooked
):
    def first_label(rows):
        return [torch.stack([row[0] for row in rows]).sum()]

    def found(pair):
        way = passed(pair, small_packs[0])
        (of_features,) = feature_gradients(pair, way, first_label)
        (of_layers,) = slopes(pair, way, backbone_of(pair, PARTS), first_label)
        return of_layers, [level.tolist() for level in of_features]

    assert found(pair_on(foreign_source, places, hooked=hooked)) == found(alone)


def test_pretended_devices_are_told_apart(pretended):
    one, other = (torch.ones(2).to(f"{KIND}:{i}") for i in (0, 1))
    assert (one + other.to(one.device)).tolist() == [2.0, 2.0]
    for mixed in (lambda: one + other, lambda: one + torch.ones(2), lambda: one.add_(other)):
        with pytest.raises(RuntimeError, match="meets tensors on"):
            mixed()
