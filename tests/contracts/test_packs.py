"""A pack answers as the stock forward does, and no question hears another."""

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from merit_opt.models.attention import pack_attention, pack_layout
from merit_opt.models.levels import HiddenLevels, LevelBudget
from merit_opt.models.pack import pack
from merit_opt.recipe.constructors import attention, base, uniform
from tests.contracts.stock import (
    ROUNDING,
    answers,
    answers_from,
    differences,
    furthest,
    given_to_the_decoder,
    log_probabilities,
    pack_of,
    packs_of,
    some_layers,
    stock_inputs,
    stock_row,
)

BF16_RATIO = 1.3
GIB = 1024**3


def test_a_pack_answers_as_the_stock_forward_does(pair, small_suite, clips):
    assert largest_difference(pair, small_suite, list(clips.values())[:2]) <= ROUNDING


def largest_difference(pair, suite, clips):
    exams = [exam(pair, suite, *clip) for clip in clips]
    found = []
    for recipe in recipes(pair):
        with pair.merged(recipe):
            for asked, papers in exams:
                ours = answers(pair, asked)
                found += [furthest(ours[i], stock_row(pair, *paper)) for i, paper in papers]
    return max(found)


def exam(pair, suite, video, samples):
    """The pack, and of each question by its id what the stock forward answers it from."""
    papers = [(s.id, (stock_inputs(pair, suite, s, video), len(s.options))) for s in samples]
    return pack_of(pair, suite, video, samples), papers


def recipes(pair):
    return base(pair.n_layers), uniform(pair.n_layers, 0.5), some_layers(pair)


def test_a_pack_of_any_number_of_frames_answers_as_the_stock_forward_does(
    pair, small_suite, shown
):
    sample, video = shown
    companions = [s for s in small_suite.samples if s.media == sample.media]
    assert largest_difference(pair, small_suite, [(video, companions[:2])]) <= ROUNDING


def test_in_bfloat16_a_pack_is_as_near_to_float32_as_the_stock_forward(
    bf16_pair, small_suite, clips
):
    ours, stock = bfloat16_errors(bf16_pair, small_suite, list(clips.values())[:3])
    assert stock > 1e-3
    assert ours <= BF16_RATIO * stock


@torch.no_grad()
def bfloat16_errors(pair, suite, clips):
    """Root-mean-square errors of the pack and of the stock forward, against float32 arithmetic on
    the same weights and the same visual features.
    """
    exams = [exam(pair, suite, *clip) for clip in clips]
    given = {i: given_to_the_decoder(pair, paper[0]) for _, papers in exams for i, paper in papers}
    ours, stock = [], []
    for recipe in recipes(pair):
        with pair.merged(recipe) as model:
            exact = deepcopy(model).float()
            for asked, _ in exams:
                for i, row in answers(pair, asked).items():
                    reference = decoded(pair, exact, upcast(given[i]), len(row))
                    stock += differences(decoded(pair, model, given[i], len(row)), reference)
                    ours += differences(row, reference)
    return rms(ours), rms(stock)


def decoded(pair, model, inputs, n_options):
    """Log-probabilities from what the decoder is given."""
    last = model.get_decoder()(**inputs).last_hidden_state[0, -1]
    return log_probabilities(pair, model.get_output_embeddings()(last), n_options)


def upcast(value):
    if isinstance(value, dict):
        return {key: upcast(one) for key, one in value.items()}
    if isinstance(value, list):
        return [upcast(one) for one in value]
    return value.float() if torch.is_tensor(value) and value.is_floating_point() else value


def rms(errors):
    return math.sqrt(math.fsum(e * e for e in errors) / len(errors))


def test_the_order_in_which_questions_come_does_not_matter(either, small_suite, clips):
    video, samples = next(iter(clips.values()))
    one, other = (pack_of(either, small_suite, video, s) for s in (samples, samples[::-1]))
    assert answers(either, one) == answers(either, other)


def test_half_the_questions_at_a_time_answer_the_same(pair, small_suite, clips):
    whole = pack_of(pair, small_suite, *next(iter(clips.values())))
    one, other = whole.halves()
    found = answers(pair, one) | answers(pair, other)
    assert found.keys() == answers(pair, whole).keys()
    assert all(furthest(found[i], row) <= ROUNDING for i, row in answers(pair, whole).items())


def edited(sample, shift):
    """Another question of the same length, or of a length that differs by `shift` words."""
    words = sample.question.split()
    question = " ".join([*words[:-1], "last", words[-1]][: len(words) + shift])
    return replace(sample, question=question, options=sample.options[::-1])


def test_editing_a_question_leaves_its_neighbours_bit_equal(either, small_suite, clips):
    video, samples = next(iter(clips.values()))
    before = pack_of(either, small_suite, video, samples)
    whole = answers(either, before)
    for i, sample in enumerate(samples):
        changed = [*samples[:i], edited(sample, 0), *samples[i + 1 :]]
        asked = pack_of(either, small_suite, video, changed)
        found = answers(either, asked)
        assert asked.suffixes == before.suffixes
        assert found.pop(sample.id) != whole[sample.id]
        assert found == {k: row for k, row in whole.items() if k != sample.id}


@pytest.mark.parametrize("shift", [-1, 1])
def test_editing_a_question_to_another_length_moves_its_neighbours_by_rounding_alone(
    pair, small_suite, clips, shift
):
    video, samples = next(iter(clips.values()))
    whole = answers(pair, pack_of(pair, small_suite, video, samples))
    for i, sample in enumerate(samples):
        changed = [*samples[:i], edited(sample, shift), *samples[i + 1 :]]
        found = answers(pair, pack_of(pair, small_suite, video, changed))
        assert furthest(found.pop(sample.id), whole[sample.id]) > 100 * ROUNDING
        assert all(furthest(row, whole[k]) <= ROUNDING for k, row in found.items())


def test_a_video_is_answered_alike_in_any_company_and_order(either, small_suite, clips):
    n_layers = either.n_layers
    asked = packs_of(either, small_suite, clips, 4)
    recipe = attention(n_layers, dict.fromkeys(range(n_layers // 2, n_layers), 0.5))

    def visited(order):
        levels = HiddenLevels((n_layers // 2,), LevelBudget(GIB, 0, 1))
        return {i: answers_from(either, asked[i], levels, recipe)[1] for i in order}

    with either.merged(recipe):
        first = visited((0, 1, 2, 3))
        assert visited((2, 0, 3, 1)) == first
        assert {i: visited((i,))[i] for i in range(4)} == first


def test_the_video_matters(either, small_suite, clips):
    (video, samples), (other, _) = list(clips.values())[:2]
    one, swapped = (
        answers(either, pack_of(either, small_suite, v, samples)) for v in (video, other)
    )
    assert all(one[s.id] != swapped[s.id] for s in samples)


def test_a_rerun_is_bit_equal(either, small_suite, clips):
    for asked in packs_of(either, small_suite, clips, 2):
        assert answers(either, asked) == answers(either, asked)


def test_log_probabilities_are_normalised_over_the_options(either, small_suite, clips):
    for asked in packs_of(either, small_suite, clips, 2):
        found = answers(either, asked)
        for question in asked.questions:
            row = found[question.id]
            assert len(row) == len(question.labels)
            assert math.fsum(map(math.exp, row)) == pytest.approx(1.0, abs=1e-6)


def test_a_question_with_fewer_options_competes_among_its_own(either, small_suite, clips):
    asked = pack_of(either, small_suite, *next(iter(clips.values())))
    whole = answers(either, asked)
    first, *others = asked.questions
    fewer = pack([replace(first, labels=first.labels[:2]), *others], asked.features)
    found = answers(either, fewer)
    expected = torch.tensor(whole[first.id][:2]).log_softmax(-1).tolist()
    assert found.pop(first.id) == pytest.approx(expected, abs=1e-6)
    assert found == {q.id: whole[q.id] for q in others}


def heads(rows):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, n, rows, 8, generator=generator) for n in (4, 2, 2)]


def test_attention_in_a_pack_is_ordinary_attention_within_each_question():
    prefix, suffixes = 7, (3, 1, 4)
    layout = pack_layout(prefix, suffixes, torch.device("cpu"))
    states = heads(prefix + sum(suffixes))
    ours, _ = pack_attention(None, *states, None, pack_layout=layout)
    start = prefix
    for n in suffixes:
        visible = [*range(prefix), *range(start, start + n)]
        query, key, value = (s[:, :, visible] for s in states)
        alone = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, enable_gqa=True
        )
        torch.testing.assert_close(ours[:, visible], alone.transpose(1, 2))
        start += n


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "needs its layout"),
        ({"pack_layout": None}, "needs its layout"),
        ({"pack_layout": (4, (2, 1))}, "the layout is for"),
        ({"pack_layout": (5, (2, 2))}, "the layout is for"),
        (
            {"pack_layout": (4, (2, 2)), "sliding_window": 5},
            "sees 5 tokens, a question has 6",
        ),
    ],
)
def test_attention_in_a_pack_refuses_what_does_not_fit(options, why):
    if options.get("pack_layout"):
        layout = pack_layout(*options["pack_layout"], torch.device("cpu"))
        options = options | {"pack_layout": layout}
    with pytest.raises(RuntimeError, match=why):
        pack_attention(None, *heads(8), None, **options)


def test_attention_in_a_pack_takes_no_other_mask():
    layout = pack_layout(4, (2, 2), torch.device("cpu"))
    with pytest.raises(RuntimeError, match="no other mask"):
        pack_attention(None, *heads(8), layout.mask, pack_layout=layout)
