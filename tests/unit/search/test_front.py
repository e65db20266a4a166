"""Who leads: the greatest value, or the trial that is picked from a front."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.evaluation.objective import ConstrainedGain, ParetoGain, PenalisedGain
from merit_opt.recipe.constructors import attention
from merit_opt.search.front import Pick, leader, leaders, pareto_front, simplest
from merit_opt.tracking.record import TrialRecord

KNEE, WITHIN = Pick("knee", 0.0), Pick("tp_loss", 0.1)
gains = st.floats(-1.0, 1.0).map(lambda x: round(x, 2))
points = st.lists(st.tuples(gains, gains), min_size=1, max_size=12)


def record(number, *values, feasible=True, layer=None):
    return TrialRecord(
        number=number,
        state="COMPLETE",
        role="trial",
        name="",
        recipe=attention(30, {number if layer is None else layer: 0.5}),
        value=math.fsum(values),
        metrics={},
        seconds={},
        cost={},
        values=values,
        feasible=feasible,
    )


def records(*pairs):
    return [record(number, *pair) for number, pair in enumerate(pairs)]


def beats(one, other):
    return (
        all(a >= b for a, b in zip(one.values, other.values, strict=True))
        and one.values != other.values
    )


@given(points)
def test_the_front_is_what_nothing_beats_and_each_of_it_once(pairs):
    found = records(*pairs)
    expected = {r.values: r.number for r in reversed(found) if not any(beats(o, r) for o in found)}
    front = pareto_front(found)
    assert {r.values: r.number for r in front} == expected
    assert [r.values[0] for r in front] == sorted((r.values[0] for r in front), reverse=True)


@given(points, st.sampled_from([KNEE, WITHIN]), st.randoms())
def test_the_pick_is_of_the_front_whatever_the_order(pairs, pick, rng):
    found = records(*pairs)
    first = leader(found, pick)
    assert first in pareto_front(found)
    assert leader(rng.sample(found, len(found)), pick) == first


@given(points, st.floats(0.1, 9.0), st.floats(0.1, 9.0))
def test_the_knee_of_a_front_with_a_bulge_does_not_depend_on_its_units(pairs, one, other):
    bulge = [(0.0, 1.0), (0.8, 0.7), (1.0, 0.0)]
    scaled = [(a * one, b * other) for a, b in bulge]
    assert leader(records(*scaled), KNEE).number == 1


@pytest.mark.parametrize(
    ("pairs", "number"),
    [
        ([(0.0, 0.0), (0.3, -0.1), (0.4, -0.5)], 1),  # a bulge
        ([(0.0, 0.0), (0.05, -0.4), (0.4, -0.5)], 0),  # a dent: the end with the greater sum
        ([(0.0, 0.0), (0.4, -0.1)], 1),  # two ends: the greater sum
        ([(0.0, 0.0), (0.1, -0.5)], 0),
        ([(0.0, 0.0), (0.25, -0.25)], 0),  # equal sums: the greater TP gain
        ([(0.0, 0.0), (0.5, -0.5), (0.25, -0.25)], 0),  # on the line all are equal
        ([(0.2, 0.1), (0.2, 0.1)], 0),  # one point: the earlier
        ([(0.1, 0.0), (0.2, 0.1), (0.0, 0.0)], 1),  # one trial beats all
    ],
)
def test_knees(pairs, number):
    assert leader(records(*pairs), KNEE).number == number


@pytest.mark.parametrize(
    ("pairs", "number"),
    [
        ([(0.0, 0.0), (0.3, -0.1), (0.4, -0.5)], 1),
        ([(0.0, 0.0), (0.3, -0.11), (0.4, -0.5)], 0),
        ([(0.3, -0.1), (0.2, 0.2), (0.3, -0.1)], 0),
        ([(0.5, -0.3), (0.6, -0.4)], 0),  # before the base is told: the one that loses least
    ],
)
def test_the_greatest_gain_that_costs_no_more_than_epsilon(pairs, number):
    assert leader(records(*pairs), WITHIN).number == number


def test_of_one_value_the_greatest_that_is_feasible_leads():
    found = [record(0, 0.1), record(1, 0.9, feasible=False), record(2, 0.4), record(3, 0.4)]
    assert leader(found, None).number == 2
    assert leader(found[1:2], None) is None
    assert leader([], KNEE) is None


def test_the_best_of_the_others_follows_and_no_recipe_twice():
    found = [
        record(0, 0.1),
        record(1, 0.9, layer=7),
        record(2, 0.9, layer=7),
        record(3, 0.8, feasible=False),
        record(4, 0.5),
    ]
    assert [r.number for r in leaders(found, None, 9)] == [1, 4, 0]
    assert [r.number for r in leaders(found, None, 2)] == [1, 4]


@given(points, st.sampled_from([KNEE, WITHIN]))
def test_all_distinct_recipes_come_in_the_end(pairs, pick):
    found = records(*pairs)
    order = leaders(found, pick, 99)
    assert sorted(r.number for r in order) == list(range(len(found)))
    assert order[0] == leader(found, pick)


def test_only_two_gains_are_picked_from():
    assert Pick.of(ParetoGain("accuracy", "tp_loss", 0.1)) == WITHIN
    assert Pick.of(PenalisedGain("accuracy", 2.0)) is None
    assert Pick.of(ConstrainedGain("accuracy", 0.1)) is None


def merging(number, value, *layers):
    merged = attention(30, dict.fromkeys(layers, 1.0))
    return replace(record(number, value, layer=0), recipe=merged)


def size(recipe):
    return len(recipe.merged_layers)


def test_layers_that_are_worth_little_are_not_named():
    found = [
        merging(0, 0.0),
        merging(1, 0.50, 3, 5),
        merging(2, 0.51, 3, 5, 7),
        merging(3, 0.2, 3),
    ]
    leading = leader(found, None)
    assert (leading.number, simplest(found, leading, 0.025, size).number) == (2, 1)
    assert simplest(found, leading, 0.0, size).number == 2
    assert simplest(found, leading, 0.35, size).number == 0
    assert simplest(found, leading, 0.35, lambda recipe: 0).number == 2


@given(st.lists(st.tuples(gains, st.sets(st.integers(0, 5))), min_size=1), st.floats(0.0, 0.9))
def test_the_simplest_merges_no_more_than_the_leader_and_its_price_pays(pairs, price):
    found = [merging(number, value, *layers) for number, (value, layers) in enumerate(pairs)]
    leading = leader(found, None)
    named = simplest(found, leading, price, size)
    assert size(named.recipe) <= size(leading.recipe)
    assert (
        leading.value - named.value <= price * (size(leading.recipe) - size(named.recipe)) + 1e-12
    )
