"""The stock path of a pair, asked the same questions as the engine."""

from contextlib import contextmanager

import torch

from merit_opt.data.prompts import render_prompt
from merit_opt.models.forward import embed, finish, letter_log_probabilities
from merit_opt.models.pack import Question, pack
from merit_opt.models.prompt import encode_prompt, letter_ids
from merit_opt.recipe.constructors import attention
from merit_opt.recipe.recipe import LayerMerge, Recipe
from merit_opt.recipe.rules import lerp

SOURCES = {
    "qwen2_vl": "qwen2_vl_source",
    "qwen2_5_vl": "qwen2_5_vl_source",
    "qwen3_vl": "qwen3_vl_source",
    "llava_onevision": "llava_onevision_source",
}
MROPE = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
FEWEST_FRAMES = {"qwen3_vl": 2}
ROUNDING = 2e-5


@torch.no_grad()
def encode(pair, video):
    return pair.family.encode_video(pair.model, pair.processor, video)


def ask(pair, suite, sample, features):
    prompt = encode_prompt(pair, render_prompt(suite.prompt, sample), features)
    return Question(sample.id, prompt, len(sample.options))


def pack_of(pair, suite, video, samples):
    features = encode(pair, video)
    return pack([ask(pair, suite, s, features) for s in samples], features)


def packs_of(pair, suite, clips, most):
    return [pack_of(pair, suite, v, s[:3]) for v, s in list(clips.values())[:most]]


@torch.no_grad()
def answers(pair, asked):
    """Question id -> log-probabilities, from layer 0 of the live model."""
    return by_id(pair, asked, finish(pair, asked, embed(pair, asked), 0))


@torch.no_grad()
def answers_from(pair, asked, levels, recipe):
    """The layer started at, and the answers."""
    start, hidden = levels.begin(pair, asked, recipe)
    return start, by_id(pair, asked, levels.finish(pair, asked, recipe, start, hidden))


def by_id(pair, asked, hidden):
    found = letter_log_probabilities(pair, asked, hidden)
    return {q.id: row for q, row in zip(asked.questions, found, strict=True)}


def stock_inputs(pair, suite, sample, video):
    content = [
        {"type": "video", "video": video.frames},
        {"type": "text", "text": render_prompt(suite.prompt, sample)},
    ]
    metadata = {
        "total_num_frames": video.sampling.total,
        "fps": video.sampling.fps,
        "frames_indices": list(video.sampling.indices),
    }
    return pair.processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"do_sample_frames": False, "video_metadata": [metadata]},
    )


@torch.no_grad()
def stock_row(pair, inputs, n_options):
    logits = pair.model(**inputs).logits[0, -1]
    return log_probabilities(pair, logits, n_options)


def log_probabilities(pair, logits, n_options):
    return logits.float()[letter_ids(pair.processor, n_options)].log_softmax(-1).tolist()


@contextmanager
def heard(module):
    """What the module is called with inside the block, positional arguments by their number."""
    seen = {}
    hook = module.register_forward_pre_hook(
        lambda _module, args, kwargs: seen.update(enumerate(args)) or seen.update(kwargs),
        with_kwargs=True,
    )
    try:
        yield seen
    finally:
        hook.remove()


def given_to_the_decoder(pair, inputs):
    with torch.no_grad(), heard(pair.model.get_decoder()) as seen:
        pair.model(**inputs)
    return seen


def tensors_of(model):
    return dict(model.named_parameters()) | dict(model.named_buffers())


def snapshot(model):
    return {name: tensor.detach().clone() for name, tensor in tensors_of(model).items()}


def same_bits(one, other):
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))
    )


def unlike(one, other):
    """Names of the tensors whose bits differ."""
    assert one.keys() == other.keys()
    return [name for name in one if not same_bits(one[name], other[name])]


def differences(one, other):
    return [abs(a - b) for a, b in zip(one, other, strict=True)]


def furthest(one, other):
    return max(differences(one, other))


def random_recipe(n_layers, rng):
    def rule(share):
        return lerp(rng.choice([0.25, 1.0, 1.0 - rng.random()])) if rng.random() < share else None

    return Recipe(tuple(LayerMerge(rule(0.6), rule(0.2), rule(0.2)) for _ in range(n_layers)))


def some_layers(pair):
    """A recipe on two separate layers."""
    return attention(pair.n_layers, {1: 1.0, pair.n_layers - 1: 0.3})


def feature_tensors(features):
    return dict(enumerate((features.tokens, *features.deepstack)))
