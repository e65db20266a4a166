"""What every family promises: its inputs are those of the stock processor and forward.

A new family is one row: the fixture of a small live pair of it.
"""

from dataclasses import replace
from itertools import combinations, groupby

import pytest
import torch

from merit_opt.data.prompts import render_prompt
from merit_opt.data.video import read_frames
from merit_opt.errors import UserError
from merit_opt.models.families import FAMILIES, family_of
from merit_opt.models.forward import Question, letter_ids, letter_log_probabilities
from merit_opt.recipe.constructors import uniform

PAIRS = {"qwen2_vl": "tiny_pair_live"}
FRAMES = (None, 1, 4, 5)
ROUNDING = 2e-5


def test_every_family_has_a_row():
    assert PAIRS.keys() == FAMILIES.keys()


def test_an_unknown_model_type_lists_the_known_ones():
    with pytest.raises(
        UserError, match=f"'llava' is not supported; supported: {', '.join(PAIRS)}"
    ):
        family_of("llava")


@pytest.fixture(params=PAIRS.items(), ids=lambda row: row[0])
def pair(request):
    name, fixture = request.param
    pair = request.getfixturevalue(fixture)
    assert pair.family is family_of(name)
    assert pair.model.config.model_type == name
    return pair


@pytest.fixture(params=FRAMES, ids=lambda count: f"{count or 'all'} frames")
def frames(request, small_suite):
    return read_frames(small_suite.samples[0].media[0].path, request.param)


def stock_inputs(pair, sample, prompt, frames):
    content = [
        {"type": "video", "video": frames},
        {"type": "text", "text": render_prompt(prompt, sample)},
    ]
    return pair.processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"do_sample_frames": False},
    )


@torch.no_grad()
def our_question(pair, sample, prompt, frames):
    features = pair.family.encode_video(pair.model, pair.processor, frames)
    encoded = pair.family.encode_prompt(
        pair.model, pair.processor, render_prompt(prompt, sample), features
    )
    return Question(sample.id, encoded, features, len(sample.options))


@torch.no_grad()
def stock_log_probabilities(pair, model, inputs, n_options, **options):
    logits = model(**inputs, **options).logits[0, -1].float()
    return logits[letter_ids(pair, n_options)].log_softmax(-1).tolist()


@torch.no_grad()
def seen_by_the_decoder(pair, inputs):
    """Keyword arguments that the stock forward gives to the language model."""
    seen = {}
    hook = pair.model.get_decoder().register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.update(kwargs), with_kwargs=True
    )
    try:
        pair.model(**inputs)
    finally:
        hook.remove()
    return seen


def batches(questions, size):
    def length(question):
        return len(question.prompt.input_ids)

    for _, group in groupby(sorted(questions, key=length), key=length):
        equal = list(group)
        yield from (equal[i : i + size] for i in range(0, len(equal), size))


def furthest(one, other):
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def test_ids_and_positions_are_the_stock_ones(pair, small_suite, frames):
    for sample in small_suite.samples[:5]:
        inputs = stock_inputs(pair, sample, small_suite.prompt, frames)
        question = our_question(pair, sample, small_suite.prompt, frames)
        assert torch.equal(question.prompt.input_ids, inputs["input_ids"][0])
        axes = len(question.prompt.position_ids)
        positions = seen_by_the_decoder(pair, inputs)["position_ids"][-axes:, 0]
        assert torch.equal(question.prompt.position_ids, positions)


def test_embeddings_are_the_stock_ones_bit_for_bit(pair, small_suite, frames):
    sample = small_suite.samples[0]
    question = our_question(pair, sample, small_suite.prompt, frames)
    ours = pair.family.forward_inputs(pair.model, [question.prompt], [question.features])
    stock = seen_by_the_decoder(pair, stock_inputs(pair, sample, small_suite.prompt, frames))
    assert torch.equal(ours["inputs_embeds"], stock["inputs_embeds"])


@pytest.mark.parametrize("coefficient", [0.0, 0.5])
def test_cached_features_give_the_stock_log_probabilities(pair, small_suite, frames, coefficient):
    sample = small_suite.samples[0]
    question = our_question(pair, sample, small_suite.prompt, frames)
    inputs = stock_inputs(pair, sample, small_suite.prompt, frames)
    with pair.merged(uniform(pair.n_layers, coefficient)) as model:
        (ours,) = letter_log_probabilities(pair, model, [question])
        last = stock_log_probabilities(pair, model, inputs, 4, logits_to_keep=1)
        full = stock_log_probabilities(pair, model, inputs, 4)
    assert ours == last
    assert furthest(ours, full) <= ROUNDING


def test_features_do_not_depend_on_what_was_encoded_before(pair, small_suite):
    paths = list(dict.fromkeys(s.media[0].path for s in small_suite.samples))[:3]
    videos = [read_frames(path, None) for path in paths]

    @torch.no_grad()
    def encoded(order):
        return {i: pair.family.encode_video(pair.model, pair.processor, videos[i]) for i in order}

    one, other = encoded((0, 1, 2)), encoded((2, 0, 1))
    for i in range(3):
        assert torch.equal(one[i].tokens, other[i].tokens)
        assert one[i].grid == other[i].grid
    assert not any(torch.equal(one[i].tokens, one[j].tokens) for i, j in combinations(one, 2))


def test_a_batch_of_one_length_equals_one_at_a_time(pair, small_questions):
    alone = {
        q.id: letter_log_probabilities(pair, pair.model, [q])[0] for q in small_questions[:40]
    }
    sizes = set()
    for batch in batches(small_questions[:40], 7):
        sizes.add(len(batch))
        rows = letter_log_probabilities(pair, pair.model, batch)
        assert max(furthest(alone[q.id], row) for q, row in zip(batch, rows, strict=True)) <= (
            ROUNDING
        )
    assert max(sizes) == 7


def test_editing_one_question_leaves_its_neighbours_bit_equal(pair, small_questions):
    first, second, third, other = next(b for b in batches(small_questions, 4) if len(b) == 4)
    rows = letter_log_probabilities(pair, pair.model, [first, second, third])
    edited = letter_log_probabilities(pair, pair.model, [first, other, third])
    assert rows[0] == edited[0]
    assert rows[2] == edited[2]
    assert rows[1] != edited[1]


def test_the_video_matters(pair, small_questions):
    one, other = small_questions[0], small_questions[-1]
    assert one.features is not other.features
    swapped = replace(one, features=other.features)
    rows = [letter_log_probabilities(pair, pair.model, [q])[0] for q in (one, swapped)]
    assert rows[0] != rows[1]


def test_prompts_of_different_length_never_share_a_batch(pair, small_questions):
    lengths = {len(q.prompt.input_ids): q for q in small_questions}
    assert len(lengths) > 1
    with pytest.raises(RuntimeError, match="equal size"):
        letter_log_probabilities(pair, pair.model, list(lengths.values())[:2])


def test_features_of_another_length_than_the_prompt_raise(pair, small_suite):
    sample = small_suite.samples[0]
    few, many = (
        our_question(pair, sample, small_suite.prompt, read_frames(sample.media[0].path, count))
        for count in (4, 8)
    )
    with pytest.raises(RuntimeError):
        letter_log_probabilities(pair, pair.model, [replace(many, features=few.features)])


def test_log_probabilities_are_normalised_over_the_options(pair, small_questions):
    for question in small_questions[:10]:
        (row,) = letter_log_probabilities(pair, pair.model, [question])
        assert len(row) == question.n_options
        assert torch.tensor(row).exp().sum().item() == pytest.approx(1.0, abs=1e-6)


def test_a_question_with_fewer_options_competes_among_its_own(pair, small_questions):
    one, other = next(b for b in batches(small_questions, 2) if len(b) == 2)
    two, full = letter_log_probabilities(pair, pair.model, [replace(one, n_options=2), other])
    (all_four,) = letter_log_probabilities(pair, pair.model, [one])
    assert (len(two), len(full)) == (2, 4)
    expected = torch.tensor(all_four[:2]).log_softmax(-1).tolist()
    assert furthest(two, expected) <= ROUNDING


def test_a_letter_of_several_tokens_is_refused(pair, monkeypatch):
    encode = pair.processor.tokenizer.encode
    monkeypatch.setattr(
        type(pair.processor.tokenizer),
        "encode",
        lambda _self, text, **options: [1, 2] if text == "C" else encode(text, **options),
    )
    with pytest.raises(UserError, match=r"no single token for the letters \['C'\]"):
        letter_ids(pair, 4)
