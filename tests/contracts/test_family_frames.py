"""Frames of every family's videos are replaced, hidden and differentiated as a stock model would have it."""

import random
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from merit_opt.attribution.frames.asked import Asked
from merit_opt.attribution.frames.effects import HOWS, attributed
from merit_opt.attribution.frames.gradients import Line
from merit_opt.errors import UserError
from merit_opt.models.alignment import layer_tensor
from merit_opt.models.attention import NAME
from merit_opt.models.frames import (
    frame_tokens,
    hiding_frame,
    levels_of,
    mean_features,
    with_features,
    without_frames,
)
from merit_opt.models.gradient import feature_gradients, passed
from merit_opt.recipe.constructors import base
from merit_opt.recipe.intervention import Redraw
from tests.contracts.stock import (
    ROUNDING,
    answers,
    given_to_the_decoder,
    log_probabilities,
    packs_of,
    random_recipe,
    snapshot,
    stock_inputs,
    tensors_of,
    unlike,
)

UNKNOWN = "video_llama_3"
EXPERTS = ("qwen3_vl_moe",)
FRAME = 1
STEP = 1e-3


@pytest.fixture(scope="module")
def shown(pair, small_suite, clips):
    """A video's pack, its frames, and its samples."""
    if pair.family.model_type == UNKNOWN:
        pytest.skip("which token is of which frame is not known")
    video, samples = next(iter(clips.values()))
    (pack,) = packs_of(pair, small_suite, clips, 1)
    frames = frame_tokens(pair.family, pack.features)
    by_id = {s.id: s for s in samples[:3]}
    return SimpleNamespace(video=video, pack=pack, frames=frames, samples=by_id)


@pytest.fixture(scope="module")
def asked(pair, small_suite, shown):
    return Asked(pair, shown.pack, shown.frames, shown.samples, small_suite.asking.scorer)


def decoded(pair, inputs, n_options):
    with torch.no_grad():
        hidden = pair.model.get_decoder()(**inputs).last_hidden_state
        logits = pair.model.get_output_embeddings()(hidden)[0, -1]
    return log_probabilities(pair, logits, n_options)


def test_frames_share_out_the_tokens_in_order_of_time(pair, shown):
    frames, times = shown.frames, shown.pack.features.times
    together = -(-len(times) // frames.count)
    assert [t for own in frames.times for t in own] == list(times)
    assert {len(own) for own in frames.times} <= {together, len(times) % together or together}
    of = frames.of[frames.of >= 0]
    assert torch.equal(of, of.sort().values)
    assert set(of.bincount().tolist()) == {len(of) // frames.count}
    assert len(frames.of) - len(of) == pair.family.trailing
    starts, ends = zip(*frames.spans, strict=True)
    assert starts[1:] == ends[:-1]
    assert all(start < end for start, end in frames.spans)


def test_a_frame_replaced_is_the_stock_model_fed_other_features(pair, small_suite, shown):
    """Both ways from what the decoder is given: the stock forward's own inputs, some rows replaced."""
    pack, frames = shown.pack, shown.frames
    baseline = mean_features(pack.features, frames)
    found = answers(pair, without_frames(pack, frames, [FRAME], baseline))
    assert furthest(found, answers(pair, pack)) > 1e-3
    lost = frames.of == FRAME
    for name, sample in shown.samples.items():
        inputs = given_to_the_decoder(pair, stock_inputs(pair, small_suite, sample, shown.video))
        visual = visual_rows(pack, name, inputs)
        embeds = inputs["inputs_embeds"].clone()
        embeds[0, visual[lost]] = baseline[0]
        inputs["inputs_embeds"] = embeds
        if pack.features.deepstack:
            levels = [level.clone() for level in inputs["deepstack_visual_embeds"]]
            for level, mean in zip(levels, baseline[1:], strict=True):
                level[lost] = mean
            inputs["deepstack_visual_embeds"] = levels
        expected = decoded(pair, inputs, len(sample.options))
        assert found[name] == pytest.approx(expected, abs=ROUNDING)


def visual_rows(pack, name, inputs):
    question = next(q for q in pack.questions if q.id == name)
    assert inputs["inputs_embeds"].shape[1] == len(question.prompt.input_ids)
    return question.prompt.is_visual.nonzero()[:, 0]


def test_a_hidden_frame_is_a_stock_forward_with_its_positions_masked(pair, small_suite, shown):
    pack = shown.pack
    hidden = hiding_frame(pack, shown.frames, FRAME)
    found = answers(pair, hidden)
    assert furthest(found, answers(pair, pack)) > 1e-3
    for name, sample in shown.samples.items():
        inputs = given_to_the_decoder(pair, stock_inputs(pair, small_suite, sample, shown.video))
        visual = visual_rows(pack, name, inputs)
        rows = inputs["inputs_embeds"].shape[1]
        sees = torch.ones(rows, rows, dtype=torch.bool).tril()
        unseen = visual[shown.frames.of == FRAME]
        sees[pack.prefix :, unseen] = False
        mask = torch.zeros(rows, rows).masked_fill(~sees, torch.finfo(torch.float32).min)
        with stock_mask(pair.model.get_decoder(), mask[None, None]):
            expected = decoded(pair, inputs, len(sample.options))
        assert found[name] == pytest.approx(expected, abs=ROUNDING)


@contextmanager
def stock_mask(decoder, mask):
    """Every attention module of the stock decoder is given this mask."""
    assert decoder.config._attn_implementation != NAME
    hooks = [
        layer.self_attn.register_forward_pre_hook(
            lambda _module, args, kwargs: (args, {**kwargs, "attention_mask": mask}),
            with_kwargs=True,
        )
        for layer in decoder.layers
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def furthest(one, other):
    return max(abs(a - b) for i in one for a, b in zip(one[i], other[i], strict=True))


@pytest.mark.usefixtures("smooth")
def test_gradients_of_features_are_the_differences_that_small_moves_make(pair, shown):
    pack = shown.pack

    def first(rows):
        return [rows[0][0], rows[1][1]]

    found = feature_gradients(pair, passed(pair, pack), first)
    assert [len(one) for one in found] == [len(levels_of(pack.features))] * 2
    generator = torch.Generator().manual_seed(3)
    for place in range(len(levels_of(pack.features))):
        level = levels_of(pack.features)[place]
        way = torch.randn(level.shape, generator=generator) * level.std()
        rises = [float((one[place] * way).sum()) for one in found]
        ends = [values(pair, moved(pack, place, sign * STEP * way)) for sign in (1, -1)]
        slopes = [(up - down) / (2 * STEP) for up, down in zip(*ends, strict=True)]
        assert rises == pytest.approx(slopes, rel=0.03, abs=3e-3)


def moved(pack, place, by):
    levels = list(levels_of(pack.features))
    levels[place] = levels[place] + by
    return with_features(pack, levels)


def values(pair, pack):
    rows = list(answers(pair, pack).values())
    return rows[0][0], rows[1][1]


@pytest.fixture
def smooth(pair):
    if pair.family.model_type in EXPERTS:
        pytest.skip(
            "answers jump where a token is sent to another expert; gradients do not see it"
        )


@pytest.mark.usefixtures("smooth")
def test_integrated_gradients_add_up_to_what_they_explain(asked):
    (one, *_) = asked.alone()
    (name,) = one.samples
    gap = float(one.answers()[name][1] - one.answers(one.without_all())[name][1])
    found = []
    while not found or abs(found[-1] - gap) > 2e-3 + 0.01 * abs(gap):
        assert len(found) < 4, (found, gap)
        steps = 32 * 4 ** len(found)
        line = Line(steps, steps)
        found.append(sum(attributed(one, "integrated", [(name, 1)], line)[name, 1]))


def test_occlusion_is_what_log_probability_loses(asked, pair):
    places = [(name, 2) for name in asked.samples]
    whole = answers(pair, asked.pack)
    hidden = answers(pair, hiding_frame(asked.pack, asked.frames, FRAME))
    found = attributed(asked, "occlusion_hidden", places, Line(1, 1))
    for name, option in places:
        expected = whole[name][option] - hidden[name][option]
        assert found[name, option][FRAME] == pytest.approx(expected, abs=1e-6)


def test_attribution_leaves_the_model_as_it_was(pair, asked):
    before, said = snapshot(pair.model), answers(pair, asked.pack)
    wanted = {name: p.requires_grad for name, p in pair.model.named_parameters()}
    features = [level.clone() for level in levels_of(asked.pack.features)]
    for how in HOWS:
        attributed(asked, how, [(name, 0) for name in asked.samples], Line(2, 2))
    assert unlike(tensors_of(pair.model), before) == []
    assert {name: p.requires_grad for name, p in pair.model.named_parameters()} == wanted
    assert all(map(torch.equal, levels_of(asked.pack.features), features))
    assert answers(pair, asked.pack) == said


def test_weights_drawn_anew_are_others_and_lead_back(pair, small_suite, clips):
    (pack,) = packs_of(pair, small_suite, clips, 1)
    before, said = snapshot(pair.model), answers(pair, pack)
    recipe = random_recipe(pair.n_layers, random.Random(1), pair.alignment.parts)
    matrices = [t for t in pair.alignment.tensors if layer_tensor(pair.model, t).ndim > 1]
    with pair.switching() as switch:
        switch(recipe)
        merged = snapshot(pair.model)
        switch(recipe, Redraw(0))
        drawn = snapshot(pair.model)
        assert len(unlike(drawn, merged)) == len(matrices)
        for tensor in matrices:
            assert layer_tensor(pair.model, tensor).std() > 0
        assert furthest(answers(pair, pack), said) > 1e-3
        switch(recipe, Redraw(1))
        assert len(unlike(tensors_of(pair.model), drawn)) == len(matrices)
        switch(recipe, Redraw(0))
        assert unlike(tensors_of(pair.model), drawn) == []
        switch(recipe)
        assert unlike(tensors_of(pair.model), merged) == []
        switch(base(pair.n_layers), Redraw(0))
    assert unlike(tensors_of(pair.model), before) == []
    assert answers(pair, pack) == said


def test_where_frames_cannot_be_told_apart_it_is_said(written, small_suite, clips):
    found = written(UNKNOWN).load("cpu", "device")
    (pack,) = packs_of(found, small_suite, clips, 1)
    with pytest.raises(UserError, match=r"is not known for video_llama_3: .* unequal numbers"):
        frame_tokens(found.family, pack.features)
