import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.errors import UserError
from merit_opt.recipe.constructors import (
    attention,
    backbone,
    base,
    full,
    random_layers,
    uniform,
)
from merit_opt.recipe.recipe import PARTS

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
def test_one_coefficient_in_all_layers_leaves_no_other_deal(recipe):
    with pytest.raises(UserError, match="all 4 layers have one coefficient: there is no other"):
        random_layers(recipe, random.Random(0))


def test_a_recipe_that_merges_every_layer_is_dealt_out_in_another_order():
    recipe = attention(4, {0: 0.25, 1: 0.75, 2: 0.25, 3: 0.25})
    for seed in range(20):
        other = random_layers(recipe, random.Random(seed))
        assert other != recipe
        assert sorted(other.coefficients().values()) == [0.25, 0.25, 0.25, 0.75]
