"""Who leads: the greatest value, or the trial that is picked from a front."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.errors import UserError
from merit_opt.evaluation.objective import ConstrainedGain, ParetoGain, PenalisedGain
from merit_opt.recipe.constructors import attention
from merit_opt.search.front import Pick, Thrift, choice_of, leader, leaders, pareto_front
from merit_opt.tracking.record import TrialRecord

KNEE, WITHIN = Pick("knee", 0.0), Pick("tp_loss", 0.1)
GREATEST = Thrift(0.0)
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
    assert leader(found, GREATEST).number == 2
    assert leader(found[1:2], GREATEST) is None
    assert leader([], KNEE) is None


def test_the_best_of_the_others_follows_and_no_recipe_twice():
    found = [
        record(0, 0.1),
        record(1, 0.9, layer=7),
        record(2, 0.9, layer=7),
        record(3, 0.8, feasible=False),
        record(4, 0.5),
    ]
    assert [r.number for r in leaders(found, GREATEST, 9)] == [1, 4, 0]
    assert [r.number for r in leaders(found, GREATEST, 2)] == [1, 4]


@given(points, st.sampled_from([KNEE, WITHIN]))
def test_all_distinct_recipes_come_in_the_end(pairs, pick):
    found = records(*pairs)
    order = leaders(found, pick, 99)
    assert sorted(r.number for r in order) == list(range(len(found)))
    assert order[0] == leader(found, pick)


def test_one_value_is_thrifty_and_two_gains_are_picked_from():
    assert choice_of(ParetoGain("accuracy", "tp_loss", 0.1), 0.05) == WITHIN
    assert choice_of(PenalisedGain("accuracy", 2.0), 0.05) == Thrift(0.05)
    assert choice_of(ConstrainedGain("accuracy", 0.1), 0.05) == Thrift(0.05)
    for share in (-0.1, 1.0):
        with pytest.raises(UserError, match=r"least_share lies in \[0, 1\)"):
            Thrift(share)


def switches(number: int, value: float, on: int) -> TrialRecord:
    return replace(record(number, value, layer=0), switched_on=on)


def test_of_those_near_the_greatest_the_fewest_switches_win():
    found = [switches(0, 0.0, 0), switches(1, 0.50, 2), switches(2, 0.51, 3), switches(3, 0.2, 1)]
    assert [leader(found, Thrift(share)).number for share in (0.0, 0.05, 0.9)] == [2, 1, 3]


told = st.lists(st.tuples(gains, st.integers(0, 5)), min_size=1).map(
    lambda pairs: [switches(number, *pair) for number, pair in enumerate(pairs)]
)
shares = st.sampled_from([0.0, 0.05, 0.3, 0.9])


@given(told, shares)
def test_what_is_returned_is_near_the_greatest_and_has_no_more_on(found, share):
    greatest, thrifty = leader(found, GREATEST), leader(found, Thrift(share))
    assert thrifty.switched_on <= greatest.switched_on
    assert thrifty.value >= greatest.value - share * max(0.0, greatest.value) - 1e-12
    assert all(r.value <= greatest.value for r in found)


@given(told, shares, st.data())
def test_who_does_not_exceed_the_bar_never_leads_and_judges_nobody(found, share, data):
    """Whatever is told later: without it, the same trial leads after each."""
    number = data.draw(st.integers(0, len(found) - 1))
    judged = found[number]
    before = data.draw(st.lists(st.sampled_from(found), unique_by=lambda r: r.number))
    before = [r for r in before if r.number != number]
    if before and judged.value <= Thrift(share).to_beat(before, number, judged.switched_on):
        later = [r for r in found if r.number != number and r not in before]
        for n in range(len(later) + 1):
            known = before + later[:n]
            assert leader([*known, judged], Thrift(share)) == leader(known, Thrift(share))


@pytest.mark.parametrize(
    ("rivals", "bar"),
    [
        ([(0.5, 3)], 0.5),
        ([(0.5, 4)], 0.475),  # with fewer on it may lead from just above the floor
        ([(0.5, 2)], 0.5),
        ([(0.5, 2), (0.6, 9)], 0.57),
        ([(0.59, 3), (0.6, 4)], 0.59),
        ([(-0.2, 4)], -0.2),
    ],
)
def test_what_a_proposal_of_three_switches_must_exceed(rivals, bar):
    told = [switches(number, *rival) for number, rival in enumerate(rivals)]
    assert Thrift(0.05).to_beat(told, 9, 3) == pytest.approx(bar)


def test_of_equals_the_earlier_is_to_be_beaten():
    assert Thrift(0.0).to_beat([switches(0, 0.5, 3)], 1, 3) == 0.5
    assert Thrift(0.0).to_beat([switches(1, 0.5, 3)], 0, 3) < 0.5
