"""What every search space promises. A new space is a row of SPACES."""

import math
from collections.abc import Callable, Mapping

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import FixedTrial

from merit_opt.recipe.constructors import attention, backbone, base, full, per_layer, uniform
from merit_opt.recipe.recipe import LayerMerge, Recipe
from merit_opt.recipe.rules import Lerp, Ties, rule_from
from merit_opt.search.spaces import (
    Grouped,
    Layerwise,
    Merit,
    SearchSpace,
    Smooth,
    Uniform,
    all_on,
    first_layers,
)
from merit_opt.search.spaces.limits import Limits

LAYERS = 6
SOME = Limits(layers=(1, 2, 4, 5))
TWO = Limits(max_layers=2)
OTHERWISE = Limits((0, 1, 3, 5), 3, ("attention", "mlp"), "ties:1:0.2")

SPACES: dict[str, SearchSpace] = {
    "layerwise": Layerwise(LAYERS, 0.1, 1.0),
    "layerwise from 0": Layerwise(LAYERS, 0.0, 0.5),
    "layerwise, some": Layerwise(LAYERS, 0.1, 1.0, SOME),
    "layerwise, two": Layerwise(LAYERS, 0.1, 1.0, TWO),
    "layerwise, otherwise": Layerwise(LAYERS, 0.0, 0.9, OTHERWISE),
    "merit": Merit(LAYERS, 0.25, 0.75),
    "merit from 0": Merit(LAYERS, 0.0, 1.0),
    "merit, some": Merit(LAYERS, 0.1, 0.9, SOME),
    "merit, two": Merit(LAYERS, 0.25, 0.75, TWO),
    "merit, otherwise": Merit(LAYERS, 0.0, 1.0, OTHERWISE),
    "grouped": Grouped(LAYERS, 4, 0.1, 1.0),
    "grouped from 0": Grouped(LAYERS, 1, 0.0, 0.5),
    "grouped, some": Grouped(LAYERS, 3, 0.1, 1.0, SOME),
    "grouped, two": Grouped(LAYERS, 4, 0.1, 1.0, TWO),
    "grouped, otherwise": Grouped(LAYERS, 3, 0.0, 0.9, OTHERWISE),
    "smooth": Smooth(LAYERS, 3, 1.0),
    "smooth on every layer": Smooth(LAYERS, LAYERS, 0.5),
    "smooth, some": Smooth(LAYERS, 3, 1.0, SOME),
    "smooth, two": Smooth(LAYERS, LAYERS, 1.0, TWO),
    "smooth, three": Smooth(LAYERS, 4, 1.0, Limits(max_layers=3)),
    "smooth, otherwise": Smooth(LAYERS, 3, 0.9, OTHERWISE),
    "uniform": Uniform(LAYERS, 0.0, 1.0),
    "uniform from above 0": Uniform(LAYERS, 0.1, 0.5),
    "uniform, some": Uniform(LAYERS, 0.0, 1.0, SOME),
    "uniform, two": Uniform(LAYERS, 0.1, 1.0, TWO),
    "uniform, otherwise": Uniform(LAYERS, 0.0, 0.9, OTHERWISE),
}

# Layer -> attention coefficient of recipes that the space has not.
OUTSIDE: dict[str, list[dict[int, float]]] = {
    "layerwise": [{0: 0.05}, {0: 0.099999}],
    "layerwise from 0": [{0: 0.500001}, {4: 1.0}],
    "layerwise, some": [{0: 0.5}, {1: 0.5, 3: 0.5}],
    "layerwise, two": [{0: 0.5, 1: 0.6, 2: 0.7}],
    "merit": [{}, {0: 0.25}, dict.fromkeys(range(LAYERS), 0.5)],
    "merit from 0": [{0: 0.5}, {0: 1e-9}],
    "merit, some": [dict.fromkeys(range(LAYERS), 0.1), {1: 0.9}],
    "merit, two": [{}, dict.fromkeys(range(LAYERS), 0.75)],
    "grouped": [{1: 0.5}, {1: 0.5, 2: 0.6}, {0: 0.05}],
    "grouped from 0": [dict.fromkeys(range(LAYERS), 0.6), {0: 0.5}],
    "grouped, some": [{0: 0.5}, {4: 0.5}],
    "grouped, two": [{0: 0.5, 1: 0.5, 2: 0.5}],
    "smooth": [{0: 1.0}, {0: 1.0, 1: 0.4}, {5: 0.5}],
    "smooth on every layer": [{0: 0.6}],
    "smooth, some": [{0: 1.0, 1: 1.0}, {1: 1.0, 5: 1.0}],
    "smooth, two": [{0: 0.5, 1: 0.6, 2: 0.7}],
    "uniform": [{0: 0.5}, dict.fromkeys(range(LAYERS - 1), 0.5)],
    "uniform from above 0": [{}, dict.fromkeys(range(LAYERS), 0.6)],
    "uniform, some": [dict.fromkeys(range(LAYERS), 0.5)],
    "uniform, two": [{3: 0.5, 4: 0.5}, {4: 0.5, 5: 0.6}],
}

HAS_THE_BASE = {
    row
    for row in SPACES
    if row not in {"merit", "merit, some", "merit, two", "uniform from above 0", "uniform, two"}
}

Params = Mapping[str, int | float]


@pytest.fixture(params=SPACES)
def row(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def space(row: str) -> SearchSpace:
    return SPACES[row]


def values(distribution: BaseDistribution) -> st.SearchStrategy[int | float]:
    """Of a parameter; the ends and equal ones often."""
    low, high = distribution.low, distribution.high
    if isinstance(distribution, IntDistribution):
        return st.integers(low, high)
    return st.sampled_from([low, high, (low + high) / 2]) | st.floats(low, high)


@st.composite
def spaces_and_params(draw: Callable) -> tuple[SearchSpace, Params]:
    space = SPACES[draw(st.sampled_from(sorted(SPACES)))]
    return space, {name: draw(values(d)) for name, d in space.distributions.items()}


def suggested(space: SearchSpace, params: Params) -> Recipe:
    return space.suggest(FixedTrial(dict(params)))


def fields(recipe: Recipe, limits: Limits) -> dict[int, float]:
    """Layer -> coefficient, of all parts alike."""
    found = recipe.coefficients(limits.parts[0])
    assert per_layer(LAYERS, found, rule_from(limits.rule), parts=limits.parts) == recipe
    return found


@given(spaces_and_params())
def test_suggest_undoes_params(case):
    space, drawn = case
    recipe = suggested(space, drawn)
    params = space.params(recipe)
    assert params is not None
    assert suggested(space, params) == recipe


@given(spaces_and_params())
def test_params_name_every_parameter_in_order_and_in_range(case):
    space, drawn = case
    params = space.params(suggested(space, drawn))
    assert list(params) == list(space.distributions)
    for name, value in params.items():
        assert space.distributions[name]._contains(
            space.distributions[name].to_internal_repr(value)
        )


@given(spaces_and_params())
def test_what_is_masked_is_named_by_the_least_coefficient(case):
    space, drawn = case
    params = space.params(suggested(space, drawn))
    for name, value in params.items():
        if name.endswith(".mask") and not value:
            coefficient = name.removesuffix("mask") + "coefficient"
            assert params[coefficient] == space.distributions[coefficient].low


@given(spaces_and_params())
def test_a_recipe_keeps_to_the_limits(case):
    space, drawn = case
    merged = fields(suggested(space, drawn), space.limits)
    assert set(merged) <= set(space.limits.layers or range(LAYERS))
    off = space.vlm_dominant if isinstance(space, Merit) else 0.0
    on = [layer for layer, coefficient in merged.items() if coefficient != off]
    assert len(on) <= (space.limits.max_layers or LAYERS)


def test_a_proposal_suggests_the_declared_parameters_and_no_other(space):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    names = set()
    for _ in range(30):
        space.suggest(study.ask())
        names.add(tuple(study.trials[-1].params))
    assert study.trials[0].distributions == space.distributions
    assert names == {tuple(space.distributions)}


def test_masks_and_states_are_whole_numbers(space):
    kinds = {type(d).__name__ for n, d in space.distributions.items() if "coeff" not in n}
    assert kinds <= {"IntDistribution"}


def test_every_recipe_is_for_the_pair_s_layers(space):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    assert {len(space.suggest(study.ask()).layers) for _ in range(5)} == {space.n_layers}


def test_other_recipes_lie_outside(row, space):
    for layers in OUTSIDE.get(row, ()):
        assert space.params(attention(LAYERS, layers)) is None
    assert space.params(uniform(LAYERS + 1, 0.25)) is None
    assert space.params(base(LAYERS - 1)) is None
    assert space.params(backbone(LAYERS)) is None
    assert space.params(full(LAYERS, 0.25)) is None
    mlp_too = LayerMerge(attention=Lerp(0.25), mlp=Lerp(0.25))
    assert space.params(Recipe((mlp_too,) + (LayerMerge(attention=Lerp(0.25)),) * 5)) is None


def test_only_the_named_parts_and_rule_lie_inside(row, space):
    on = {name: value for switch in space.switches for name, value in switch.on.items()}
    recipe = space.suggest(FixedTrial(on))
    assert space.params(recipe) is not None
    is_lerp = space.limits.rule == "lerp"
    other = Ties(0.5, 1.0, 0.2) if is_lerp else Lerp(0.5)
    [first, *_] = recipe.merged_layers
    changed = list(recipe.layers)
    changed[first] = LayerMerge(**dict.fromkeys(space.limits.parts, other))
    assert space.params(Recipe(tuple(changed))) is None


def test_the_base_is_inside_where_no_merge_is_possible():
    inside = {row for row, space in SPACES.items() if space.params(base(LAYERS)) is not None}
    assert inside == HAS_THE_BASE


def test_the_representation_names_every_setting(space):
    assert str(space.n_layers) in repr(space)
    settings = [getattr(space, name) for name in type(space).__slots__]
    settings += [getattr(space.limits, name) for name in Limits.__slots__]
    assert all(str(value) in repr(space) for value in settings)


# Switches.


def off(space: SearchSpace) -> dict[str, int | float]:
    return {name: v for switch in space.switches for name, v in switch.off.items()}


def test_switches_set_every_parameter_once(space):
    names = [name for switch in space.switches for name in switch.off]
    assert sorted(names) == sorted(space.distributions)
    for switch in space.switches:
        settings = [switch.on, *switch.milder]
        assert all(list(setting) == list(switch.off) for setting in settings)


def test_switches_stand_by_depth_and_reach_what_may_be_merged(space):
    layers = [switch.layers for switch in space.switches]
    assert layers == sorted(layers)
    assert all(list(own) == sorted(set(own)) for own in layers)
    reached = {layer for own in layers for layer in own}
    allowed = set(space.limits.layers or range(LAYERS))
    assert reached == (
        allowed if not isinstance(space, Uniform) else set(all_on(space).merged_layers)
    )


def distance(recipe: Recipe) -> float:
    return sum(sum(recipe.coefficients(part).values()) for part in ("attention", "mlp", "norm"))


@given(spaces_and_params())
def test_all_off_is_the_recipe_nearest_the_vlm(case):
    space, drawn = case
    nearest = suggested(space, off(space))
    assert distance(nearest) <= distance(suggested(space, drawn))
    assert (nearest == base(LAYERS)) == (space.params(base(LAYERS)) is not None)


def test_one_switch_changes_its_own_layers_and_turns_them_up(space):
    nearest = suggested(space, off(space))
    for switch in space.switches:
        settings = [switch.off, *reversed(switch.milder), switch.on]
        recipes = [suggested(space, off(space) | dict(setting)) for setting in settings]
        for recipe in recipes[1:]:
            changed = [i for i in range(LAYERS) if recipe.layers[i] != nearest.layers[i]]
            assert tuple(changed) == switch.layers
        far = [distance(recipe) for recipe in recipes]
        assert far == sorted(set(far))


@given(spaces_and_params(), st.data())
def test_a_switch_changes_only_its_layers_where_any_number_may_be_on(case, data):
    space, drawn = case
    if space.limits.max_layers is not None:
        return
    switch = data.draw(st.sampled_from(space.switches))
    before, after = suggested(space, drawn), suggested(space, {**drawn, **switch.on})
    changed = {i for i in range(LAYERS) if before.layers[i] != after.layers[i]}
    assert changed <= set(switch.layers)


def test_the_shares_of_first_layers_add_up(space):
    shares = first_layers(space)
    assert math.isclose(sum(shares.values()), 1.0)
    assert set(shares) <= set(space.limits.layers or range(LAYERS))
