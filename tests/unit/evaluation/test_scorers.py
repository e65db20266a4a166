import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.data.prompts import Prompt
from merit_opt.data.sample import YES_NO, Media, Number, Sample
from merit_opt.data.suite import Decoding
from merit_opt.errors import UserError
from merit_opt.evaluation.scorers import PACKED, rotations, score_options
from merit_opt.recipe.constructors import attention, base

LETTERS, FULL_TEXT = PACKED["letter_logprob"], PACKED["option_loglik"]
RESTORED = attention(9, {3: 1.0, 5: 1.0})
log_probabilities = st.floats(-30.0, 0.0)


def sample(n=4, answer=0, options=None):
    options = options or tuple(f"option {i}" for i in range(n))
    media = (Media(Path("clip.mp4"), "0"),)
    return Sample("s", media, "?", options, answer, (), "g", is_yes_no=options == YES_NO)


samples = st.integers(2, 8).flatmap(lambda n: st.builds(sample, st.just(n), st.integers(0, n - 1)))


def normalised(logs):
    total = math.log(math.fsum(map(math.exp, logs)))
    return [x - total for x in logs]


@given(samples, st.integers(1, 12))
def test_each_order_holds_every_option_once_and_the_right_one_stays_right(asked, count):
    found = rotations(asked, count)
    assert len(found) == min(count, len(asked.options)) == len({s.options for s in found})
    for turned in found:
        assert sorted(turned.options) == sorted(asked.options)
        assert turned.options[turned.answer] == asked.options[asked.answer]
    assert found[0] == asked


def test_yes_and_no_and_numbers_are_asked_in_one_order():
    for asked in (sample(options=YES_NO), replace(sample(), options=(), answer=Number(1.0, 0.0))):
        assert rotations(asked, 4) == [asked]


@given(samples, st.data())
def test_a_preference_for_letters_cancels_over_all_orders(asked, data):
    n = len(asked.options)
    biased = data.draw(st.lists(log_probabilities, min_size=n, max_size=n))
    score = LETTERS.score(asked, [normalised(biased)] * len(LETTERS.asked(asked, n)))
    assert set(score.probabilities) == {score.probabilities[0]}
    assert score.probabilities[0] == pytest.approx(1 / n)
    assert (score.margin, score.answer) == (0.0, "A")


@given(samples, st.integers(1, 8), st.data())
def test_a_preference_for_an_option_survives_every_order(asked, count, data):
    n = len(asked.options)
    logs = normalised(data.draw(st.lists(log_probabilities, min_size=n, max_size=n)))
    of = dict(zip(asked.options, logs, strict=True))
    rows = [[of[o] for o in one.sample.options] for one in LETTERS.asked(asked, count)]
    assert LETTERS.score(asked, rows).probabilities == pytest.approx(
        [math.exp(x) for x in logs], rel=1e-9
    )


def test_the_mean_over_orders_is_of_probabilities():
    asked = sample(2, answer=1)
    rows = [[math.log(0.9), math.log(0.1)], [math.log(0.7), math.log(0.3)]]
    score = LETTERS.score(asked, rows)
    assert score.probabilities == pytest.approx((0.6, 0.4))
    assert score.log_probability == pytest.approx(math.log(0.4))
    assert score.margin == pytest.approx(math.log(0.4 / 0.6))
    assert (score.value, score.answer) == (0.0, "A")


@given(samples, st.data())
def test_one_order_is_scored_bit_for_bit_as_it_was_read(asked, data):
    n = len(asked.options)
    row = data.draw(st.lists(log_probabilities, min_size=n, max_size=n))
    assert LETTERS.score(asked, [row]) == score_options(asked, row)
    assert LETTERS.score(asked, [row]).log_probability == row[asked.answer]


@given(samples, st.data())
def test_the_margin_is_positive_exactly_where_the_right_option_leads(asked, data):
    n = len(asked.options)
    row = data.draw(st.lists(log_probabilities, min_size=n, max_size=n, unique=True))
    score = score_options(asked, row)
    assert (score.margin > 0) == (score.value == 1.0)
    shifted = score_options(asked, [x - 1.0 for x in row])
    assert shifted.margin == pytest.approx(score.margin)


def test_a_single_option_has_no_margin():
    assert score_options(sample(1), [0.0]).margin is None


def test_an_option_s_length_does_not_count_but_its_tokens_do():
    asked = sample(2, answer=0)
    assert FULL_TEXT.score(asked, [[-1.0, -1.0, -1.0, -1.0], [-1.0]]).margin == 0.0
    score = FULL_TEXT.score(asked, [[-1.0, -2.0], [-3.0]])
    assert score.margin == pytest.approx(1.5)
    assert math.fsum(score.probabilities) == pytest.approx(1.0)


def test_full_text_asks_each_option_in_each_order():
    asked = sample(3, answer=1)
    found = FULL_TEXT.asked(asked, 2)
    assert [one.answer for one in found] == list(asked.options) * 2
    assert len({one.sample.options for one in found}) == 2
    rows = [[math.log(p)] for p in (0.5, 0.25, 0.25, 0.1, 0.8, 0.1)]
    assert FULL_TEXT.score(asked, rows).probabilities == pytest.approx((0.3, 0.525, 0.175))


def test_ten_thousand_samples_are_scored_within_a_second():
    asked, row = sample(5), normalised([-1.0, -2.0, -3.0, -4.0, -5.0])
    started = time.process_time()
    for _ in range(10_000):
        LETTERS.score(asked, [row])
    assert time.process_time() - started < 1.0


def asking(suite, **changes):
    return replace(suite, asking=replace(suite.asking, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"permutations": 0}, r"suite\.permutations is 1 or more, got 0"),
        (
            {"permutations": 2, "scorer": "generate", "decoding": Decoding("greedy", 4)},
            r"suite\.permutations=2 takes the mean of probabilities",
        ),
    ],
    ids=["none", "words"],
)
def test_orders_that_cannot_be_are_refused(few, changes, message):
    with pytest.raises(UserError, match=message):
        asking(few, **changes)


def test_orders_make_other_suites_and_still_count_samples(engine, few):
    twice = asking(few, permutations=2)
    assert twice.digest != few.digest
    asked = engine("cache")
    once, found = asked.evaluate(RESTORED, few), asked.evaluate(RESTORED, twice)
    assert found.ids == once.ids
    assert found.cost.questions == once.cost.questions == len(few.samples)
    assert found.cost.tokens > once.cost.tokens
    assert asked.known_scores(RESTORED, twice).keys() == {s.id for s in few.samples}
    assert found.measured("log_probability") != once.measured("log_probability")
    assert engine("cache").evaluate(RESTORED, twice) == found


@pytest.mark.parametrize("scorer", ["letter_logprob", "option_loglik"])
def test_options_that_the_text_does_not_show_are_asked_in_one_order(engine, few, scorer):
    unseen = Prompt("unseen/1", lambda sample, _: sample.question)
    once, often = (
        engine().evaluate(RESTORED, asking(few, prompt=unseen, scorer=scorer, permutations=n))
        for n in (1, 4)
    )
    assert often.scores == once.scores
    assert often.cost.tokens == once.cost.tokens


def test_the_labels_that_compete_are_those_the_text_uses(engine, few):
    def words(sample, _):
        return " ".join([sample.question, *turned(sample), *sample.options])

    def turned(sample):
        return tuple(reversed(sample.labels))

    suite = asking(few, prompt=Prompt("letters/1", words))
    called = asking(few, prompt=Prompt("turned/1", words, labels=turned))
    one, other = (engine().evaluate(base(9), s).by_id for s in (suite, called))
    for i, score in one.items():
        assert other[i].probabilities == pytest.approx(score.probabilities[::-1])


def test_all_orders_do_not_depend_on_the_order_that_the_suite_has(engine, few):
    turned = replace(few, samples=tuple(rotations(s, 2)[1] for s in few.samples))
    one, other = (
        engine().evaluate(RESTORED, asking(suite, permutations=4)) for suite in (few, turned)
    )
    for i, score in one.by_id.items():
        assert other.by_id[i].log_probability == pytest.approx(score.log_probability, abs=2e-5)


def test_full_text_measures_another_thing_than_letters(engine, few):
    suite = asking(few, scorer="option_loglik")
    found = engine().evaluate(base(9), suite)
    assert found.unscored == {}
    for score in found.scores:
        assert len(score.probabilities) == 4
        assert math.fsum(score.probabilities) == pytest.approx(1.0)
    letters = engine().evaluate(base(9), few)
    assert found.measured("log_probability") != letters.measured("log_probability")


@pytest.mark.parametrize("scorer", ["letter_logprob", "option_loglik"])
def test_a_number_is_left_out_with_its_reason(engine, few, scorer):
    first = replace(few.samples[0], options=(), answer=Number(2.0, 0.0))
    suite = asking(
        replace(few, samples=(first, *few.samples[1:]), max_unusable=0.5), scorer=scorer
    )
    found = engine().evaluate(base(9), suite)
    assert found.unscored == {
        first.id: "its answer is a number, which only suite.scorer=generate reads"
    }
