import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.data.sample import Media, Sample
from merit_opt.errors import TrialFailed
from merit_opt.evaluation.evaluation import Evaluation, Score, role_means
from merit_opt.evaluation.scorers import score_options
from tests.suites import made_up

MEASURES = ("accuracy", "probability", "log_probability")
ROLES = {"after": "TR", "before": "TR", "shown": "TP"}
log_probabilities = st.floats(-30.0, 0.0)
scored = st.builds(
    Score,
    value=st.sampled_from([0.0, 1.0]),
    answer=st.sampled_from("ABCD"),
    log_probability=log_probabilities,
)
unscored = st.builds(Score, value=st.none(), why=st.sampled_from(["gone", "torn"]))


def sample(number, category, options=("a", "b", "c", "d"), answer=0):
    media = Media(Path("clip.mp4"), "0")
    return Sample(
        f"s{number}", (media,), "?", options, answer, (("kind", category),), f"g{number}"
    )


def suite(*categories):
    samples = tuple(sample(i, category) for i, category in enumerate(categories))
    return made_up(samples, ROLES)


def evaluation(scores):
    ids = tuple(f"s{i}" for i in range(len(scores)))
    return Evaluation("suite", "recipe", ids, tuple(scores))


@pytest.mark.parametrize("measure", MEASURES)
@given(known=st.lists(scored, min_size=1, max_size=8), missing=st.lists(unscored, max_size=8))
def test_samples_that_were_not_scored_do_not_move_a_mean(measure, known, missing):
    categories = ["after"] * (len(known) + len(missing))
    means = role_means(evaluation([*missing, *known]), suite(*categories), measure)
    assert means == role_means(evaluation(known), suite(*categories[: len(known)]), measure)


@given(st.lists(scored | unscored, max_size=12))
def test_each_sample_is_either_measured_or_unscored_with_its_reason(scores):
    found = evaluation(scores)
    for measure in MEASURES:
        numbers = found.measured(measure)
        assert numbers.keys().isdisjoint(found.unscored)
        assert sorted([*numbers, *found.unscored]) == sorted(found.ids)
    assert found.unscored == {f"s{i}": s.why for i, s in enumerate(scores) if s.value is None}


def test_what_is_measured():
    score = Score(value=1.0, answer="B", log_probability=math.log(0.25))
    assert [score.measured(m) for m in MEASURES] == [1.0, pytest.approx(0.25), math.log(0.25)]
    assert [Score(value=None, why="gone").measured(m) for m in MEASURES] == [None] * 3
    assert Score(value=0.0, log_probability=0.0).measured("accuracy") == 0.0


@pytest.mark.parametrize(
    ("measure", "means"),
    [
        ("accuracy", {"TR": 0.5, "TP": 1.0, "other": 0.0}),
        ("probability", {"TR": 0.375, "TP": 0.75, "other": 0.125}),
        (
            "log_probability",
            {"TR": math.log(0.125) / 2, "TP": math.log(0.75), "other": math.log(0.125)},
        ),
    ],
)
def test_each_role_has_the_mean_of_its_own_samples(measure, means):
    scores = [
        Score(1.0, "A", math.log(0.5)),
        Score(1.0, "A", math.log(0.75)),
        Score(0.0, "A", math.log(0.25)),
        Score(0.0, "A", math.log(0.125)),
        Score(None, why="gone"),
    ]
    found = role_means(evaluation(scores), suite("after", "shown", "before", "x", "x"), measure)
    assert found == pytest.approx(means)


@given(st.lists(scored, min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_means_belong_to_samples_not_to_places(scores, rng):
    categories = ["after", "shown"] * 4
    found = evaluation(scores)
    order = rng.sample(range(len(scores)), len(scores))
    shuffled = Evaluation(
        "suite", "recipe",
        tuple(found.ids[i] for i in order), tuple(found.scores[i] for i in order),
    )  # fmt: skip
    toy = suite(*categories[: len(scores)])
    for measure in MEASURES:
        assert role_means(shuffled, toy, measure) == role_means(found, toy, measure)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_role_none_of_whose_samples_was_scored_fails_the_trial(measure):
    found = evaluation([Score(1.0, "A", -0.1), Score(None, why="gone"), Score(None, why="torn")])
    with pytest.raises(TrialFailed, match="none of the 2 TP samples could be scored"):
        role_means(found, suite("after", "shown", "shown"), measure)


def test_a_role_without_samples_has_no_mean():
    assert role_means(evaluation([Score(1.0)]), suite("after"), "accuracy") == {"TR": 1.0}


def test_ids_and_scores_go_together():
    with pytest.raises(ValueError, match="shorter"):
        _ = Evaluation("suite", "recipe", ("a", "b"), (Score(1.0),)).unscored


@given(st.lists(log_probabilities, min_size=2, max_size=8), st.data())
def test_the_most_probable_letter_is_the_answer(numbers, data):
    right = data.draw(st.integers(0, len(numbers) - 1))
    asked = sample(0, "after", tuple(map(str, range(len(numbers)))), right)
    score = score_options(asked, numbers)
    assert score.answer == "ABCDEFGH"[numbers.index(max(numbers))]
    assert score.value == float(score.answer == asked.labels[asked.answer])
    assert (score.log_probability, score.why) == (numbers[right], "")


@pytest.mark.parametrize(
    ("numbers", "answer"),
    [([-1.0, -1.0, -9.0, -9.0], "A"), ([-9.0, -1.0, -1.0, -9.0], "B"), ([-2.0] * 4, "A")],
)
def test_a_tie_goes_to_the_earlier_letter(numbers, answer):
    for right in range(4):
        score = score_options(sample(0, "after", answer=right), numbers)
        assert score.answer == answer
        assert score.value == float("ABCD"[right] == answer)
