from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.data.sample import YES_NO, Media, Number, Sample
from merit_opt.data.suite import Aggregate
from merit_opt.evaluation.aggregate import (
    Aggregated,
    LabelShare,
    aggregated,
    chance_corrected,
    label_shares,
    parse_failure_rate,
)
from merit_opt.evaluation.evaluation import Evaluation, Score
from tests.suites import made_up

RIGHT, WRONG, GONE = Score(1.0, "A"), Score(0.0, "B"), Score(None, why="gone")


def sample(number, options=("a", "b"), answer=0, **categories):
    media = Media(Path("clip.mp4"), "0")
    return Sample(
        f"s{number}",
        (media,),
        "?",
        options,
        answer,
        tuple(categories.items()),
        f"g{number}",
        is_yes_no=options == YES_NO,
    )


def measured(samples, scores, *aggregates):
    suite = replace(made_up(samples, {}), aggregates=aggregates)
    ids = tuple(s.id for s in suite.samples)
    return Evaluation(suite.digest, "recipe", ids, tuple(scores)), suite


def numbers(evaluation, suite):
    return aggregated(evaluation, suite, evaluation.by_id)


def tasks(*names):
    return [sample(i, task=name) for i, name in enumerate(names)]


def test_a_mean_is_of_the_scored_samples_that_it_is_about():
    samples = tasks("one", "one", "two", "one")
    scores = [RIGHT, GONE, WRONG, WRONG]
    found = numbers(
        *measured(
            samples,
            scores,
            Aggregate("all", "mean"),
            Aggregate("one", "mean", where=(("task", "one"),)),
        )
    )
    assert found == (Aggregated("all", pytest.approx(1 / 3), 3, 1), Aggregated("one", 0.5, 2, 1))


def test_a_mean_of_means_counts_each_group_once():
    samples = tasks("one", "one", "one", "two", "three")
    scores = [RIGHT, RIGHT, WRONG, WRONG, GONE]
    (found,) = numbers(*measured(samples, scores, Aggregate("tasks", "mean_of_means", "task")))
    assert found == Aggregated("tasks", pytest.approx(1 / 3), 2, 1)


def test_a_group_is_right_when_all_of_it_is_and_unscored_when_some_of_it_is():
    samples = tasks("one", "one", "two", "two", "three", "three", "four", "four")
    scores = [RIGHT, RIGHT, RIGHT, WRONG, RIGHT, GONE, WRONG, GONE]
    (found,) = numbers(*measured(samples, scores, Aggregate("pairs", "all_right", "task")))
    assert found == Aggregated("pairs", 0.5, 2, 2)


def test_samples_without_the_category_are_in_no_group():
    samples = [*tasks("one"), sample(9)]
    (found,) = numbers(*measured(samples, [RIGHT, WRONG], Aggregate("pairs", "all_right", "task")))
    assert found == Aggregated("pairs", 1.0, 1, 0)


def test_nothing_scored_is_no_number():
    found = numbers(
        *measured(
            tasks("one", "one"),
            [GONE, GONE],
            Aggregate("a", "mean"),
            Aggregate("b", "mean_of_means", "task"),
            Aggregate("c", "all_right", "task"),
        )
    )
    assert found == (
        Aggregated("a", None, 0, 2),
        Aggregated("b", None, 0, 1),
        Aggregated("c", None, 0, 1),
    )


scores = st.sampled_from([RIGHT, WRONG, GONE])


@given(st.lists(st.tuples(st.sampled_from("xyz"), scores), min_size=1, max_size=12), st.randoms())
def test_the_order_of_samples_moves_no_aggregate(rows, rng):
    samples = [sample(i, task=task) for i, (task, _) in enumerate(rows)]
    pairs = list(zip(samples, (score for _, score in rows), strict=True))
    shuffled = rng.sample(pairs, len(pairs))
    aggregates = [Aggregate(how, how, "task") for how in ("mean_of_means", "all_right")]
    one, other = (
        numbers(*measured([s for s, _ in some], [x for _, x in some], *aggregates))
        for some in (pairs, shuffled)
    )
    for first, second in zip(one, other, strict=True):
        assert (first.value is None) == (second.value is None)
        assert first.value is None or first.value == pytest.approx(second.value)
        assert (first.n, first.unscored) == (second.n, second.unscored)


def test_chance_is_the_mean_over_the_samples_that_were_scored():
    samples = [sample(0), sample(1, ("a", "b", "c", "d")), sample(2, ("a",))]
    evaluation, suite = measured(samples, [RIGHT, WRONG, GONE])
    assert chance_corrected(evaluation, suite) == pytest.approx((0.5 - 0.375) / 0.625)


@pytest.mark.parametrize(("right", "expected"), [(4, 1.0), (2, 0.0), (0, -1.0)])
def test_all_right_is_one_and_guessing_is_zero(right, expected):
    samples = [sample(i) for i in range(4)]
    evaluation, suite = measured(samples, [RIGHT] * right + [WRONG] * (4 - right))
    assert chance_corrected(evaluation, suite) == expected


def test_without_a_choice_there_is_nothing_to_correct():
    assert chance_corrected(*measured([sample(0, ("a",))], [RIGHT])) is None
    assert chance_corrected(*measured([sample(0)], [GONE])) is None


def test_parse_failures_are_a_share_of_what_was_asked():
    samples = [sample(i) for i in range(5)]
    failures = [Score(None, why="none"), Score(None, why="ambiguous", text="A or B")]
    evaluation, _ = measured(samples, [RIGHT, WRONG, *failures, GONE])
    assert parse_failure_rate(evaluation) == 0.5
    assert [s.status for s in evaluation.scores] == ["ok", "ok", "none", "ambiguous", "left out"]
    assert parse_failure_rate(measured([sample(0)], [GONE])[0]) is None


def test_labels_are_counted_apart_for_each_choice_of_labels():
    samples = [
        sample(0, answer=0),
        sample(1, answer=1),
        sample(2, ("a", "b", "c"), 2),
        sample(3, YES_NO, 1),
        sample(4, (), Number(1.0, 0.0)),
        sample(5, answer=1),
    ]
    given_ = ["B", "B", "A", "yes", "1", ""]
    found = label_shares(
        *measured(
            samples, [*(Score(1.0, answer) for answer in given_[:5]), Score(None, why="gone")]
        )
    )
    assert found == {
        ("A", "B"): {"A": LabelShare(0.0, 0.5), "B": LabelShare(1.0, 0.5)},
        ("A", "B", "C"): {
            "A": LabelShare(1.0, 0.0),
            "B": LabelShare(0.0, 0.0),
            "C": LabelShare(0.0, 1.0),
        },
        YES_NO: {"yes": LabelShare(1.0, 0.0), "no": LabelShare(0.0, 1.0)},
    }
    assert found["A", "B"]["B"].bias == 0.5


@given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 1)), min_size=1, max_size=20))
def test_shares_sum_to_one_and_biases_to_zero(answers):
    samples = [sample(i, answer=right) for i, (_, right) in enumerate(answers)]
    found = label_shares(*measured(samples, [Score(1.0, label) for label, _ in answers]))
    shares = found["A", "B"].values()
    assert sum(s.predicted for s in shares) == pytest.approx(1.0)
    assert sum(s.bias for s in shares) == pytest.approx(0.0)
