import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.data.sample import Media, Sample
from merit_opt.evaluation.curtail import Curtailment, MissHistory
from merit_opt.evaluation.evaluation import Curtailed, Evaluation, Score
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.evaluation.yardstick import GREATEST, Yardstick
from merit_opt.recipe.constructors import attention, base, uniform
from tests.suites import made_up

MEASURES = ("accuracy", "probability", "log_probability", "margin")
VIDEOS = 4
CATEGORIES = ("after", "before", "shown")


def made_up_suite():
    samples = tuple(
        Sample(
            f"v{v}q{q}",
            (Media(Path(f"{v}"), f"{v}"),),
            "?",
            ("a", "b"),
            0,
            (("kind", c),),
            f"v{v}",
        )
        for v in range(VIDEOS)
        for q, c in enumerate(CATEGORIES)
    )
    roles = {"after": "TR", "before": "TR", "shown": "TP"}
    return made_up(samples, roles)


SUITE = made_up_suite()
IDS = tuple(s.id for s in SUITE.samples)
log_probabilities = st.floats(-20.0, 0.0)
score_lists = st.lists(log_probabilities, min_size=len(IDS), max_size=len(IDS)).map(
    lambda logs: tuple(Score(float(x > -0.7), "A", x, margin=x + 0.7) for x in logs)
)


def evaluation(scores):
    return Evaluation(SUITE.digest, "recipe", IDS, scores)


def yardstick(measure, penalty, base_scores):
    return Yardstick(SUITE, PenalisedGain(measure, penalty), evaluation(base_scores))


yardsticks = st.builds(
    yardstick, st.sampled_from(MEASURES), st.sampled_from([0.0, 0.5, 2.0, 7.3]), score_lists
)


@given(yardsticks, score_lists, st.permutations(IDS))
def test_the_bound_never_rises_and_ends_at_the_value_bit_for_bit(rule, scores, order):
    known = dict(zip(IDS, scores, strict=True))
    value = rule.value(evaluation(scores))
    asked, bounds = {}, [rule.bound({})]
    for i in order:
        asked[i] = known[i]
        bounds.append(rule.bound(asked))
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] == value


@given(
    yardsticks.filter(lambda rule: rule.objective.score != "margin"),
    score_lists,
    st.sets(st.sampled_from(IDS)),
)
def test_the_bound_is_reached_when_all_the_rest_is_right(rule, scores, asked):
    best = Score(1.0, "A", 0.0, margin=math.inf)
    mixed = [s if i in asked else best for i, s in zip(IDS, scores, strict=True)]
    known = {i: s for i, s in zip(IDS, scores, strict=True) if i in asked}
    assert rule.bound(known) == rule.value(evaluation(tuple(mixed)))


@given(yardsticks, st.sets(st.sampled_from(IDS), max_size=3))
def test_samples_that_no_recipe_is_asked_leave_the_bound_alone(rule, lost):
    scores = tuple(
        Score(None, why="gone") if i in lost else s
        for i, s in zip(IDS, rule.base.scores, strict=True)
    )
    found = Yardstick(SUITE, rule.objective, evaluation(scores))
    known = {i: s for i, s in zip(IDS, scores, strict=True) if i not in lost}
    assert found.bound(known) == found.value(evaluation(scores))


def in_full(rule, incumbent, scores):
    value = rule.value(evaluation(scores))
    return value if incumbent is None or value > incumbent else None


def curtailed(rule, incumbent, scores, history):
    """The value of a trial that beats the incumbent, in videos as the engine asks them."""
    known = dict(zip(IDS, scores, strict=True))
    packs = [([i for i in IDS if i.startswith(f"v{v}q")], 5 + v) for v in range(VIDEOS)]
    stop = Curtailment(rule, -math.inf if incumbent is None else incumbent, history.misses)
    asked = {}
    for index in stop.order(packs):
        asked |= {i: known[i] for i in packs[index][0]}
        if len(asked) < len(IDS) and stop.is_hopeless(asked):
            history.add(asked)
            return None, len(asked)
    history.add(known)
    return in_full(rule, incumbent, scores), len(asked)


@given(yardsticks, st.lists(score_lists, max_size=12))
def test_the_sequence_of_incumbents_is_that_of_full_evaluation(rule, trials):
    history, incumbents = MissHistory(rule), {"full": [None], "curtailed": [None]}
    for scores in trials:
        full = in_full(rule, incumbents["full"][-1], scores)
        quick, _ = curtailed(rule, incumbents["curtailed"][-1], scores, history)
        assert quick == full
        for name, value in (("full", full), ("curtailed", quick)):
            incumbents[name].append(incumbents[name][-1] if value is None else value)
    assert incumbents["full"] == incumbents["curtailed"]


def constant(p):
    return tuple(Score(float(p > 0.5), "A", math.log(p)) for _ in IDS)


def test_a_hopeless_trial_asks_less_than_all():
    rule = yardstick("accuracy", 2.0, constant(0.6))
    history = MissHistory(rule)
    leader = rule.value(evaluation(constant(0.9)))
    value, asked = curtailed(rule, leader, constant(0.1), history)
    assert (value, asked) == (None, 3)


def test_an_equal_is_no_winner_and_need_not_be_finished():
    rule = yardstick("accuracy", 2.0, constant(0.6))
    stop = Curtailment(rule, rule.value(evaluation(constant(0.9))), {})
    assert stop.is_hopeless({})


def test_videos_are_asked_in_the_order_that_lowers_the_bound_soonest():
    rule = yardstick("accuracy", 2.0, constant(0.6))
    misses = {"v2q0": 0.9, "v1q2": 0.9, "v3q0": 0.9, "v3q1": 0.9}
    packs = [([i for i in IDS if i.startswith(f"v{v}q")], 10) for v in range(VIDEOS)]
    stop = Curtailment(rule, 0.0, misses)
    # A TP answer costs 2/4, a TR answer 1/8.
    assert stop.order(packs) == [1, 3, 2, 0]
    packs[1] = (packs[1][0], 1000)
    assert stop.order(packs) == [3, 2, 1, 0]


def test_history_is_the_mean_miss_of_the_scores_seen():
    rule = yardstick("probability", 2.0, constant(0.5))
    history = MissHistory(rule)
    history.add({IDS[0]: constant(0.9)[0], IDS[1]: Score(None, why="gone")})
    expected = dict.fromkeys(IDS, 0.5) | {IDS[0]: 0.3}
    assert history.misses == pytest.approx(expected)


def test_every_measure_has_its_greatest_score():
    best = Score(1.0, "A", 0.0, margin=math.inf)
    assert {m: best.measured(m) for m in MEASURES} == GREATEST


@pytest.mark.parametrize("measure", ["accuracy", "probability", "log_probability"])
def test_a_curtailed_trial_has_a_true_bound_and_no_value(engine, small_suite, measure):
    asked = engine()
    yardstick = Yardstick(
        small_suite, PenalisedGain(measure, 2.0), asked.evaluate(base(9), small_suite)
    )
    leader = yardstick.value(asked.evaluate(attention(9, {3: 1.0, 5: 1.0}), small_suite))
    worse = uniform(9, 0.9)
    stop = Curtailment(yardstick, leader, MissHistory(yardstick).misses)
    found = asked.evaluate_unless(worse, small_suite, stop)
    assert isinstance(found, Curtailed)
    assert found.cost.questions + found.cost.questions_saved == len(small_suite.samples)
    assert found.cost.questions == len(found.scores) < len(small_suite.samples)
    assert asked.known_scores(worse, small_suite) == found.scores
    full = asked.evaluate(worse, small_suite)
    assert asked.known_scores(worse, small_suite) == full.by_id
    assert yardstick.value(full) <= found.bound <= leader
    known = dict(zip(full.ids, full.scores, strict=True))
    assert {i: known[i] for i in found.scores} == found.scores


def test_a_trial_that_wins_is_measured_in_full(engine, half):
    asked = engine()
    yardstick = Yardstick(half, PenalisedGain("accuracy", 2.0), asked.evaluate(base(9), half))
    stop = Curtailment(yardstick, 0.0, MissHistory(yardstick).misses)
    found = asked.evaluate_unless(attention(9, {3: 1.0, 5: 1.0}), half, stop)
    assert found == engine().evaluate(attention(9, {3: 1.0, 5: 1.0}), half)
