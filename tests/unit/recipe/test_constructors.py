import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.errors import UserError
from merit_opt.recipe.constructors import (
    attention,
    backbone,
    base,
    full,
    layer_swap,
    per_layer,
    random_layers,
    uniform,
)
from merit_opt.recipe.recipe import PARTS, LayerMerge, Recipe
from merit_opt.recipe.rules import Slerp, Ties, lerp, rule_at

TIES = rule_at("ties", (1.2, 0.3))
depths = st.integers(1, 40)
positive = st.floats(0.0, 1.0, exclude_min=True)


@st.composite
def some_layers(draw):
    n_layers = draw(st.integers(2, 12))
    size = draw(st.integers(1, n_layers - 1))
    layers = draw(st.permutations(range(n_layers)))[:size]
    return n_layers, {layer: draw(positive) for layer in layers}


@given(depths, positive)
def test_uniform_is_self_attention_of_every_layer_at_one_coefficient(n_layers, coefficient):
    recipe = uniform(n_layers, coefficient)
    assert len(recipe.layers) == n_layers
    assert recipe.coefficients("attention") == dict.fromkeys(range(n_layers), coefficient)
    assert recipe.coefficients("mlp") == recipe.coefficients("norm") == {}


@given(depths, positive)
def test_full_is_every_part_of_every_layer_at_one_coefficient(n_layers, coefficient):
    recipe = full(n_layers, coefficient)
    assert len(recipe.layers) == n_layers
    for part in PARTS:
        assert recipe.coefficients(part) == dict.fromkeys(range(n_layers), coefficient)


@given(depths)
def test_the_ends_of_uniform_and_full_are_base_and_backbone(n_layers):
    assert uniform(n_layers, 0.0) == full(n_layers, 0.0) == base(n_layers)
    assert base(n_layers).merged_layers == ()
    assert backbone(n_layers) == full(n_layers, 1.0)
    assert uniform(n_layers, 1.0) != backbone(n_layers)


@given(depths, positive, st.sets(st.sampled_from(PARTS)))
def test_full_and_backbone_merge_only_the_parts_that_are_named(n_layers, coefficient, parts):
    recipe = full(n_layers, coefficient, parts=sorted(parts))
    for part in PARTS:
        expected = dict.fromkeys(range(n_layers), coefficient) if part in parts else {}
        assert recipe.coefficients(part) == expected
    assert backbone(n_layers, parts=sorted(parts)) == full(n_layers, 1.0, parts=sorted(parts))


@given(st.data(), depths, positive, st.sets(st.sampled_from(PARTS), min_size=1))
def test_layer_swap_merges_every_part_from_its_first_layer_on(data, n_layers, coefficient, parts):
    first = data.draw(st.integers(0, n_layers - 1))
    recipe = layer_swap(n_layers, first, coefficient, parts=sorted(parts))
    assert recipe.merged_layers == tuple(range(first, n_layers))
    assert recipe.layers[first:] == full(n_layers, coefficient, parts=sorted(parts)).layers[first:]


@pytest.mark.parametrize("first", [-1, 9, 12])
def test_a_first_layer_that_does_not_exist_is_refused(first):
    with pytest.raises(UserError, match=f"layers run from 0 to 8; got {first} for the first"):
        layer_swap(9, first, 0.5)


@given(st.floats(0.0, 1.0))
def test_every_constructor_takes_a_rule_for_its_coefficient(coefficient):
    rule = Ties(coefficient, 1.2, 0.3) if coefficient else None
    everything = LayerMerge(rule, rule, rule)
    assert uniform(2, coefficient, TIES).layers == (LayerMerge(rule),) * 2
    assert full(2, coefficient, TIES).layers == (everything,) * 2
    assert layer_swap(2, 1, coefficient, TIES).layers == (LayerMerge(), everything)
    assert attention(2, {1: coefficient}, TIES).layers == (LayerMerge(), LayerMerge(rule))


@given(some_layers())
def test_attention_merges_the_layers_it_names(named):
    n_layers, coefficients = named
    recipe = attention(n_layers, coefficients)
    assert recipe.coefficients() == coefficients
    assert recipe.merged_layers == tuple(sorted(coefficients))


@pytest.mark.parametrize(("layer", "named"), [(9, r"\[9\]"), (-1, r"\[-1\]")])
def test_layers_that_do_not_exist_are_refused(layer, named):
    with pytest.raises(UserError, match=f"layers run from 0 to 8; got {named}"):
        attention(9, {layer: 0.5, 3: 0.5})


@given(some_layers(), st.integers())
def test_random_layers_deals_the_same_coefficients_to_another_set_of_the_same_size(named, seed):
    n_layers, coefficients = named
    recipe = attention(n_layers, coefficients)
    dealt = random_layers(recipe, random.Random(seed))
    assert sorted(dealt.coefficients().values()) == sorted(coefficients.values())
    assert dealt.coefficients().keys() != coefficients.keys()
    assert len(dealt.layers) == n_layers
    assert dealt == random_layers(recipe, random.Random(seed))


def test_random_layers_reaches_every_other_set_and_every_deal():
    recipe = attention(3, {0: 0.25, 2: 1.0})
    rng = random.Random(0)
    dealt = {random_layers(recipe, rng) for _ in range(100)}
    assert dealt == {
        attention(3, coefficients)
        for coefficients in (
            {0: 0.25, 1: 1.0},
            {0: 1.0, 1: 0.25},
            {1: 0.25, 2: 1.0},
            {1: 1.0, 2: 0.25},
        )
    }


@pytest.mark.parametrize(
    "recipe",
    [base(4), uniform(4, 0.5), backbone(4)],
    ids=["base", "uniform", "backbone"],
)
def test_one_rule_in_all_layers_leaves_no_other_deal(recipe):
    with pytest.raises(UserError, match="all 4 layers have one rule: there is no other"):
        random_layers(recipe, random.Random(0))


def test_random_layers_deals_rules_with_all_their_numbers():
    rules = [Ties(0.5, 1.2, 0.3), Ties(0.5, 1.2, 0.4), Slerp(0.5), lerp(0.5), None, None]
    recipe = Recipe(tuple(LayerMerge(rule) for rule in rules))
    dealt = random_layers(recipe, random.Random(0))
    assert Counter(layer.attention for layer in dealt.layers) == Counter(rules)
    assert dealt.merged_layers != recipe.merged_layers


def test_random_layers_deals_all_parts_of_a_layer_together():
    recipe = per_layer(6, {1: 0.5, 4: 1.0}, parts=("attention", "mlp"))
    dealt = random_layers(recipe, random.Random(0))
    assert Counter(dealt.layers) == Counter(recipe.layers)
    assert dealt.merged_layers != recipe.merged_layers


def test_the_deal_of_linear_recipes_is_this_for_ever():
    recipe = attention(9, {0: 0.25, 3: 1.0, 4: 0.25, 8: 0.5})
    dealt = random_layers(recipe, random.Random("random-layers/0/x"))
    assert dealt.coefficients() == {1: 0.25, 4: 0.5, 5: 0.25, 8: 1.0}


def test_a_recipe_that_merges_every_layer_is_dealt_out_in_another_order():
    recipe = attention(4, {0: 0.25, 1: 0.75, 2: 0.25, 3: 0.25})
    for seed in range(20):
        other = random_layers(recipe, random.Random(seed))
        assert other != recipe
        assert sorted(other.coefficients().values()) == [0.25, 0.25, 0.25, 0.75]
