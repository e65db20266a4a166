"""Controls are fair to the winner and are queued once."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from merit_opt.recipe.constructors import attention, backbone, base, full, uniform
from merit_opt.recipe.recipe import PARTS
from merit_opt.search.controls import (
    RANDOM_LAYERS,
    control_recipe,
    enqueue_controls,
    fixed_controls,
    is_control,
    random_layer_controls,
)
from merit_opt.search.samplers import CONTROL

LAYERS = 9
coefficients = st.floats(0.01, 1.0)


@st.composite
def winners(draw, least: int = 1, most: int = LAYERS - 1):
    layers = draw(st.sets(st.integers(0, LAYERS - 1), min_size=least, max_size=most))
    return attention(LAYERS, {layer: draw(coefficients) for layer in sorted(layers)})


@given(winners(), st.integers(1, 5), st.integers(0, 9))
def test_random_layers_have_the_winner_s_coefficients_on_other_layers(winner, count, seed):
    drawn = random_layer_controls(winner, count, seed)
    recipes = [recipe for _, recipe in drawn]
    assert len({r.digest for r in recipes}) == len(recipes) == count
    own = winner.coefficients()
    for recipe in recipes:
        assert Counter(recipe.coefficients().values()) == Counter(own.values())
        assert recipe.merged_layers != winner.merged_layers
    assert [name for name, _ in drawn] == [
        f"{RANDOM_LAYERS}:{winner.digest}/{i}" for i in range(1, count + 1)
    ]


@given(winners(), st.integers(0, 9))
def test_the_draws_depend_on_winner_and_seed_alone(winner, seed):
    assert random_layer_controls(winner, 5, seed) == random_layer_controls(winner, 5, seed)
    first_two = random_layer_controls(winner, 2, seed)
    assert random_layer_controls(winner, 5, seed)[:2] == first_two


def test_another_seed_draws_other_layers():
    winner = attention(LAYERS, {1: 0.3, 4: 0.8, 6: 0.5})
    draws = {tuple(r.digest for _, r in random_layer_controls(winner, 5, s)) for s in range(10)}
    assert len(draws) == 10


def test_there_are_no_more_than_exist():
    winner = attention(3, {1: 0.5})
    assert [r for _, r in random_layer_controls(winner, 5, 0)] in (
        [attention(3, {0: 0.5}), attention(3, {2: 0.5})],
        [attention(3, {2: 0.5}), attention(3, {0: 0.5})],
    )


@pytest.mark.parametrize("winner", [base(LAYERS), uniform(LAYERS, 0.5)])
def test_there_are_none_where_no_other_set_of_layers_exists(winner):
    assert random_layer_controls(winner, 5, 0) == []


def test_the_fixed_controls_are_the_papers():
    assert list(fixed_controls(LAYERS, (0.25, 0.5), PARTS)) == [
        ("base", base(LAYERS)),
        ("backbone", backbone(LAYERS)),
        ("uniform:0.25", uniform(LAYERS, 0.25)),
        ("uniform:0.5", uniform(LAYERS, 0.5)),
        ("full:0.25", full(LAYERS, 0.25)),
        ("full:0.5", full(LAYERS, 0.5)),
    ]


def test_queueing_twice_adds_nothing(world):
    study = world.study()
    controls = list(fixed_controls(6, (0.25, 0.5), PARTS))
    for _ in range(2):
        enqueue_controls(study, controls, world.space)
    assert [control_recipe(t.user_attrs[CONTROL]) for t in study.trials] == controls
    assert {t.state for t in study.trials} == {TrialState.WAITING}
    assert all(is_control(t) for t in study.trials)


def test_samplers_learn_from_the_controls_inside_the_space_alone(world):
    study = world.work(6)
    inside = {control_recipe(t.user_attrs[CONTROL])[0]: bool(t.params) for t in study.trials}
    assert inside == {
        "base": True,
        "backbone": False,
        "uniform:0.25": True,
        "uniform:0.5": True,
        "full:0.25": False,
        "full:0.5": False,
    }
    for trial in study.trials:
        recipe = control_recipe(trial.user_attrs[CONTROL])[1]
        assert trial.params == (world.space.params(recipe) or {})
        assert trial.distributions == (world.space.distributions if trial.params else {})
