"""`sampler=flips` inside Optuna: what it remembers, and what it does when the climbs have stalled."""

from collections.abc import Callable
from itertools import combinations, product

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from merit_opt.errors import UserError
from merit_opt.recipe.constructors import attention, base, uniform
from merit_opt.recipe.recipe import Recipe, to_json
from merit_opt.search.flip_sampler import PHASE, flips
from merit_opt.search.priors import PRICE, PRIOR, Prior
from merit_opt.search.samplers import CONTROL, PerProposal
from merit_opt.search.spaces import Layerwise, Merit, SearchSpace
from merit_opt.search.spaces.limits import Limits

SPACE = Layerwise(3, 0.1, 1.0)
Value = Callable[[Recipe], float | None]


def open_study(space: SearchSpace = SPACE, seed: int = 0, **settings: float) -> optuna.Study:
    chosen = {"max_pairs": 0, "least_share": 0.0} | settings
    sampler = PerProposal(flips(**chosen), seed=seed, space=space)
    return optuna.create_study(
        storage=InMemoryStorage(), sampler=sampler, direction="maximize", study_name="s"
    )


def enqueue(
    study: optuna.Study, recipe: Recipe, space: SearchSpace = SPACE, **attrs: object
) -> None:
    study.add_trial(
        create_trial(
            state=TrialState.WAITING,
            user_attrs=attrs,
            system_attrs={"fixed_params": dict(space.params(recipe))},
        )
    )


def ask(study: optuna.Study, space: SearchSpace = SPACE) -> tuple[optuna.Trial, Recipe]:
    trial = study.ask()
    return trial, space.suggest(trial)


def run(
    study: optuna.Study, value: Value, trials: int, space: SearchSpace = SPACE
) -> list[Recipe]:
    recipes = []
    for _ in range(trials):
        trial, recipe = ask(study, space)
        number = value(recipe)
        state = TrialState.FAIL if number is None else TrialState.COMPLETE
        study.tell(trial, number, state=state)
        recipes.append(recipe)
    return recipes


def size(recipe: Recipe) -> float:
    return -float(sum(recipe.coefficients().values()))


def phases(study: optuna.Study) -> list[str]:
    return [trial.user_attrs[PHASE] for trial in study.trials]


def details(trial: FrozenTrial) -> list[object]:
    return trial.system_attrs["flips:change"]


def test_the_best_seed_is_where_it_starts():
    study = open_study()
    enqueue(study, base(3), **{CONTROL: ["base", to_json(base(3))]})
    enqueue(study, attention(3, {0: 1.0}))
    enqueue(study, attention(3, {1: 1.0, 2: 1.0}))
    values = {(): 0.0, (0,): 0.2, (1, 2): 0.1}
    recipes = run(study, lambda r: values.get(r.merged_layers, -1.0), 6)
    assert [r.merged_layers for r in recipes[3:5]] == [(0, 2), (0, 1)]
    assert phases(study)[:5] == ["control", "seed", "seed", "flip", "flip"]
    assert details(study.trials[3]) == ["flip", [2], 1, 1]


def test_without_a_finished_recipe_it_starts_from_the_vlm():
    study = open_study(Merit(3, 0.25, 0.75))
    space = Merit(3, 0.25, 0.75)
    recipes = run(study, size, 4, space)
    states = [tuple(r.coefficients().values()) for r in recipes]
    assert states == [(0.25,) * 3, (0.25, 0.25, 0.75), (0.25, 0.75, 0.25), (0.75, 0.25, 0.25)]


def test_a_prior_puts_the_most_promising_switch_first():
    study = open_study()
    prior = Prior("gradient", (0.1, 0.3, 0.2), (0.0, -0.2, 0.0), 4.0)
    study.set_user_attr(PRICE, 2.0)
    study.set_user_attr(PRIOR, prior.to_dict())
    recipes = run(study, size, 4)
    assert [r.merged_layers for r in recipes] == [(), (2,), (0,), (1,)]


def test_the_price_of_perception_changes_the_order():
    study = open_study()
    prior = Prior("gradient", (0.1, 0.3, 0.2), (0.0, -0.2, 0.0), 4.0)
    study.set_user_attr(PRICE, 0.0)
    study.set_user_attr(PRIOR, prior.to_dict())
    assert [r.merged_layers for r in run(study, size, 4)] == [(), (1,), (2,), (0,)]


def test_workers_who_ask_at_once_flip_different_switches_of_one_recipe():
    study = open_study()
    run(study, size, 1)
    asked = [ask(study)[1].merged_layers for _ in range(3)]
    assert asked == [(2,), (1,), (0,)]


def test_what_is_enqueued_is_not_proposed_before_it_is_measured():
    study = open_study()
    run(study, size, 1)
    enqueue(study, attention(3, {2: 1.0}))
    study.add_trial(create_trial(state=TrialState.WAITING))
    ask(study)
    assert ask(study)[1].merged_layers == (1,)


def test_a_failed_recipe_is_neither_tried_again_nor_started_from():
    study = open_study()
    recipes = run(study, lambda r: None if 2 in r.merged_layers else size(r), 3)
    assert [r.merged_layers for r in recipes] == [(), (2,), (1,)]
    assert details(study.trials[2]) == ["flip", [1], 1, 0]


def test_a_control_drawn_from_the_winner_leads_nowhere():
    study = open_study()
    enqueue(study, base(3))
    drawn = attention(3, {0: 1.0, 1: 1.0})
    enqueue(study, drawn, **{CONTROL: ["random-layers:0/1", to_json(drawn)]})
    run(study, lambda r: float(len(r.merged_layers)), 2)
    assert ask(study)[1].merged_layers == (2,)


def test_a_control_outside_the_space_is_passed_over():
    study = open_study()
    outside = uniform(3, 0.05)
    study.add_trial(
        create_trial(
            state=TrialState.WAITING, user_attrs={CONTROL: ["uniform:0.05", to_json(outside)]}
        )
    )
    study.tell(study.ask(), 5.0)
    assert ask(study)[1] == base(3)


def test_the_climbs_leave_nothing_to_chance_and_the_cold_search_does():
    space = Merit(5, 0.0, 1.0)
    found = []
    for seed in (0, 1):
        study = open_study(space, seed)
        recipes = run(study, size, 24, space)
        found.append(list(zip(phases(study), [r.merged_layers for r in recipes], strict=True)))
    climbs, cold = (
        [[r for r in one if (r[0] == "cold") == is_cold] for one in found]
        for is_cold in (False, True)
    )
    assert climbs[0] == climbs[1]
    assert cold[0] != cold[1]
    assert len(cold[0]) > 10


@pytest.mark.parametrize("seed", range(3))
def test_the_cold_search_is_new_until_all_is_known_then_drawn_at_random(seed):
    space = Layerwise(3, 0.1, 1.0)
    study = open_study(space, seed)
    recipes = run(study, size, 30, space)
    every = {
        attention(3, {i: 1.0 for i, on in enumerate(ons) if on})
        for ons in product((0, 1), repeat=3)
    }
    first = next(i for i in range(30) if every <= set(recipes[: i + 1]))
    assert first < 25
    assert len(set(recipes[: first + 1])) == first + 1
    late = [c for r in recipes[first + 1 :] for c in r.coefficients().values()]
    assert phases(study)[first + 1 :] == ["cold"] * (29 - first)
    assert any(c not in (0.5, 0.75, 1.0) for c in late)


def test_where_few_layers_may_be_on_all_such_recipes_are_tried_before_any_is_again():
    space = Layerwise(5, 0.1, 1.0, Limits(max_layers=2))
    study = open_study(space)
    recipes = run(study, lambda recipe: 1.0 * ({1, 2} == set(recipe.coefficients())), 24, space)
    every = {
        attention(5, dict.fromkeys(layers, 1.0))
        for n in range(3)
        for layers in combinations(range(5), n)
    }
    first = next(i for i in range(24) if every <= set(recipes[: i + 1]))
    assert len(set(recipes[: first + 1])) == first + 1
    assert "cold" in phases(study)[: first + 1]


def test_the_cold_search_learns_from_its_own_trials_alone():
    space = Merit(8, 0.0, 1.0)

    def cold(climbs: float) -> list[Recipe]:
        study = open_study(space)
        run(study, lambda r: size(r) * climbs, 16, space)
        recipes = run(study, size, 42, space)
        assert phases(study)[15:] == ["peel"] + ["cold"] * 42
        return recipes

    assert cold(1.0)[:20] == cold(0.5)[:20]
    late = cold(1.0)
    assert sum(map(size, late[-10:])) > sum(map(size, late[:10]))


def test_several_objectives_are_refused():
    sampler = PerProposal(flips(max_pairs=0, least_share=0.0), seed=0, space=SPACE)
    study = optuna.create_study(sampler=sampler, directions=["maximize", "maximize"])
    with pytest.raises(UserError, match="sampler=nsgaii"):
        study.ask()


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_pairs", -1), ("least_share", 1.0)],
)
def test_settings_out_of_range_are_refused(key, value):
    with pytest.raises(UserError, match=key):
        flips(**({"max_pairs": 1, "least_share": 0.0} | {key: value}))


def test_what_misses_a_constraint_is_never_started_from():
    study = open_study()
    for _ in range(12):
        trial = study.ask()
        recipe = SPACE.suggest(trial)
        trial.set_constraint("TP loss", 1.0 if 2 in recipe.merged_layers else -1.0)
        study.tell(trial, size(recipe))
    kept = [t for t in study.trials if t.user_attrs["phase"] == "flip"]
    starts = {t.system_attrs["flips:change"][3] for t in kept} - {None}
    assert starts
    assert not any(study.trials[i].params["L02.mask"] for i in starts)
