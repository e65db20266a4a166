"""What a trial leaves behind, and who can win."""

import json
import math

import pytest
from optuna.trial import TrialState, create_trial

from merit_opt.recipe.constructors import attention, base, uniform
from merit_opt.recipe.recipe import to_json
from merit_opt.search.controls import RANDOM_LAYERS
from merit_opt.search.samplers import CONTROL
from merit_opt.search.spaces import switched_on
from merit_opt.search.trial import RECORD, best, greatest, record_of, run_trial

LAYERS = 6


def tell(world, value: float, recipe, control: str = "") -> None:
    """A finished trial as a worker would have left it."""
    params = world.space.params(recipe)
    kept = {"recipe": to_json(recipe), "metrics": {}, "seconds": {}, "why": ""}
    kept["switched_on"] = switched_on(world.space, recipe)
    attrs = {RECORD: kept} | ({CONTROL: [control, to_json(recipe)]} if control else {})
    world.study().add_trial(
        create_trial(
            state=TrialState.COMPLETE,
            value=value,
            params=params or {},
            distributions=world.space.distributions if params else {},
            user_attrs=attrs,
        )
    )


def test_a_record_read_back_is_the_one_told(world):
    study = world.work(9)
    told = [record_of(t) for t in study.trials]
    assert told == world.told.trials
    assert [r.number for r in told] == list(range(9))
    assert all(json.dumps(dict(r.metrics), allow_nan=False) for r in told)
    assert {(r.role, bool(r.name)) for r in told} == {("control", True), ("trial", False)}


def test_a_record_says_what_was_measured(world):
    study = world.study()
    record = run_trial(study, study.ask(), world.bench())
    (recipe, suite), *rest = world.engine.asked
    assert (record.recipe, rest, suite) == (recipe, [], world.split.search)
    assert record.metrics.keys() == {"TR", "TP", "objective", "unscored"}
    assert record.seconds.keys() >= {"suggest", "evaluate"}
    assert record.value == study.trials[0].value


def test_the_value_is_in_the_measure_searched_and_the_metrics_in_accuracy(world):
    study = world.study()
    record = run_trial(study, study.ask(), world.bench())
    accuracy = record.metrics
    first = world.bench().yardstick.metrics(world.bench().yardstick.base)
    loss = max(0.0, first["TP"] - accuracy["TP"])
    assert accuracy["objective"] == pytest.approx(accuracy["TR"] - first["TR"] - 2.0 * loss)
    assert not math.isclose(record.value, accuracy["objective"])


def test_a_trial_that_died_before_it_was_measured_has_no_record(world):
    study = world.study()
    study.ask()
    assert record_of(study.trials[0]) is None
    study.tell(0, state=TrialState.FAIL)
    assert record_of(study.trials[0]) is None


def test_nobody_has_won_an_empty_study(world):
    assert best(world.study()) is None


def test_the_winner_has_the_greatest_value(world):
    for value in (0.1, 0.5, 0.3):
        tell(world, value, attention(LAYERS, {0: value}))
    assert best(world.study()).number == greatest(world.study()).number == 1


def test_a_layer_that_is_worth_too_little_is_not_in_the_winner(world):
    tell(world, 0.50, attention(LAYERS, {0: 0.5}))
    tell(world, 0.52, attention(LAYERS, {0: 0.5, 1: 0.5}))
    assert (best(world.study()).number, greatest(world.study()).number) == (0, 1)


def test_the_earliest_of_equals_wins(world):
    for layer in (2, 1, 3):
        tell(world, 0.5, attention(LAYERS, {layer: 0.5}))
    assert best(world.study()).number == 0


def test_the_base_can_win(world):
    tell(world, -0.5, attention(LAYERS, {0: 0.5}))
    tell(world, 0.0, base(LAYERS), "base")
    assert best(world.study()).name == "base"


def test_a_control_inside_the_space_can_win_and_one_outside_cannot(world):
    tell(world, 0.2, uniform(LAYERS, 0.5), "uniform:0.5")
    tell(world, 0.9, uniform(LAYERS, 0.01), "uniform:0.01")
    assert best(world.study()).name == "uniform:0.5"


def test_a_random_layer_control_never_wins(world):
    tell(world, 0.2, attention(LAYERS, {0: 0.5}))
    tell(world, 0.9, attention(LAYERS, {1: 0.5}), f"{RANDOM_LAYERS}:abc/1")
    assert best(world.study()).number == 0
