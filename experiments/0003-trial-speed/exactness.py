"""How near the engine is to stock transformers, and whether it repeats itself bit for bit."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from bench import SETTINGS, Reporter, Say, differences
from material import Material
from peers import Stock, Weights
from transformers import AutoModelForCausalLM

from merit_opt.data.suite import Suite
from merit_opt.evaluation.engine import Engine
from merit_opt.evaluation.evaluation import Evaluation, Score
from merit_opt.models.pair import ModelPair
from merit_opt.models.source import folder_pair
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe

SWITCHES = 60
FEW_VIDEOS = 3


def exactness(material: Material, suite: Suite, folder: Path, say: Say) -> dict[str, Any]:
    """Every figure of exactness, on pairs of its own."""
    single = folder_pair(material.vlm, material.backbone, "float32").load("cpu", "device")
    half = folder_pair(material.vlm, material.backbone, "bfloat16").load("cpu", "device")
    few = first_videos(suite, FEW_VIDEOS)
    recipes = some_recipes(single.n_layers)
    say("exactness: float32 against the stock forward")
    found: dict[str, Any] = {
        "questions": len(suite.samples),
        "float32_largest_difference": float32_difference(
            single, material, suite, recipes, folder / "single"
        ),
    }
    say("exactness: bfloat16 against float32")
    found |= bfloat16_errors(half, single, material, few, folder / "half")
    one = first_videos(suite, 1)
    layers = single.n_layers
    some = (1, layers // 3, layers - 1)
    for name, pair, starts in (("float32", single, range(1, layers)), ("bfloat16", half, some)):
        say(f"exactness: start at f, rerun and {SWITCHES} switches in {name}")
        found |= {
            f"{name}_starts_tried": list(starts),
            f"{name}_start_at_f_equals_start_at_0": starts_agree(pair, one, starts, folder / name),
            f"{name}_rerun_bit_equal": rerun_agrees(pair, one, folder / name),
            f"{name}_bit_equal_after_{SWITCHES}_switches": switches_back(pair),
        }
    return found


def first_videos(suite: Suite, count: int) -> Suite:
    """The questions about the first `count` videos."""
    groups = list(dict.fromkeys(s.group_id for s in suite.samples))[:count]
    return suite.only(s.id for s in suite.samples if s.group_id in groups)


def some_recipes(n_layers: int) -> list[Recipe]:
    """The unmerged VLM, and half of the layers merged."""
    rng = Random(1)
    merged = {layer: rng.uniform(0.1, 1.0) for layer in range(0, n_layers, 2)}
    return [constructors.base(n_layers), constructors.attention(n_layers, merged)]


def float32_difference(
    pair: ModelPair, material: Material, suite: Suite, recipes: Sequence[Recipe], cache: Path
) -> float:
    """Greatest over all questions and recipes, between engine and ``model(**inputs)``."""
    source = folder_pair(material.vlm, material.backbone, "float32")
    other = source.load("cpu", "device")
    donor = AutoModelForCausalLM.from_pretrained(material.backbone, dtype=torch.float32)
    weights, stock = Weights.of(other.model, donor), Stock(other, suite)
    found: list[float] = []
    for recipe in recipes:
        weights.apply(recipe)
        (ours,) = evaluations(pair, suite, [recipe], cache)
        found += differences(suite, ours, stock.answers(other.model))
    return max(map(abs, found))


def bfloat16_errors(
    half: ModelPair, single: ModelPair, material: Material, suite: Suite, cache: Path
) -> dict[str, Any]:
    """Root mean square against float32 arithmetic on the same bfloat16 weights."""
    _, recipe = some_recipes(half.n_layers)
    (ours,) = evaluations(half, suite, [recipe], cache)
    with half.merged(recipe) as model:
        stock = Stock(half, suite).answers(model)
        with torch.no_grad():
            for exact, rounded in zip(single.model.parameters(), model.parameters(), strict=True):
                exact.copy_(rounded)
    reference = Stock(single, suite).answers(single.model)
    restore(single, material)
    right = {s.id: s.answer for s in suite.samples}
    of_stock = rms(stock[i][a] - reference[i][a] for i, a in right.items())
    of_engine = rms(differences(suite, ours, reference))
    return {
        "bfloat16_questions": len(suite.samples),
        "bfloat16_rms_error_stock": of_stock,
        "bfloat16_rms_error_engine": of_engine,
        "bfloat16_rms_ratio": of_engine / of_stock,
    }


def restore(pair: ModelPair, material: Material) -> None:
    """The checkpoint's weights again."""
    fresh = folder_pair(material.vlm, material.backbone, "float32").load("cpu", "device")
    with torch.no_grad():
        for own, other in zip(pair.model.parameters(), fresh.model.parameters(), strict=True):
            own.copy_(other)


def rms(errors: Any) -> float:
    """Root of the mean square."""
    values = list(errors)
    return math.sqrt(math.fsum(e * e for e in values) / len(values))


def evaluations(
    pair: ModelPair,
    suite: Suite,
    recipes: Sequence[Recipe],
    cache: Path,
    starts: Sequence[int] = (),
) -> list[Evaluation]:
    """Through one engine, none of them from its cache of evaluations."""
    shutil.rmtree(cache / "evaluations", ignore_errors=True)
    levels = dict.fromkeys(starts, 1.0)
    with Engine(pair, SETTINGS, cache=cache, starts=levels, reporter=Reporter(print)) as engine:
        return [engine.evaluate(recipe, suite) for recipe in recipes]


def scores(found: Sequence[Evaluation]) -> list[tuple[Score, ...]]:
    """What was measured, without what it cost."""
    return [e.scores for e in found]


def starts_agree(pair: ModelPair, suite: Suite, layers: Sequence[int], cache: Path) -> bool:
    """Whether kept hidden states change no bit, whichever layer the recipe begins at."""
    rng = Random(2)
    recipes = [constructors.base(pair.n_layers)] + [
        constructors.attention(
            pair.n_layers, {k: rng.uniform(0.1, 1.0) for k in range(first, pair.n_layers)}
        )
        for first in layers
    ]
    from_0 = evaluations(pair, suite, recipes, cache)
    from_f = evaluations(pair, suite, recipes, cache, starts=tuple(layers))
    skipped = [e.cost.layers_skipped for e in from_f if e.cost is not None]
    return scores(from_0) == scores(from_f) and skipped[1:] == [k / pair.n_layers for k in layers]


def rerun_agrees(pair: ModelPair, suite: Suite, cache: Path) -> bool:
    """Whether the same recipe gives the same bits again."""
    _, recipe = some_recipes(pair.n_layers)
    runs = [evaluations(pair, suite, [recipe], cache) for _ in range(2)]
    return scores(runs[0]) == scores(runs[1])


def switches_back(pair: ModelPair) -> bool:
    """Whether random switches and the way back leave parameters and buffers as they were."""
    before = state(pair.model)
    rng = Random(3)
    with pair.switching() as switch:
        for _ in range(SWITCHES):
            chosen = [k for k in range(pair.n_layers) if rng.random() < 0.5]
            switch(constructors.attention(pair.n_layers, {k: rng.random() for k in chosen}))
        moved = any(not torch.equal(before[k], v) for k, v in state(pair.model).items())
    after = state(pair.model)
    return (
        moved
        and before.keys() == after.keys()
        and all(torch.equal(before[k], after[k]) for k in before)
    )


def state(model: Any) -> dict[str, torch.Tensor]:
    """Copies of parameters and of all buffers, kept in checkpoints or not."""
    named = (*model.named_parameters(), *model.named_buffers())
    return {name: tensor.detach().clone() for name, tensor in named}
