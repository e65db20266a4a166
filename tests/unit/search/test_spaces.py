"""What single search spaces propose, and which settings they refuse."""

import numpy as np
import pytest
from optuna.trial import FixedTrial

from merit_opt.errors import UserError
from merit_opt.recipe.constructors import attention, per_layer
from merit_opt.recipe.rules import rule_from
from merit_opt.search.spaces import Grouped, Layerwise, Merit, Smooth, Uniform, all_on
from merit_opt.search.spaces.limits import LayerSpan, Limits, limits

LAYERS = 6


def suggested(space, **params):
    return space.suggest(FixedTrial(params))


def layerwise(space, coefficients):
    params = {}
    for layer, coefficient in coefficients.items():
        params[f"L{layer:02d}.mask"] = int(coefficient > 0)
        params[f"L{layer:02d}.coefficient"] = coefficient or 0.5
    return suggested(space, **params)


@pytest.mark.parametrize(
    ("most", "kept"),
    [(1, [4]), (2, [1, 4]), (3, [1, 3, 4]), (4, [0, 1, 3, 4]), (5, [0, 1, 2, 3, 4])],
)
def test_the_largest_coefficients_stay_on_and_the_deeper_of_equals(most, kept):
    wanted = {0: 0.5, 1: 0.9, 2: 0.4, 3: 0.5, 4: 1.0, 5: 0.0}
    recipe = layerwise(Layerwise(LAYERS, 0.0, 1.0, Limits(max_layers=most)), wanted)
    assert recipe == attention(LAYERS, {layer: wanted[layer] for layer in kept})


def test_of_merit_s_layers_the_deepest_stay_llm_dominant():
    space = Merit(LAYERS, 0.25, 0.75, Limits(max_layers=2))
    recipe = suggested(space, **{f"L{i:02d}.state": int(i in (0, 2, 3)) for i in range(LAYERS)})
    assert recipe.coefficients() == {0: 0.25, 1: 0.25, 2: 0.75, 3: 0.75, 4: 0.25, 5: 0.25}


def test_merit_s_states_may_be_the_two_models_themselves():
    space = Merit(LAYERS, 0.0, 1.0)
    recipe = suggested(space, **{f"L{i:02d}.state": i % 2 for i in range(LAYERS)})
    assert recipe == attention(LAYERS, {1: 1.0, 3: 1.0, 5: 1.0})


def test_blocks_are_cut_by_depth_and_the_deeper_are_larger():
    layers = [switch.layers for switch in Grouped(7, 3, 0.1, 1.0).switches]
    assert layers == [(0, 1), (2, 3), (4, 5, 6)]
    some = Grouped(7, 2, 0.1, 1.0, Limits(layers=(0, 4, 5, 6)))
    assert [switch.layers for switch in some.switches] == [(0, 4), (5, 6)]


def test_a_block_stays_whole_or_goes():
    space = Grouped(7, 3, 0.1, 1.0, Limits(max_layers=4))
    on = {f"B{i:02d}.{key}": v for i in range(3) for key, v in (("mask", 1), ("coefficient", 0.5))}
    assert suggested(space, **on).coefficients() == dict.fromkeys((4, 5, 6), 0.5)
    on["B00.coefficient"] = 0.6
    assert suggested(space, **on).coefficients() == dict.fromkeys((0, 1), 0.6) | dict.fromkeys(
        (2, 3), 0.5
    )


@pytest.mark.parametrize("layers", [None, (0, 3, 4, 9, 10, 11, 12)])
def test_a_smooth_recipe_is_linear_between_its_points(layers):
    space = Smooth(14, 4, 1.0, Limits(layers=layers))
    points = [int(name[1:3]) for name in space.distributions]
    at = dict(zip(points, (0.2, 1.0, 0.0, 0.7), strict=True))
    recipe = suggested(space, **{f"L{p:02d}.coefficient": c for p, c in at.items()})
    allowed = layers or range(14)
    assert (points[0], points[-1]) == (allowed[0], allowed[-1])
    drawn = np.interp(allowed, points, list(at.values()))
    expected = {i: c for i, c in zip(allowed, drawn, strict=True) if c}
    assert recipe.coefficients() == pytest.approx(expected)
    assert {p: recipe.coefficients().get(p, 0.0) for p in points} == at


def test_a_smooth_point_that_is_not_kept_is_zero():
    space = Smooth(LAYERS, LAYERS, 1.0, Limits(max_layers=2))
    at = {0: 0.9, 1: 0.1, 2: 0.9, 3: 0.0, 4: 0.2, 5: 0.9}
    recipe = suggested(space, **{f"L{p:02d}.coefficient": c for p, c in at.items()})
    assert recipe == attention(LAYERS, {2: 0.9, 5: 0.9})


def test_a_uniform_recipe_has_one_coefficient_on_what_may_be_merged():
    within = Limits(layers=(1, 2, 5), max_layers=2)
    assert suggested(Uniform(LAYERS, 0.0, 1.0, within), coefficient=0.3) == attention(
        LAYERS, {2: 0.3, 5: 0.3}
    )


@pytest.mark.parametrize("make", [Layerwise, Uniform])
def test_parts_and_rule_are_those_of_every_recipe(make):
    space = make(LAYERS, 0.0, 1.0, Limits(parts=("mlp", "norm"), rule="dare_ties:1:0.5:3"))
    rule = rule_from("dare_ties:1:0.5:3")
    expected = per_layer(LAYERS, dict.fromkeys(range(LAYERS), 1.0), rule, parts=("mlp", "norm"))
    assert all_on(space) == expected
    assert expected.needs_base


def spans(*ends):
    return tuple(LayerSpan(range(a, b + 1)) for a, b in ends)


def test_settings_are_put_in_order():
    given = limits(
        layers=spans((8, 10), (3, 3), (9, 11)),
        max_layers=None,
        parts=("norm", "attention", "norm"),
        rule="lerp",
    )
    assert given == Limits(layers=(3, 8, 9, 10, 11), parts=("attention", "norm"))


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.9, 0.2), (0.5, 0.5), (-0.1, 1.0), (0.1, 1.1), (float("nan"), 1.0), (0.1, float("nan"))],
)
@pytest.mark.parametrize(
    "make", [Layerwise, Uniform, lambda n, low, high: Grouped(n, 2, low, high)]
)
def test_a_range_upside_down_or_outside_is_refused(make, low, high):
    sentence = rf"^expected 0 <= space\.low < space\.high <= 1, got {low} and {high}$"
    with pytest.raises(UserError, match=sentence):
        make(LAYERS, low, high)


@pytest.mark.parametrize("high", [0.0, -0.5, 1.5, float("nan")])
def test_a_smooth_range_outside_is_refused(high):
    with pytest.raises(UserError, match=rf"^expected 0 < space\.high <= 1, got {high}$"):
        Smooth(LAYERS, 2, high)


@pytest.mark.parametrize(
    ("vlm", "llm"),
    [(0.75, 0.25), (0.5, 0.75), (0.25, 0.5), (-0.1, 0.75), (0.25, 1.5), (float("nan"), 0.75)],
)
def test_merit_states_on_the_wrong_side_of_one_half_are_refused(vlm, llm):
    sentence = (
        r"^expected 0 <= space\.vlm_dominant < 0\.5 < space\.llm_dominant <= 1, "
        rf"got {vlm} and {llm}$"
    )
    with pytest.raises(UserError, match=sentence):
        Merit(LAYERS, vlm, llm)


MAKERS = {
    "layerwise": lambda within: Layerwise(LAYERS, 0.1, 1.0, within),
    "merit": lambda within: Merit(LAYERS, 0.25, 0.75, within),
    "grouped": lambda within: Grouped(LAYERS, 2, 0.1, 1.0, within),
    "smooth": lambda within: Smooth(LAYERS, 2, 1.0, within),
    "uniform": lambda within: Uniform(LAYERS, 0.1, 1.0, within),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_layers_that_the_model_has_not_are_refused_with_those_it_has(make):
    sentence = r"^space\.layers: this model's layers run from 0 to 5; got \[6, 7\]$"
    with pytest.raises(UserError, match=sentence):
        make(Limits(layers=(4, 5, 6, 7)))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"parts": ()}, r"space\.parts and space\.layers name at least one each"),
        ({"layers": ()}, r"space\.parts and space\.layers name at least one each"),
        ({"max_layers": 0}, r"space\.max_layers is 1 or more, or null, got 0"),
        ({"rule": "tise:1:0.2"}, r"space\.rule=tise:1:0\.2: there is no rule 'tise'; did you me"),
        ({"rule": "ties:1"}, r"space\.rule=ties:1: ties takes 2 numbers after its name"),
        ({"rule": "ties:1:x"}, r"space\.rule=ties:1:x: expected a number after the colon"),
        ({"rule": "ties:1:2"}, r"space\.rule=ties:1:2: a rule's density must lie in"),
    ],
)
def test_limits_that_limit_nothing_or_everything_are_refused(changes, sentence):
    with pytest.raises(UserError, match=f"^{sentence}"):
        Limits(**changes)


def test_more_blocks_or_points_than_layers_are_refused():
    within = Limits(layers=(1, 3))
    with pytest.raises(UserError, match=r"^space\.blocks is 1 to 2, .*; got 3$"):
        Grouped(LAYERS, 3, 0.1, 1.0, within)
    with pytest.raises(UserError, match=r"^space\.points is 2 to 2, .*; got 3$"):
        Smooth(LAYERS, 3, 1.0, within)
    with pytest.raises(UserError, match=r"^space\.points is 2 to 6, .*; got 1$"):
        Smooth(LAYERS, 1, 1.0)


def test_what_turns_on_more_than_may_be_is_refused():
    within = Limits(max_layers=2)
    with pytest.raises(UserError, match=r"^space\.max_layers=2 is less than the 3 layers that"):
        Grouped(LAYERS, 2, 0.1, 1.0, within)
    with pytest.raises(UserError, match=r"^space\.max_layers=2 is less than the 4 layers that"):
        Smooth(LAYERS, 3, 1.0, within)
