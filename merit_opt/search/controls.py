"""Controls: recipes nobody searched for, measured as trials of the same study."""

import random
from collections.abc import Iterator, Sequence
from itertools import islice

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from merit_opt.errors import UserError
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Part, Recipe, from_json, to_json
from merit_opt.search.budget import Budget
from merit_opt.search.samplers import CONTROL, STOPPED, enqueue
from merit_opt.search.spaces import SearchSpace

RANDOM_LAYERS = "random-layers"
MAX_DRAWS = 1000


def fixed_controls(
    n_layers: int, coefficients: Sequence[float], parts: Sequence[Part]
) -> Iterator[tuple[str, Recipe]]:
    """Base, backbone, and uniform merges of attention and of everything, by name."""
    yield "base", constructors.base(n_layers)
    yield "backbone", constructors.backbone(n_layers, parts=parts)
    for coefficient in coefficients:
        yield f"uniform:{coefficient:g}", constructors.uniform(n_layers, coefficient)
    for coefficient in coefficients:
        recipe = constructors.full(n_layers, coefficient, parts=parts)
        yield f"full:{coefficient:g}", recipe


def controls_of(budget: Budget, space: SearchSpace) -> list[tuple[str, Recipe]]:
    """The fixed controls that a budget has room for."""
    found = fixed_controls(space.n_layers, budget.uniform, budget.parts)
    return list(islice(found, budget.trials))


def random_layer_controls(winner: Recipe, count: int, seed: int) -> list[tuple[str, Recipe]]:
    """Distinct recipes of the winner's size and coefficients on other layers.

    Fewer than `count` where fewer exist; none when all of the winner's layers have one
    coefficient. A winner that merges every layer has its coefficients dealt out in another order.
    """
    rng = random.Random(f"{RANDOM_LAYERS}/{seed}/{winner.digest}")
    found: dict[str, Recipe] = {}
    for _ in range(MAX_DRAWS if count else 0):
        try:
            recipe = constructors.random_layers(winner, rng)
        except UserError:
            break
        found.setdefault(recipe.digest, recipe)
        if len(found) == count:
            break
    prefix = f"{RANDOM_LAYERS}:{winner.digest}"
    return [(f"{prefix}/{i}", recipe) for i, recipe in enumerate(found.values(), start=1)]


def enqueue_controls(
    study: Study, controls: Sequence[tuple[str, Recipe]], space: SearchSpace
) -> None:
    """Queue each control that the study does not know yet, or whose workers all stopped.

    One inside the search space carries its parameters, so that samplers learn from it; one
    outside carries none.
    """
    trials = study.get_trials(deepcopy=False)
    known = {control_name(t) for t in trials if is_control(t)}
    known -= {name for name, _ in stopped_controls(study)}
    for name, recipe in controls:
        if name in known:
            continue
        known.add(name)
        enqueue(study, {CONTROL: [name, to_json(recipe)]}, space.params(recipe))


def stopped_controls(study: Study) -> list[tuple[str, str]]:
    """Name of each control that was given up because its workers stopped, and why they did."""
    controls = [t for t in study.get_trials(deepcopy=False) if is_control(t)]
    given_up = [t for t in controls if t.state == TrialState.FAIL and STOPPED in t.user_attrs]
    others = {control_name(t) for t in controls if t not in given_up}
    named = ((control_name(t), t.user_attrs[STOPPED]) for t in given_up)
    return [(name, why) for name, why in named if name not in others]


def is_control(trial: object) -> bool:
    """Whether a trial (running or frozen) is a control."""
    return CONTROL in trial.user_attrs  # type: ignore[attr-defined]


def is_random_layer(trial: FrozenTrial) -> bool:
    """Whether a trial is a control on random layers."""
    return is_control(trial) and control_name(trial).startswith(RANDOM_LAYERS)


def control_name(trial: FrozenTrial) -> str:
    """The name of a trial that is a control."""
    name, _ = trial.user_attrs[CONTROL]
    return name


def control_recipe(attr: Sequence[str]) -> tuple[str, Recipe]:
    """A control's name and recipe, as its user attribute keeps them."""
    name, text = attr
    return name, from_json(text)
