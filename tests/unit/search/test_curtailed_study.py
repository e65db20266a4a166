"""Stopping hopeless proposals changes what is measured, and nothing of what is found."""

import math
from dataclasses import replace

import pytest
from optuna.trial import TrialState

from merit_opt.evaluation.cost import Cost
from merit_opt.recipe.constructors import attention
from merit_opt.search import pruners
from merit_opt.search.samplers import cmaes, random, tpe
from merit_opt.search.storage.memory import in_memory
from merit_opt.search.trial import best, run_trial

SAMPLERS = {
    "random": random(),
    "tpe": tpe(n_startup_trials=10),
    "cmaes": cmaes(sigma0=None),
}


def incumbents(study):
    """Number and value of every trial that led when it was told."""
    found = []
    for trial in study.trials:
        if trial.params and trial.value is not None and (not found or trial.value > found[-1][1]):
            found.append((trial.number, trial.value))
    return found


@pytest.fixture
def studies(world):
    """The same study measured in full and curtailed."""
    world.sampler = random()
    full = world.work(60)
    other = replace(world, storage=in_memory(), engine=type(world.engine)(), curtails=True)
    return full, other.work(60), other


def test_incumbents_and_winner_are_those_of_full_evaluation(studies):
    full, curtailed, _ = studies
    assert [t.params for t in curtailed.trials[:50]] == [t.params for t in full.trials[:50]]
    assert incumbents(curtailed) == incumbents(full)
    assert curtailed.best_trial.params == full.best_trial.params
    assert best(curtailed).number == best(full).number


def test_a_stopped_trial_is_pruned_with_its_bound_and_no_value(studies):
    full, curtailed, world = studies
    pruned = [t for t in curtailed.trials if t.state == TrialState.PRUNED]
    assert len(pruned) > 20
    for trial in pruned:
        assert trial.value is None
        assert trial.intermediate_values == {}
        true = full.trials[trial.number].value
        bound = trial.user_attrs["record"]["metrics"]["bound"]
        leader = max(v for n, v in incumbents(full) if n < trial.number)
        assert true <= bound <= leader
    records = {r.number: r for r in world.told.trials[-60:]}
    assert {records[t.number].state for t in pruned} == {"PRUNED"}


def test_an_equal_value_beats_a_leader_of_a_greater_number_alone(world):
    """As told in parallel: of equals the trial with the smaller number wins."""
    world.sampler, world.curtails = random(), True
    study, bench, asked = world.study(), world.bench(), []

    def measure(recipe, curtailment):
        asked.append(curtailment)
        return bench.measure(recipe, None)

    spying = replace(bench, measure=measure)
    merged = world.space.params(attention(world.space.n_layers, {0: 0.5}))
    for _ in range(3):
        study.enqueue_trial(merged)
    early, leader, late = (study.ask() for _ in range(3))
    value = run_trial(study, leader, bench).value
    for trial in (early, late):
        run_trial(study, trial, spying)
    assert [c.to_beat for c in asked] == [math.nextafter(value, -math.inf), value]


def test_controls_are_always_measured_in_full(studies):
    _, curtailed, _ = studies
    controls = [t for t in curtailed.trials if "control" in t.user_attrs]
    assert {t.state for t in controls} == {TrialState.COMPLETE}
    assert len(controls) > 5


def test_stopped_trials_count_towards_the_budget(studies):
    _, curtailed, _ = studies
    states = [t.state for t in curtailed.trials]
    assert states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED) == 60


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_any_sampler_can_be_curtailed(world, sampler):
    world.sampler, world.curtails = sampler, True
    study = world.work(40)
    assert {t.state for t in study.trials} == {TrialState.COMPLETE, TrialState.PRUNED}


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_a_curtailed_study_stopped_and_resumed_equals_an_uninterrupted_one(
    world, sampler, tmp_path
):
    world.sampler, world.curtails = sampler, True
    whole = world.run(40)
    other = replace(
        world, folder=tmp_path / "other", storage=in_memory(), engine=type(world.engine)()
    )
    states = [t.state for t in world.study().trials]

    def interrupt(recipe, count):
        if count == 27:
            raise KeyboardInterrupt

    other.engine.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        other.run(40)
    other.engine.before = lambda recipe, count: None
    resumed = other.run(40)
    for outcome in (resumed, whole):
        for one in outcome["confirm"]["top"]:
            one["number"] = 0
    for key in ("base", "confirm", "cost"):
        assert resumed[key] | {"seconds": 0} == whole[key] | {"seconds": 0}
    assert resumed["best"] | {"number": 0} == whole["best"] | {"number": 0}
    assert resumed["trials"] == whole["trials"] | {"failed": 1}
    found = [t.state for t in other.study().trials if t.state != TrialState.FAIL]
    assert found == states
    assert whole["trials"]["pruned"] > 0


def test_curtailing_is_for_samplers_that_do_not_learn_unless_it_is_asked_for():
    learns = {name: s.learns for name, s in SAMPLERS.items()}
    assert learns == {"random": False, "tpe": True, "cmaes": True}
    for sampler in SAMPLERS.values():
        assert pruners.auto()(sampler) == (None if sampler.learns else pruners.CURTAIL)
        assert pruners.curtail()(sampler) == pruners.CURTAIL
        assert pruners.none()(sampler) is None


def test_a_cost_is_numbers_with_what_is_unknown_left_out():
    cost = Cost(1.0, 2.0, 3.0, 4.0, 5, 6, 7, 0.5, 10.0, 4.0, None, 0)
    assert (cost.seconds, cost.utilisation) == (10.0, 0.5)
    assert "peak_bytes" not in cost.numbers
    assert replace(cost, peak_bytes=9).numbers["peak_bytes"] == 9.0
    assert replace(cost, load=0.0, forward=0.0).utilisation == 0.0
