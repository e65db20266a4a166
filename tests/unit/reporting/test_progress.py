"""What is made of told trials."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.recipe.constructors import attention
from merit_opt.reporting.blocks import TableBlock
from merit_opt.reporting.cost import costs
from merit_opt.reporting.figures.trials import Point
from merit_opt.reporting.progress import (
    best_so_far,
    best_tenth,
    progress,
    stability,
    undominated,
)
from merit_opt.reporting.progress import trials as trials_of
from merit_opt.reporting.studies import over_studies
from merit_opt.reporting.surrogate import surrogate
from merit_opt.reporting.tables import Estimate
from tests.reports import ANSWER, LAYERS, bare, study, trial, trials

scores = st.floats(0.0, 1.0).map(lambda x: round(x, 1))


@given(st.lists(st.tuples(scores, scores), max_size=12))
def test_the_front_is_beaten_by_nobody_and_beats_all_others(pairs):
    points = [Point(i, "proposal", 0.0, *pair) for i, pair in enumerate(pairs)]
    front = [points[i] for i in undominated(points)]

    def beats(a, b):
        return a.TR >= b.TR and a.TP >= b.TP

    assert not any(beats(a, b) for a in front for b in front if a is not b)
    assert all(any(beats(a, b) for a in front) for b in points)


def test_the_best_so_far_only_rises_and_random_layers_cannot_lead():
    curve = list(best_so_far(trials()))
    assert [v for _, v in curve] == sorted({v for _, v in curve})
    lucky = trial(0, attention(LAYERS, {1: 1.0}), role="control", name="random-layers:a/1")
    assert list(best_so_far([lucky])) == []


def test_a_trial_that_misses_a_constraint_does_not_lead():
    assert list(best_so_far([trial(0, attention(LAYERS, {1: 1.0}), feasible=False)])) == []


def test_the_best_tenth_holds_distinct_proposals_best_first():
    best = best_tenth(trials())
    assert len(best) == 3
    assert len({t.recipe for t in best}) == 3
    assert all(t.role == "trial" and t.state == "COMPLETE" for t in best)
    assert best[0].recipe == attention(LAYERS, dict.fromkeys(ANSWER, 1.0))


def test_the_layers_of_the_answer_are_those_that_most_of_the_best_merge():
    picture = stability(trials(), ANSWER)
    (shares,) = picture.data.series.values()
    ranked = sorted(range(LAYERS), key=lambda i: -shares[i])
    assert set(ranked[:2]) == set(ANSWER)
    assert shares[ranked[1]] > shares[ranked[2]]
    assert stability(trials()[:5], ANSWER) is None


def test_a_surrogate_finds_the_layers_and_says_how_far_to_believe_it():
    fitted = surrogate(trials(), seed=0)
    ranked = sorted(fitted.effects, key=lambda place: -fitted.effects[place])
    assert {layer for _, layer in ranked[:2]} == set(ANSWER)
    assert fitted.r2 < 1.0
    assert len(fitted.predicted) == len(fitted.measured)
    assert surrogate(trials(), seed=0) == fitted


def test_a_surrogate_of_noise_is_not_believed():
    noise = [trial(t.number, t.recipe, value=math.sin(1e3 * t.number**2)) for t in trials()[3:-3]]
    assert surrogate(noise, seed=0).r2 < 0.3


def test_too_few_recipes_have_no_surrogate():
    assert surrogate(trials()[:10], seed=0) is None


def test_what_a_trial_cost_and_was_saved_is_what_a_full_one_costs():
    found = costs(trials())
    whole = [
        sum(parts)
        for parts in zip(found.flops, found.prefix, found.curtailed, found.cached, strict=True)
    ]
    failed = found.numbers.index(24)
    assert [round(w / 1e9, 9) for i, w in enumerate(whole) if i != failed] == [1.0] * (
        len(whole) - 1
    )
    assert whole[failed] == 0.0


@pytest.mark.parametrize("values", [[0.25], [0.0, 0.5], [0.25, 0.25, 0.25]])
def test_fewer_than_three_studies_or_studies_that_are_alike_have_no_interval(values):
    assert over_studies(values).mean == 0.25


def test_three_studies_have_students_interval():
    three = over_studies([0.0, 1.0, 2.0])
    assert isinstance(three.mean, Estimate)
    assert three.mean.high - three.mean.value == pytest.approx(4.3027 / math.sqrt(3), 1e-3)


def test_the_value_says_which_score_it_is_of():
    assert trials_of(bare(study())).unit == "value maximised, in probability"
    (table,) = (b.table for b in progress(bare(study())).blocks if isinstance(b, TableBlock))
    assert "what the search maximises, in probability" in table.note
