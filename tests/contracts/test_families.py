"""What every family promises: its inputs are the stock processor's.

A new family is one row of `SOURCES` in stock.py: two small checkpoints of it.
"""

from copy import deepcopy
from dataclasses import replace
from itertools import combinations

import pytest
import torch

from merit_opt.data.media.image import Image
from merit_opt.data.media.video import read_video
from merit_opt.data.prompts import LETTER
from merit_opt.data.sample import LETTERS
from merit_opt.errors import UserError
from merit_opt.models.attention import packed
from merit_opt.models.families import FAMILIES, family_of
from merit_opt.models.forward import embed, run_layers
from merit_opt.models.labels import label_tokens
from merit_opt.models.pack import pack
from merit_opt.models.prompt import encode_prompt
from tests.contracts.stock import (
    MROPE,
    SOURCES,
    ask,
    encode,
    feature_tensors,
    given_to_the_decoder,
    heard,
    noise,
    pack_of,
    same_bits,
    spread,
    stock_inputs,
    stock_row,
    unlike,
)

for_mrope = pytest.mark.parametrize("source", MROPE, indirect=True)
only_qwen2_5 = pytest.mark.parametrize("source", ["qwen2_5_vl"], indirect=True)
only_qwen3 = pytest.mark.parametrize("source", ["qwen3_vl"], indirect=True)


def test_every_family_has_a_row():
    assert SOURCES.keys() == FAMILIES.keys()


def test_an_unknown_model_type_lists_the_known_ones():
    with pytest.raises(
        UserError, match=f"'llava' is not supported; supported: {', '.join(SOURCES)}"
    ):
        family_of("llava")


def test_ids_and_positions_are_the_stock_ones(pair, small_suite, shown):
    sample, video = shown
    inputs = stock_inputs(pair, small_suite, sample, video)
    prompt = ask(pair, small_suite, sample, encode(pair, video)).prompt
    assert torch.equal(prompt.input_ids, inputs["input_ids"][0])
    with torch.no_grad(), heard(pair.model.get_decoder().rotary_emb) as seen:
        pair.model(**inputs)
    stock = seen[1] if 1 in seen else seen["position_ids"]
    assert torch.equal(prompt.position_ids, stock.reshape(-1, stock.shape[-1]))


def test_visual_tokens_are_where_the_stock_model_puts_them(pair, small_suite, shown):
    sample, video = shown
    inputs = stock_inputs(pair, small_suite, sample, video)
    prompt = ask(pair, small_suite, sample, encode(pair, video)).prompt
    seen = given_to_the_decoder(pair, inputs)
    text = pair.model.get_input_embeddings()(inputs["input_ids"])
    assert torch.equal(prompt.is_visual, (seen["inputs_embeds"] != text).any(-1)[0])


def test_embeddings_are_the_stock_ones_bit_for_bit(either, small_suite, shown):
    sample, video = shown
    seen = given_to_the_decoder(either, stock_inputs(either, small_suite, sample, video))
    ours = embed(either, pack_of(either, small_suite, video, [sample]))
    assert same_bits(ours, seen["inputs_embeds"])


def test_deepstack_features_are_the_stock_ones_bit_for_bit(either, small_suite, shown):
    sample, video = shown
    seen = given_to_the_decoder(either, stock_inputs(either, small_suite, sample, video))
    ours, stock = encode(either, video).deepstack, seen.get("deepstack_visual_embeds") or []
    assert len(ours) == len(stock)
    assert all(same_bits(a, b) for a, b in zip(ours, stock, strict=True))


@only_qwen3
def test_qwen3_has_deepstack_features_at_all(pair, clips):
    video, _ = next(iter(clips.values()))
    assert len(encode(pair, video).deepstack) == 2


@only_qwen3
def test_one_frame_is_refused_as_the_stock_processor_refuses_it(pair, small_suite):
    sample = small_suite.samples[0]
    video = read_video(sample.media[0].path, spread(1))
    with pytest.raises(ValueError, match="t:1 must be larger") as stock:
        stock_inputs(pair, small_suite, sample, video)
    with pytest.raises(ValueError, match="t:1 must be larger") as ours:
        encode(pair, video)
    assert str(ours.value) == str(stock.value)


def test_features_do_not_depend_on_what_was_encoded_before(either, clips):
    videos = [video for video, _ in list(clips.values())[:3]]

    def encoded(order):
        return {i: encode(either, videos[i]) for i in order}

    one, other = encoded((0, 1, 2)), encoded((2, 0, 1))
    for i in range(3):
        assert unlike(feature_tensors(one[i]), feature_tensors(other[i])) == []
        assert (one[i].grid, one[i].prompt) == (other[i].grid, other[i].prompt)
    assert not any(torch.equal(one[i].tokens, one[j].tokens) for i, j in combinations(one, 2))


def test_a_letter_of_several_tokens_is_refused(pair):
    with pytest.raises(UserError, match=r"no single token for the letters \['which object'\]"):
        label_tokens(pair.processor, ("A", "which object", "D"))


def test_letters_that_the_tokenizer_does_not_know_are_refused(pair):
    with pytest.raises(UserError, match="no single token"):
        label_tokens(pair.processor, LETTERS[:6])


def test_a_prompt_is_the_same_on_every_day(pair):
    image = encode(pair, Image(noise((56, 56))))
    expected = encode_prompt(pair, LETTER, "what object ?", image).input_ids
    dated, known = deepcopy(pair.processor), pair.processor.chat_template
    dated.chat_template = (
        '{%- set today = strftime_now("%d %B %Y, %-d.%-m.%y") %}'
        '{%- if today == "01 January 2025, 1.1.25" %}' + known + "{%- endif %}"
    )
    before = dated.chat_template
    found = encode_prompt(replace(pair, processor=dated), LETTER, "what object ?", image).input_ids
    assert torch.equal(found, expected)
    assert dated.chat_template == before


def test_only_a_template_that_asks_for_the_day_is_given_one(pair):
    image = encode(pair, Image(noise((56, 56))))
    plain = deepcopy(pair.processor)
    plain.chat_template = "\n  " + pair.processor.chat_template
    dated = deepcopy(plain)
    dated.chat_template += "{# strftime_now #}"
    one, other = (
        encode_prompt(replace(pair, processor=p), LETTER, "what object ?", image).input_ids
        for p in (plain, dated)
    )
    assert torch.equal(one, other)


@pytest.fixture
def question(pair, small_suite, clips):
    video, samples = next(iter(clips.values()))
    features = encode(pair, video)
    return ask(pair, small_suite, samples[0], features), features


@pytest.mark.parametrize("cut", [lambda p: p[:, :-1], lambda p: p[:, :1], lambda p: p[0]])
def test_positions_of_another_shape_raise(question, cut):
    asked, features = question
    short = replace(asked.prompt, position_ids=cut(asked.prompt.position_ids))
    with pytest.raises(RuntimeError, match="expected positions"):
        pack([replace(asked, prompt=short)], features)


def test_missing_positions_raise(question):
    asked, features = question
    with pytest.raises((RuntimeError, AttributeError)):
        pack([replace(asked, prompt=replace(asked.prompt, position_ids=None))], features)


def test_a_prompt_without_visual_tokens_raises(pair, question):
    asked, features = question
    blind = replace(asked.prompt, is_visual=torch.zeros_like(asked.prompt.is_visual))
    with pytest.raises(RuntimeError, match="visual tokens, its features"):
        pack([replace(asked, prompt=blind)], features)
    image = encode(pair, Image(noise((56, 56))))
    mute = deepcopy(pair.processor)
    mute.chat_template = "{% for c in messages[0]['content'] %}{{ c['text'] }}{% endfor %}"

    def asked_without_its_image():
        prompt = encode_prompt(replace(pair, processor=mute), LETTER, "what object ?", image)
        return pack([replace(asked, prompt=prompt)], image)

    with pytest.raises(RuntimeError, match=r"0 visual tokens|M-RoPE positions need the image"):
        asked_without_its_image()


def test_a_question_about_another_video_is_not_packed(pair, small_suite, clips, question):
    asked, features = question
    video, samples = next(iter(clips.values()))
    shorter = replace(
        video,
        frames=video.frames[:4],
        sampling=replace(
            video.sampling,
            indices=video.sampling.indices[:4],
            times=video.sampling.times[:4],
        ),
    )
    other = ask(pair, small_suite, samples[1], encode(pair, shorter))
    with pytest.raises(RuntimeError, match="visual tokens, its features"):
        pack([asked, other], features)


def test_features_of_another_length_than_the_prompt_raise(question):
    asked, features = question
    for count in (-1, 2, 1):
        few = replace(features, tokens=features.tokens[:count])
        with pytest.raises(RuntimeError, match="visual tokens, its features"):
            pack([asked], few)
        if features.deepstack:
            first, *others = features.deepstack
            thin = replace(features, deepstack=(first[:count], *others))
            with pytest.raises(RuntimeError, match="visual tokens, its features"):
                pack([asked], thin)


@for_mrope
@pytest.mark.parametrize("grid", [None, (3, 4, 4), (5, 4, 4), (4, 4, 8)])
def test_a_grid_that_is_missing_or_another_video_s_raises(pair, question, grid):
    asked, features = question
    with pytest.raises(RuntimeError, match="and its grid"):
        pair.family.position_ids(pair.model, asked.prompt.input_ids, replace(features, grid=grid))


@for_mrope
def test_positions_of_a_prompt_without_its_video_raise(pair, question):
    asked, features = question
    text = asked.prompt.input_ids[~asked.prompt.is_visual]
    with pytest.raises(RuntimeError, match="need the video's tokens"):
        pair.family.position_ids(pair.model, text, features)


@only_qwen2_5
def test_positions_without_seconds_raise(pair, question):
    asked, features = question
    blind = replace(features, seconds_per_grid=None)
    with pytest.raises(RuntimeError, match="need the seconds"):
        pair.family.position_ids(pair.model, asked.prompt.input_ids, blind)


@only_qwen2_5
def test_seconds_move_positions(pair, question):
    asked, features = question
    fast = replace(features, seconds_per_grid=4 * features.seconds_per_grid)
    one, other = (
        pair.family.position_ids(pair.model, asked.prompt.input_ids, f) for f in (features, fast)
    )
    assert not torch.equal(one, other)


@torch.no_grad()
def test_a_packed_model_never_runs_without_a_layout(pair, small_suite, clips):
    video, samples = next(iter(clips.values()))
    inputs = stock_inputs(pair, small_suite, samples[0], video)
    decoder = pair.model.get_decoder()
    with heard(decoder.layers[0]) as seen:
        before = stock_row(pair, inputs, 4)
    for layer in decoder.layers:
        with packed(decoder), pytest.raises(RuntimeError, match="needs its layout"):
            layer(seen[0], position_embeddings=seen["position_embeddings"])
    with packed(decoder), pytest.raises(RuntimeError, match="needs its layout"):
        pair.model(**inputs)
    assert stock_row(pair, inputs, 4) == before


@torch.no_grad()
def test_a_layout_of_another_pack_raises(pair, small_suite, clips):
    video, samples = next(iter(clips.values()))
    asked = pack_of(pair, small_suite, video, samples)
    hidden = embed(pair, asked)
    longer = replace(asked, suffixes=(*asked.suffixes[:-1], asked.suffixes[-1] + 1))
    fewer = replace(asked, suffixes=asked.suffixes[:-1])
    shifted = replace(asked, prefix=asked.prefix - 1)
    for wrong in (longer, fewer, shifted):
        with pytest.raises(RuntimeError, match="the layout is for"):
            run_layers(pair, wrong, hidden, 0, 1)
