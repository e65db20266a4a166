import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from merit_opt.data.sample import Media, Sample
from merit_opt.evaluation import stats
from merit_opt.evaluation.comparison import (
    compare_evaluations,
    detectable_difference,
    mcnemar,
)
from merit_opt.evaluation.evaluation import Evaluation, Score
from tests.suites import made_up

Z = 1.959964 + 0.841621


def suite_of(n, per_group=2):
    media = Media(Path("clip.mp4"), "0")
    return made_up(
        [
            Sample(f"s{i}", (media,), "?", ("a", "b"), 0, (), f"g{i // per_group}")
            for i in range(n)
        ],
        {},
    )


def evaluation(suite, scores):
    return Evaluation(suite.digest, "recipe", tuple(s.id for s in suite.samples), tuple(scores))


def score(p):
    return Score(float(p > 0.5), "A", math.log(p), margin=math.log(p / (1 - p)))


probabilities = st.floats(0.01, 0.99)
pairs = st.lists(st.tuples(probabilities, probabilities), min_size=4, max_size=16)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(stats, "RESAMPLES", 199)


def sides(rows):
    suite = suite_of(len(rows))
    return *(evaluation(suite, [score(row[i]) for row in rows]) for i in (0, 1)), suite


@given(pairs)
@settings(max_examples=15)
def test_swapping_sides_swaps_every_sign(rows):
    first, second, suite = sides(rows)
    one, other = (
        compare_evaluations(a, b, suite, 3) for a, b in ((first, second), (second, first))
    )
    assert other.accuracy.estimate == -one.accuracy.estimate
    assert other.accuracy.p == pytest.approx(one.accuracy.p)
    for measure, difference in one.continuous.items():
        assert other.continuous[measure].estimate == pytest.approx(-difference.estimate)
    swapped = replace(one.mcnemar, gained=one.mcnemar.lost, lost=one.mcnemar.gained)
    assert other.mcnemar == swapped
    assert other.detectable == pytest.approx(one.detectable)


@given(pairs)
@settings(max_examples=10)
def test_an_evaluation_does_not_differ_from_itself(rows):
    first, _, suite = sides(rows)
    found = compare_evaluations(first, first, suite, 0)
    for difference in (found.accuracy, *found.continuous.values()):
        assert (difference.estimate, difference.low, difference.high, difference.p) == (0, 0, 0, 1)
    assert (found.mcnemar.gained, found.mcnemar.lost, found.mcnemar.p) == (0, 0, 1.0)
    assert found.detectable is None


@given(pairs, st.randoms())
@settings(max_examples=10)
def test_the_order_of_samples_does_not_matter(rows, rng):
    first, second, suite = sides(rows)
    order = rng.sample(range(len(rows)), len(rows))

    def shuffled(one):
        return replace(
            one, ids=tuple(one.ids[i] for i in order), scores=tuple(one.scores[i] for i in order)
        )

    assert compare_evaluations(shuffled(first), shuffled(second), suite, 1) == (
        compare_evaluations(first, second, suite, 1)
    )


def test_what_was_not_measured_on_both_sides_is_left_out():
    suite = suite_of(6)
    spoken = evaluation(suite, [Score(float(i % 2), "A") for i in range(6)])
    first, _, _ = sides([(0.6, 0.6)] * 6)
    assert compare_evaluations(spoken, spoken, suite, 0).continuous == {}
    found = compare_evaluations(first, first, suite, 0).continuous
    assert list(found) == ["probability", "log_probability", "margin"]


def test_evaluations_of_different_suites_do_not_compare():
    first, second, suite = sides([(0.6, 0.6)] * 4)
    with pytest.raises(ValueError, match="do not compare"):
        compare_evaluations(first, replace(second, suite="other"), suite, 0)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_binomial_test_of_the_discordant_samples(gained, lost, alike):
    first = {i: float(i < lost) for i in map(str, range(gained + lost + alike)) for i in [int(i)]}
    second = {i: float(lost <= i < lost + gained) for i in first}
    found = mcnemar(first, second)
    assert (found.gained, found.lost) == (gained, lost)
    n, least = gained + lost, min(gained, lost)
    assert found.p == pytest.approx(min(1.0, 2 * binom.cdf(least, n, 0.5)))


def test_of_independent_samples_the_detectable_difference_is_that_of_the_discordance():
    n, gained, lost = 400, 60, 40
    first = {f"s{i}": float(i < lost) for i in range(n)}
    second = {f"s{i}": float(lost <= i < lost + gained) for i in range(n)}
    share, mean = (gained + lost) / n, (gained - lost) / n
    expected = Z * math.sqrt((share - mean**2) / (n - 1))
    found = detectable_difference(first, second, {i: i for i in first})
    assert found == pytest.approx(expected, rel=1e-5)


def test_copies_within_a_group_make_nothing_smaller_detectable():
    first = {f"s{i}": 0.0 for i in range(50)}
    second = {f"s{i}": float(i % 5 == 0) for i in range(50)}
    alone = detectable_difference(first, second, {i: i for i in first})
    copied = [
        {f"{i}/{k}": v for i, v in side.items() for k in range(4)} for side in (first, second)
    ]
    groups = {i: i.split("/")[0] for i in copied[0]}
    assert detectable_difference(*copied, groups) == pytest.approx(alone)


def test_without_spread_nothing_is_said():
    same = {"a": 1.0, "b": 0.0}
    assert detectable_difference(same, same, {"a": "a", "b": "b"}) is None
    assert detectable_difference(same, {"a": 0.0, "b": 0.0}, {"a": "g", "b": "g"}) is None


def test_a_detectable_difference_is_detected_four_times_in_five():
    rng = np.random.default_rng(0)
    groups, size, worlds = 150, 3, 1500
    ids = [f"s{i}" for i in range(groups * size)]
    of = {i: f"g{int(i[1:]) // size}" for i in ids}

    def world(effect):
        """Paired differences of accuracy, -1, 0 or 1, those of a video alike."""
        tendency = rng.normal(0.0, 0.15, groups).repeat(size)
        up = np.clip(0.25 + (effect + tendency) / 2, 0, 1)
        down = np.clip(0.25 - (effect + tendency) / 2, 0, 1)
        draw = rng.random(groups * size)
        return np.where(draw < up, 1.0, np.where(draw > 1 - down, -1.0, 0.0))

    def detectable(values):
        zero = dict.fromkeys(ids, 0.0)
        return detectable_difference(zero, dict(zip(ids, values.tolist(), strict=True)), of)

    effect = float(np.mean([detectable(world(0.1)) for _ in range(60)]))
    found = 0
    for _ in range(worlds):
        values = world(effect)
        error = detectable(values) / Z
        found += abs(values.mean()) > 1.959964 * error
    assert found / worlds == pytest.approx(0.80, abs=0.04)
