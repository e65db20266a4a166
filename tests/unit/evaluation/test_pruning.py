"""Tests that stop a trial: alike for all trials, as Optuna's pruners decide, never a value."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from merit_opt.data.sample import Media, Sample
from merit_opt.evaluation.evaluation import Curtailed, Evaluation, Score
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.evaluation.pruning import Looks, MedianWatch, WilcoxonWatch, is_worse
from merit_opt.evaluation.yardstick import Yardstick
from merit_opt.recipe.constructors import attention, base, uniform
from tests.suites import made_up

VIDEOS = 12
KINDS = ("after", "before", "shown")
SUITE = made_up(
    tuple(
        Sample(
            f"v{v}q{k}",
            (Media(Path(f"{v}"), f"{v}"),),
            "?",
            ("a", "b"),
            0,
            (("kind", k),),
            f"v{v}",
        )
        for v in range(VIDEOS)
        for k in KINDS
    ),
    {"after": "TR", "before": "TR", "shown": "TP"},
)
IDS = tuple(s.id for s in SUITE.samples)
PACKS = [([f"v{v}q{k}" for k in KINDS], 10 + v) for v in range(VIDEOS)]
EVERY = Looks(first=2, every=1)


def scores(seed, level=0.5):
    rng = np.random.default_rng(seed)
    drawn = np.clip(rng.normal(level, 0.15, len(IDS)), 0.01, 0.99)
    return {i: Score(float(p > 0.5), "A", math.log(p)) for i, p in zip(IDS, drawn, strict=True)}


def yardstick(measure="probability"):
    found = scores(0)
    evaluation = Evaluation(SUITE.digest, "base", tuple(found), tuple(found.values()))
    return Yardstick(SUITE, PenalisedGain(measure, 2.0), evaluation)


def asked(watch, found):
    """How many questions a trial is asked before it is stopped, as the engine asks them."""
    so_far = {}
    for index in watch.order(PACKS):
        so_far |= {i: found[i] for i in PACKS[index][0]}
        if watch.is_hopeless(so_far):
            break
    return len(so_far)


def optuna_stops(differences, p):
    """The same question put to Optuna's pruner: the leader at zero, the trial at `differences`."""
    study = optuna.create_study(direction="maximize")
    leader = create_trial(
        value=0.0, intermediate_values=dict.fromkeys(range(len(differences)), 0.0)
    )
    study.add_trial(leader)
    trial = create_trial(
        state=TrialState.RUNNING, intermediate_values=dict(enumerate(differences))
    )
    return optuna.pruners.WilcoxonPruner(p_threshold=p, n_startup_steps=2).prune(study, trial)


@pytest.mark.filterwarnings("ignore:.*experimental")
@given(
    st.lists(
        st.sampled_from([-1.0, -0.5, -0.25, 0.0, 0.125, 0.25, 1.0]), min_size=51, max_size=90
    ),
    st.sampled_from([0.001, 0.1, 0.4]),
)
def test_the_test_is_optuna_s(differences, p):
    """Of numbers that add up without rounding: both ask whether the sum is below zero."""
    assert is_worse(differences, p) == optuna_stops(differences, p)


def test_what_cannot_be_tested_is_not_stopped():
    assert not is_worse([], 0.9)
    assert not is_worse([-1.0], 0.9)
    assert not is_worse([-math.inf] * 30, 0.9)


def test_every_trial_is_asked_in_one_order_that_does_not_depend_on_scores():
    one = WilcoxonWatch(yardstick(), scores(1), EVERY, 0.1)
    other = MedianWatch(yardstick("accuracy"), [scores(2)], EVERY)
    assert one.order(PACKS) == other.order(PACKS)
    assert sorted(one.order(PACKS)) == list(range(VIDEOS))
    backwards = PACKS[::-1]
    assert [backwards[i] for i in one.order(backwards)] == [PACKS[i] for i in one.order(PACKS)]


def test_the_first_questions_are_no_easier_than_the_rest():
    """By name alone: however suites are sorted, the halves of the order mix them."""
    packs = [([f"v{i:04d}"], 1) for i in range(400)]
    order = WilcoxonWatch(yardstick(), {}, EVERY, 0.1).order(packs)
    assert 160 < np.mean(order[:200]) < 240


def test_a_worse_trial_is_stopped_and_a_better_or_equal_one_is_not():
    rule, leader = yardstick(), scores(1, 0.6)
    assert asked(WilcoxonWatch(rule, leader, EVERY, 0.01), scores(2, 0.2)) < len(IDS)
    assert asked(WilcoxonWatch(rule, leader, EVERY, 0.01), scores(3, 0.8)) == len(IDS)
    assert asked(WilcoxonWatch(rule, leader, EVERY, 0.9), leader) == len(IDS)


def test_a_question_that_the_objective_does_not_price_says_nothing():
    found = yardstick()
    free = Yardstick(found.suite, PenalisedGain("probability", 0.0), found.base)
    leader = scores(1, 0.6)
    same_in_reasoning = {
        i: Score(0.0, "B", -9.0) if i.endswith("shown") else s for i, s in leader.items()
    }
    assert asked(WilcoxonWatch(free, leader, EVERY, 0.2), same_in_reasoning) == len(IDS)
    assert asked(WilcoxonWatch(found, leader, EVERY, 0.2), same_in_reasoning) < len(IDS)


@pytest.mark.parametrize("looks", [Looks(6, 6), Looks(10, 1), Looks(30, 5)])
def test_nobody_is_looked_at_before_time(looks):
    watch = WilcoxonWatch(yardstick(), scores(1, 0.9), looks, 0.5)
    seen = []
    watch.is_behind = lambda found: seen.append(len(found))
    asked(watch, scores(2, 0.1))
    assert seen[0] >= looks.first
    assert all(b - a >= looks.every for a, b in pairwise(seen))


def test_the_median_is_of_the_finished_trials_on_the_same_first_questions():
    rule, finished = yardstick(), [scores(seed, 0.4 + seed / 20) for seed in range(1, 8)]
    watch = MedianWatch(rule, finished, EVERY)
    prefix = [i for index in watch.order(PACKS)[:4] for i in PACKS[index][0]]

    def partial(found):
        few = SUITE.only(prefix)
        base = Evaluation(
            few.digest, "b", tuple(prefix), tuple(rule.base.by_id[i] for i in prefix)
        )
        own = Evaluation(few.digest, "r", tuple(prefix), tuple(found[i] for i in prefix))
        return Yardstick(few, rule.objective, base).value(own)

    values = [partial(found) for found in finished]
    for found, value in zip(finished, values, strict=True):
        behind = watch.is_behind({i: found[i] for i in prefix})
        assert behind == (value < np.median(values))


def test_a_role_that_was_not_asked_yet_stops_nobody():
    watch = MedianWatch(yardstick(), [scores(1, 0.9)], EVERY)
    bad = scores(2, 0.1)
    assert not watch.is_behind({i: bad[i] for i in IDS if not i.endswith("shown")})
    assert watch.is_behind(bad)


def test_a_test_proves_no_bound():
    assert WilcoxonWatch(yardstick(), {}, EVERY, 0.1).bound(scores(1)) is None


def test_an_engine_stops_at_a_look_and_keeps_what_was_asked(engine, small_suite):
    asking = engine()
    rule = Yardstick(
        small_suite, PenalisedGain("probability", 2.0), asking.evaluate(base(9), small_suite)
    )
    leader = asking.evaluate(attention(9, {3: 1.0, 5: 1.0}), small_suite).by_id
    worse = uniform(9, 0.9)
    found = asking.evaluate_unless(
        worse, small_suite, WilcoxonWatch(rule, leader, Looks(10, 10), 0.2)
    )
    assert isinstance(found, Curtailed)
    assert (found.bound, len(found.scores)) == (None, found.cost.questions)
    assert 10 <= found.cost.questions < len(small_suite.samples)
    again = asking.evaluate_unless(
        worse, small_suite, WilcoxonWatch(rule, leader, Looks(10, 10), 0.2)
    )
    assert again.scores == found.scores
