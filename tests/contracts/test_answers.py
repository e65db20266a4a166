"""What is read of an answer is, in every family, what the stock path says of it."""

from dataclasses import replace

import pytest
import torch

from merit_opt.data.prompts import LETTER, said
from merit_opt.data.sample import Cue
from merit_opt.data.suite import Decoding
from merit_opt.evaluation.questions import Questioner
from merit_opt.evaluation.scorers import PACKED
from merit_opt.models.families import family_of
from merit_opt.models.families.inputs import visual_inputs
from merit_opt.models.forward import embed, finish, read_answers
from merit_opt.models.generate import spoken
from merit_opt.models.generate import stock_inputs as joined
from merit_opt.models.pack import pack, packs_by_prefix
from merit_opt.models.prompt import answer_tokens
from tests.contracts.stock import (
    ROUNDING,
    SOURCES,
    encode,
    furthest,
    picture,
    some_layers,
    stock_inputs,
    stock_row,
)

WORDS = 6


def asked_by(suite, scorer, permutations):
    return replace(suite, asking=replace(suite.asking, scorer=scorer, permutations=permutations))


@pytest.fixture
def video(clips):
    return next(iter(clips.values()))[0]


@pytest.fixture
def samples(clips):
    """Two questions about that video, their options one, two, three and four words long."""
    _, found = next(iter(clips.values()))
    return [
        replace(s, options=tuple(" ".join(s.options[: i + 1]) for i in range(4)))
        for s in found[:2]
    ]


@torch.no_grad()
def rows(pair, suite, video, samples):
    """(sample, part) -> what the engine reads of all questions at once."""
    features = encode(pair, video)
    questioner = Questioner(pair)
    asked = pack(
        [q for s in samples for q in questioner.questions(s, suite.asking, features)], features
    )
    found = read_answers(pair, asked, finish(pair, asked, embed(pair, asked), 0))
    return {(q.id, q.part): row for q, row in zip(asked.questions, found, strict=True)}


@torch.no_grad()
def stock_answer(pair, inputs, tokens):
    """Log-probability of each token of an answer, from one stock forward of prompt and answer."""
    prompt = inputs["input_ids"]
    ids = torch.cat([prompt, torch.tensor([tokens])], dim=1)
    values = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if (types := inputs.get("mm_token_type_ids")) is not None:
        values["mm_token_type_ids"] = torch.cat([types, types.new_zeros(1, len(tokens))], dim=1)
    logits = pair.model(**values).logits[0, prompt.shape[1] - 1 : -1].float()
    return logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0].tolist()


def test_options_are_as_likely_as_in_a_stock_forward_of_each_alone(
    pair, small_suite, video, samples
):
    suite = asked_by(small_suite, "option_loglik", 2)
    with pair.merged(some_layers(pair)):
        found = rows(pair, suite, video, samples)
        lengths = set()
        for sample in samples:
            for part, one in enumerate(PACKED["option_loglik"].asked(sample, 2)):
                tokens = answer_tokens(pair.processor, one.answer)
                inputs = stock_inputs(pair, suite, one.sample, video)
                stock = stock_answer(pair, inputs, tokens)
                assert furthest(found.pop((sample.id, part)), stock) <= ROUNDING
                lengths.add(len(tokens))
    assert (found, len(lengths)) == ({}, 4)


def test_every_order_of_the_options_is_answered_as_alone(pair, small_suite, video, samples):
    suite = asked_by(small_suite, "letter_logprob", 3)
    found = rows(pair, suite, video, samples)
    for sample in samples:
        for part, one in enumerate(PACKED["letter_logprob"].asked(sample, 3)):
            stock = stock_row(pair, stock_inputs(pair, suite, one.sample, video), 4)
            assert furthest(found.pop((sample.id, part)), stock) <= ROUNDING
    assert found == {}


def test_prompt_and_medium_make_the_stock_inputs(pair, small_suite, shown):
    sample, medium = shown
    (question,) = Questioner(pair).questions(sample, small_suite.asking, encode(pair, medium))
    given = visual_inputs(pair.family, pair.processor, medium)
    ours, stock = joined(question.prompt, given), stock_inputs(pair, small_suite, sample, medium)
    assert ours.keys() == stock.keys()
    assert [name for name in stock if not torch.equal(ours[name], stock[name])] == []


@pytest.mark.parametrize("how", ["greedy", "own"])
def test_a_model_speaks_as_it_does_on_the_stock_path(pair, small_suite, video, samples, how):
    suite = small_suite
    inputs = stock_inputs(pair, suite, samples[0], video)
    given = visual_inputs(pair.family, pair.processor, video)
    features = encode(pair, video)
    (question,) = Questioner(pair).questions(samples[0], suite.asking, features)
    with pair.merged(some_layers(pair)) as model:
        tokens = model.generate(**inputs, max_new_tokens=WORDS, do_sample=False)
        ours = spoken(pair, question.prompt, given, Decoding(how, WORDS), seed=0)
    said = tokens[0, inputs["input_ids"].shape[1] :]
    assert ours == pair.processor.tokenizer.decode(said, skip_special_tokens=True) != ""


CUES = (Cue(0.0, 0.4, "red"), Cue(0.5, 1.5, "blue circle"), Cue(50.0, 99.0, "unseen"))
FRAMES_AS_IMAGES = [n for n in SOURCES if family_of(n).video_entry == "image"]


def heard_suite(suite, *, interleaved):
    prompt = replace(LETTER, interleaved=interleaved)
    return replace(suite, asking=replace(suite.asking, prompt=prompt))


@pytest.fixture
def timed(pair, video):
    times = tuple(i / 2 for i in range(len(video.frames)))
    return replace(encode(pair, video), times=times)


def asked_of(pair, suite, features, *samples):
    questioner = Questioner(pair)
    return [q for s in samples for q in questioner.questions(s, suite.asking, features)]


@pytest.mark.parametrize("interleaved", [False, True])
def test_subtitles_seen_are_in_the_prompt_and_others_are_not(
    pair, small_suite, samples, timed, interleaved
):
    suite = heard_suite(small_suite, interleaved=interleaved)
    titled, plain = replace(samples[0], subtitles=CUES), samples[0]
    told, silent, unseen = asked_of(
        pair, suite, timed, titled, plain, replace(plain, subtitles=CUES[2:])
    )
    assert len(told.prompt.input_ids) > len(silent.prompt.input_ids)
    assert torch.equal(unseen.prompt.input_ids, silent.prompt.input_ids)
    (mute,) = asked_of(pair, suite, replace(timed, times=()), titled)
    assert torch.equal(mute.prompt.input_ids, silent.prompt.input_ids)


@pytest.mark.parametrize("source", FRAMES_AS_IMAGES, indirect=True)
def test_subtitles_between_frames_are_the_stock_prompt_s(pair, small_suite, samples, timed, video):
    suite = heard_suite(small_suite, interleaved=True)
    (asked,) = asked_of(pair, suite, timed, replace(samples[0], subtitles=CUES))
    frames = [picture(pixels) for pixels in video.frames]
    red, blue = ({"type": "text", "text": text} for text in ("red", "blue circle"))
    question = {"type": "text", "text": said(LETTER, samples[0], ())}
    content = [frames[0], red, *frames[1:3], blue, *frames[3:], question]
    stock = pair.processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    assert torch.equal(asked.prompt.input_ids, stock["input_ids"][0])


@pytest.mark.parametrize("source", FRAMES_AS_IMAGES, indirect=True)
def test_questions_that_hear_other_things_between_frames_share_no_pack(
    pair, small_suite, samples, timed
):
    suite = heard_suite(small_suite, interleaved=True)
    one, other = samples
    titled = [replace(one, subtitles=CUES), replace(other, subtitles=CUES[:1])]
    asked = asked_of(pair, suite, timed, *titled, replace(other, id="third", subtitles=CUES))
    packs = packs_by_prefix(asked, timed)
    found = [{q.id for q in p.questions} for p in packs]
    assert found == [{one.id, "third"}, {other.id}]
