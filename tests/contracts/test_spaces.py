"""What every search space promises. A new space is a row of SPACES."""

from collections.abc import Callable

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from merit_opt.errors import UserError
from merit_opt.recipe.constructors import attention, backbone, base, full, uniform
from merit_opt.recipe.recipe import LayerMerge, Recipe
from merit_opt.recipe.rules import Lerp
from merit_opt.search.spaces import Layerwise, Merit, SearchSpace

LAYERS = 5

# Space, and the attention coefficients that a layer of its recipes may have (0 = unmerged).
SPACES: dict[str, tuple[SearchSpace, st.SearchStrategy[float]]] = {
    "layerwise": (Layerwise(LAYERS, 0.1, 1.0), st.just(0.0) | st.floats(0.1, 1.0)),
    "layerwise from 0": (Layerwise(LAYERS, 0.0, 0.5), st.floats(0.0, 0.5)),
    "merit": (Merit(LAYERS, 0.25, 0.75), st.sampled_from([0.25, 0.75])),
    "merit from 0": (Merit(LAYERS, 0.0, 1.0), st.sampled_from([0.0, 1.0])),
}

OUTSIDE = {
    "layerwise": [{0: 0.05}, {0: 0.099999}],
    "layerwise from 0": [{0: 0.500001}, {4: 1.0}],
    "merit": [{}, {0: 0.25}, dict.fromkeys(range(5), 0.5)],
    "merit from 0": [{0: 0.5}, {0: 1e-9}],
}


@pytest.fixture(params=SPACES)
def row(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def space(row: str) -> SearchSpace:
    return SPACES[row][0]


@st.composite
def spaces_and_recipes(draw: Callable) -> tuple[SearchSpace, Recipe]:
    space, coefficients = SPACES[draw(st.sampled_from(sorted(SPACES)))]
    drawn = {layer: draw(coefficients) for layer in range(LAYERS)}
    return space, attention(LAYERS, drawn)


@given(spaces_and_recipes())
def test_suggest_undoes_params(case):
    space, recipe = case
    params = space.params(recipe)
    assert params is not None
    assert space.suggest(FixedTrial(dict(params))) == recipe


@given(spaces_and_recipes())
def test_params_name_every_parameter_in_order_and_in_range(case):
    space, recipe = case
    params = space.params(recipe)
    assert list(params) == list(space.distributions)
    for name, value in params.items():
        assert space.distributions[name]._contains(
            space.distributions[name].to_internal_repr(value)
        )


@given(st.sampled_from(sorted(SPACES)), st.integers(0, 2**32 - 1))
def test_params_undo_suggest_up_to_coefficients_of_unmerged_layers(row, seed):
    space = SPACES[row][0]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    recipe = space.suggest(trial)
    assert space.suggest(FixedTrial(dict(space.params(recipe)))) == recipe


def test_a_proposal_suggests_the_declared_parameters_and_no_other(space):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    space.suggest(trial)
    assert study.trials[0].distributions == space.distributions
    assert list(study.trials[0].params) == list(space.distributions)


def test_what_is_suggested_does_not_depend_on_what_was_drawn(space):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    names = set()
    for _ in range(30):
        trial = study.ask()
        space.suggest(trial)
        names.add(tuple(trial.params))
    assert len(names) == 1


def test_masks_and_states_are_whole_numbers(space):
    kinds = {type(d).__name__ for n, d in space.distributions.items() if "coeff" not in n}
    assert kinds == {"IntDistribution"}


def test_every_recipe_is_for_the_pair_s_layers(space):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    assert {len(space.suggest(study.ask()).layers) for _ in range(5)} == {space.n_layers}


def test_other_recipes_lie_outside(row, space):
    for layers in OUTSIDE[row]:
        assert space.params(attention(LAYERS, layers)) is None
    assert space.params(uniform(LAYERS + 1, 0.25)) is None
    assert space.params(backbone(LAYERS)) is None
    assert space.params(full(LAYERS, 0.25)) is None
    mlp_too = LayerMerge(attention=Lerp(0.25), mlp=Lerp(0.25))
    assert space.params(Recipe((mlp_too,) + (LayerMerge(attention=Lerp(0.25)),) * 4)) is None


def test_the_base_is_inside_where_no_merge_is_possible():
    inside = {row: SPACES[row][0].params(base(LAYERS)) is not None for row in SPACES}
    assert inside == {
        "layerwise": True,
        "layerwise from 0": True,
        "merit": False,
        "merit from 0": True,
    }


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.9, 0.2), (0.5, 0.5), (-0.1, 1.0), (0.1, 1.1), (float("nan"), 1.0), (0.1, float("nan"))],
)
def test_a_layerwise_range_upside_down_or_outside_is_refused(low, high):
    sentence = rf"^expected 0 <= space\.low < space\.high <= 1, got {low} and {high}$"
    with pytest.raises(UserError, match=sentence):
        Layerwise(LAYERS, low, high)


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


def test_the_representation_names_every_setting(space):
    assert str(space.n_layers) in repr(space)
    settings = [getattr(space, name) for name in type(space).__slots__]
    assert all(str(value) in repr(space) for value in settings)
