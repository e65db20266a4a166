"""The first-order screen against finite differences of what the engine measures."""

from dataclasses import replace

import pytest
import torch

from merit_opt.data.suite import Decoding, Roles
from merit_opt.errors import TrialFailed, UserError
from merit_opt.evaluation import screen as screen_module
from merit_opt.evaluation.evaluation import role_means
from merit_opt.models.alignment import layer_tensor
from merit_opt.models.gradient import passed
from merit_opt.models.tiny.pair import tiny_pair
from merit_opt.recipe.constructors import base, full, uniform
from merit_opt.recipe.recipe import PARTS, LayerMerge, Recipe
from merit_opt.recipe.rules import lerp

ROLES = ("TR", "TP")
STEP = 5e-4
RELATIVE, ABSOLUTE = 0.02, 0.02


def close(number):
    """At this step differences of float32 margins are off by some 1e-2; kinks forbid larger ones."""
    return pytest.approx(number, rel=RELATIVE, abs=ABSOLUTE)


def moved(recipe, layers, parts, by):
    """The recipe with these parts' coefficients in these layers raised."""
    changed = list(recipe.layers)
    for layer in layers:
        own = {part: recipe.coefficients(part).get(layer, 0.0) for part in PARTS}
        rules = {p: lerp(c + by * (p in parts)) for p, c in own.items()}
        changed[layer] = LayerMerge(**rules)
    return Recipe(tuple(changed))


def measured(asked, recipe, suite):
    return role_means(asked.evaluate(recipe, suite), suite, "margin")


def forward_difference(asked, suite, layers, parts):
    """At the unmerged VLM, where no coefficient is below 0: of second order all the same."""
    at = [measured(asked, moved(base(9), layers, parts, n * STEP), suite) for n in range(3)]
    return {r: (-3 * at[0][r] + 4 * at[1][r] - at[2][r]) / (2 * STEP) for r in ROLES}


def central_difference(asked, suite, recipe, layers, parts):
    below, above = (
        measured(asked, moved(recipe, layers, parts, by), suite) for by in (-STEP, STEP)
    )
    return {r: (above[r] - below[r]) / (2 * STEP) for r in ROLES}


@pytest.fixture
def foreign(engine, foreign_pair_live):
    return engine(pair=foreign_pair_live)


@pytest.mark.parametrize("part", PARTS)
def test_the_slope_of_every_layer_s_part_is_the_finite_difference(foreign, few, part):
    found = foreign.screen(base(9), few, [part])
    for layer in range(9):
        expected = forward_difference(foreign, few, [layer], [part])
        for role in ROLES:
            assert found.of(role, layer, PARTS) == close(expected[role]), (layer, role)


def test_slopes_at_a_merged_model_are_central_differences(foreign, few):
    half = full(9, 0.5)
    found = foreign.screen(half, few, PARTS)
    for part in PARTS:
        for layer in (0, 4, 8):
            expected = central_difference(foreign, few, half, [layer], [part])
            for role in ROLES:
                assert found.of(role, layer, [part]) == close(expected[role]), (layer, role)


def test_slopes_of_parts_and_layers_add_up_to_that_of_moving_them_together(foreign, few):
    found = foreign.screen(base(9), few, PARTS)
    for layers, parts in (([2], PARTS), (range(9), ["attention"]), ([1, 7], ["mlp", "norm"])):
        expected = forward_difference(foreign, few, layers, parts)
        for role in ROLES:
            total = found.total(role, lambda t: t.layer in layers and t.part in parts)  # noqa: B023
            assert total == close(expected[role]), (layers, role)


def test_there_is_a_slope_of_every_tensor_asked_about_and_of_no_other(foreign, few):
    found = foreign.screen(base(9), few, ["attention"])
    tensors = foreign._pair.alignment.tensors
    for role in ROLES:
        assert list(found.slopes[role]) != []
        assert set(found.slopes[role]) == {t for t in tensors if t.part == "attention"}


ASKED = {
    "letters": {},
    "letters in four orders": {"permutations": 4},
    "texts": {"scorer": "option_loglik"},
    "texts in two orders": {"scorer": "option_loglik", "permutations": 2},
}


@pytest.mark.parametrize("how", ASKED)
def test_its_margins_are_the_engine_s_however_samples_are_asked(engine, few, how):
    asked, suite = engine(), replace(few, asking=replace(few.asking, **ASKED[how]))
    found = asked.screen(uniform(9, 0.3), suite, ["attention"])
    expected = measured(asked, uniform(9, 0.3), suite)
    assert found.margins == {role: pytest.approx(expected[role], abs=1e-5) for role in ROLES}
    assert found.samples == {"TR": 9, "TP": 6}


@pytest.mark.parametrize("how", ASKED)
def test_slopes_are_finite_differences_however_samples_are_asked(engine, few, how):
    asked, suite = engine(), replace(few, asking=replace(few.asking, **ASKED[how]))
    found = asked.screen(uniform(9, 0.3), suite, ["attention"])
    expected = central_difference(asked, suite, uniform(9, 0.3), [3], ["attention"])
    for role in ROLES:
        assert found.of(role, 3, ["attention"]) == close(expected[role])


def test_a_model_that_speaks_freely_has_no_slope(engine, few):
    asking = replace(few.asking, scorer="generate", decoding=Decoding("greedy", 8))
    suite = replace(few, asking=asking)
    with pytest.raises(UserError, match=r"suite\.scorer=generate gives none"):
        engine().screen(base(9), suite, ["attention"])


@pytest.mark.parametrize("name", ["vlm_planted_3_5", "vlm_planted_3_6"])
def test_the_planted_layers_come_first(engine, small_suite, name):
    pair = tiny_pair(vlm=name, dtype="float32").load("cpu", "device")
    found = engine(pair=pair).screen(base(9), small_suite, ["attention"])
    slopes = {layer: found.of("TR", layer, PARTS) for layer in range(9)}
    ranked = sorted(slopes, key=slopes.__getitem__, reverse=True)
    assert sorted(ranked[:2]) == [int(part) for part in name.split("_")[2:]]


def state(model):
    return {
        name: (p.detach().clone(), p.requires_grad, p.grad) for name, p in model.named_parameters()
    }


def assert_same(before, after):
    assert before.keys() == after.keys()
    for name, (values, wanted, _) in before.items():
        assert torch.equal(values, after[name][0]), name
        assert (wanted, after[name][1:]) == (after[name][1], (wanted, None))


def test_the_model_is_as_it_was(engine, few, tiny_pair_live):
    before = state(tiny_pair_live.model)
    asked = engine()
    asked.screen(base(9), few, PARTS)
    assert_same(before, state(tiny_pair_live.model))
    asked.screen(uniform(9, 0.5), few, ["attention"])
    engine()
    assert_same(before, state(tiny_pair_live.model))


def test_evaluations_are_the_same_after_it(engine, few):
    fresh = engine(cache="one").evaluate(uniform(9, 0.5), few)
    asked = engine(cache="two", levels_gib=1.0, starts={3: 1.0})
    asked.screen(base(9), few, ["attention"])
    assert asked.evaluate(uniform(9, 0.5), few) == fresh


def test_a_slope_that_is_not_finite_names_its_layer_and_leaves_the_model_alone(
    engine, few, tiny_pair_live, monkeypatch
):
    before = state(tiny_pair_live.model)
    asked, broken = engine(), tiny_pair_live.alignment.tensors[0]
    chosen = next(t for t in tiny_pair_live.alignment.tensors if t.layer == 4)
    values = {chosen: torch.full_like(layer_tensor(tiny_pair_live.model, chosen), torch.inf)}
    monkeypatch.setattr(
        screen_module,
        "backbone_of",
        lambda pair, parts: {broken: pair.live.ends(broken)[1]} | values,
    )
    with pytest.raises(TrialFailed, match=r"not finite in layer 4$"):
        asked.screen(base(9), few, ["attention"])
    assert_same(before, state(tiny_pair_live.model))


def refusing(monkeypatch, most):
    """Packs of more than `most` questions do not fit."""
    sizes = []

    def limited(pair, pack):
        sizes.append(len(pack.questions))
        if len(pack.questions) > most:
            raise torch.OutOfMemoryError("no room")
        return passed(pair, pack)

    monkeypatch.setattr(screen_module, "passed", limited)
    return sizes


@pytest.mark.parametrize("permutations", [1, 2])
def test_a_pack_that_does_not_fit_is_halved_between_samples(
    engine, few, told, monkeypatch, permutations
):
    suite = replace(few, asking=replace(few.asking, permutations=permutations))
    asked = engine()
    whole = asked.screen(base(9), suite, ["attention"])
    sizes = refusing(monkeypatch, 3 * permutations)
    halved = asked.screen(base(9), suite, ["attention"])
    assert sizes == [n * permutations for n in (5, 2, 3)] * 3
    assert len(told.warnings) == 3
    assert halved.samples == whole.samples
    for role in ROLES:
        for layer in range(9):
            expected = pytest.approx(whole.of(role, layer, PARTS), rel=1e-3, abs=1e-4)
            assert halved.of(role, layer, PARTS) == expected


def test_a_pack_that_does_not_fit_by_halves_fails(engine, few, monkeypatch):
    refusing(monkeypatch, 1)
    with pytest.raises(TrialFailed, match="out of memory for gradients, with half"):
        engine().screen(base(9), few, ["attention"])


def test_a_role_without_samples_has_no_slopes(engine, few):
    only = replace(few, roles=Roles(few.roles.category, dict.fromkeys(few.roles.of, "TR")))
    found = engine().screen(base(9), only, ["attention"])
    assert set(found.slopes) == set(found.margins) == {"TR"}
    assert found.of("TP", 3, PARTS) == 0.0


def test_its_bill_counts_its_own_forward_as_one_evaluation(engine, few):
    found = engine().screen(base(9), few, ["attention"])
    assert found.bill == found.seconds / found.forward_seconds
    assert found.bill > 1.0
