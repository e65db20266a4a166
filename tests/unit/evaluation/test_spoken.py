from dataclasses import replace

import pytest
import torch

from merit_opt.data.media.medium import read_medium
from merit_opt.data.suite import Decoding
from merit_opt.errors import TrialFailed, UserError
from merit_opt.evaluation import spoken as spoken_module
from merit_opt.evaluation.aggregate import parse_failure_rate
from merit_opt.evaluation.curtail import in_full_because
from merit_opt.evaluation.evaluation import role_means
from merit_opt.evaluation.objective import PenalisedGain, require_measurable
from merit_opt.evaluation.yardstick import Yardstick
from merit_opt.models.families.inputs import visual_inputs
from merit_opt.models.generate import spoken
from merit_opt.recipe.constructors import attention, base

RESTORED = attention(9, {3: 1.0, 5: 1.0})


def spoken_suite(suite, how="greedy", words=1):
    asking = replace(suite.asking, scorer="generate", decoding=Decoding(how, words))
    return replace(suite, asking=asking)


def test_a_model_says_the_letter_it_finds_most_probable(engine, few):
    asked = engine()
    letters, said = asked.evaluate(RESTORED, few), asked.evaluate(RESTORED, spoken_suite(few))
    assert said.unscored == {}
    for i, score in said.by_id.items():
        assert score.answer == letters.by_id[i].answer == score.text.split()[0]
        assert (score.log_probability, score.margin, score.probabilities) == (None, None, ())
    assert said.cost.questions == len(few.samples)


@pytest.fixture
def saying(monkeypatch):
    """Put words into the model's mouth."""

    def say(words):
        texts = {spoken_module._seed(i): text for i, text in words.items()}
        monkeypatch.setattr(spoken_module, "spoken", lambda *args: texts.pop(args[-1]))

    return say


def test_what_names_no_answer_is_unscored_cached_and_counted(engine, few, saying):
    suite = spoken_suite(few)
    first, second = suite.samples[:2]
    saying({s.id: "A" for s in suite.samples} | {first.id: "A or B", second.id: ""})
    found = engine("cache").evaluate(base(9), suite)
    assert found.unscored == {first.id: "ambiguous", second.id: "none"}
    assert found.left_out == {}
    assert parse_failure_rate(found) == pytest.approx(2 / 15)
    assert found.measured("accuracy").keys() == {s.id for s in suite.samples[2:]}
    assert engine("cache").evaluate(base(9), suite) == found  # no words are left


def test_recipes_are_compared_on_the_samples_that_both_answered(engine, few, saying):
    suite = spoken_suite(few)
    right = {s.id: s.labels[s.answer] for s in suite.samples}
    first, last = suite.samples[0], suite.samples[-1]
    wrong = first.labels[first.answer - 1]
    asked = engine()
    saying(right | {first.id: "none", last.id: "none"})
    yardstick = Yardstick(suite, PenalisedGain("accuracy", 2.0), asked.evaluate(base(9), suite))
    saying(right | {first.id: wrong})
    found = asked.evaluate(RESTORED, suite)
    assert role_means(found, suite, "accuracy")[suite.role(first)] < 1.0
    assert yardstick.value(found) == yardstick.metrics(found)["objective"] == 0.0


@pytest.mark.parametrize("how", ["greedy", "own"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_model_whose_numbers_are_not_finite_says_nothing(
    engine, few, tiny_pair_live, monkeypatch, how, number
):
    suite = spoken_suite(few, how)
    asked = engine()
    norm = tiny_pair_live.model.get_decoder().norm
    monkeypatch.setattr(norm.weight, "data", torch.full_like(norm.weight, number))
    with pytest.raises(TrialFailed, match=r"^sample 00000-\w+-2: logits are not finite"):
        asked.evaluate(base(9), suite)


@pytest.mark.parametrize("score", ["probability", "log_probability", "margin"])
def test_a_score_that_words_do_not_give_is_refused(few, score):
    require_measurable(PenalisedGain(score, 2.0), few)
    require_measurable(PenalisedGain("accuracy", 2.0), spoken_suite(few))
    with pytest.raises(UserError, match=rf"^objective\.score={score} needs probabilities"):
        require_measurable(PenalisedGain(score, 2.0), spoken_suite(few))


def test_what_cannot_be_bounded_is_measured_in_full(few):
    accuracy, margin = PenalisedGain("accuracy", 2.0), PenalisedGain("margin", 2.0)
    assert in_full_because(accuracy, few) is None
    assert "has no greatest value" in in_full_because(margin, few)
    assert "leaves other samples unscored" in in_full_because(accuracy, spoken_suite(few))


@pytest.mark.parametrize("words", [0, -1])
def test_an_answer_without_words_is_refused(words):
    with pytest.raises(UserError, match=r"suite\.max_new_tokens is 1 or more"):
        Decoding("greedy", words)


@pytest.fixture
def speak(engine, few, tiny_pair_live, monkeypatch):
    """A question put to a model whose own settings draw among all words."""
    (question, *_), *_ = (p.questions for p in engine()._preparer.prepare(few).packs)
    pair = tiny_pair_live
    medium = read_medium(few.samples[0].media, few.asking.frames)
    given = visual_inputs(pair.family, pair.processor, medium)
    for name, value in {"do_sample": True, "temperature": 5.0, "top_k": 0}.items():
        monkeypatch.setattr(pair.model.generation_config, name, value)

    def ask(how, seed):
        return spoken(pair, question.prompt, given, Decoding(how, 12), seed)

    return ask


def test_own_settings_draw_by_the_seed_alone_and_greedy_ones_do_not(speak):
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    drawn = [speak("own", seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert drawn[0] == drawn[1] != drawn[2]
    assert speak("greedy", 0) == speak("greedy", 1)
