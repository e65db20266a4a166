"""The stock path of a pair, asked the same questions as the engine."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from PIL import Image as Pillow

from merit_opt.data.media.frames import ALL_FRAMES, FramePlan
from merit_opt.data.media.image import Image
from merit_opt.data.media.video import read_video
from merit_opt.data.prompts import said
from merit_opt.data.sample import LETTERS
from merit_opt.models.export import export_checkpoint
from merit_opt.models.families.inputs import visual_features
from merit_opt.models.forward import embed, finish, read_answers
from merit_opt.models.labels import label_tokens
from merit_opt.models.merge import merge_of_recipe
from merit_opt.models.pack import Question, pack
from merit_opt.models.prompt import encode_prompt
from merit_opt.recipe.constructors import attention
from merit_opt.recipe.recipe import PARTS, LayerMerge, Recipe
from merit_opt.recipe.rules import lerp
from tests.contracts.checkpoints import llava, others, qwen

SOURCES = {
    write.__name__: write
    for write in (
        qwen.qwen2_vl,
        qwen.qwen2_5_vl,
        qwen.qwen3_vl,
        qwen.qwen3_vl_moe,
        llava.llava_onevision,
        llava.llava_next,
        llava.llava_next_video,
        others.video_llama_3,
        others.internvl,
        others.idefics2,
        others.idefics3,
        others.smolvlm,
        others.mistral3,
    )
}
MROPE = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
FEWEST_FRAMES = {"qwen3_vl": 2, "qwen3_vl_moe": 2}
NEEDS = {"smolvlm": ("num2words",)}
ROUNDING = 2e-5


@torch.no_grad()
def encode(pair, medium):
    return visual_features(pair.family, pair.model, pair.processor, medium)


def noise(size):
    """uint8 [height, width, 3]: smooth enough that a resize keeps something of it."""
    height, width = size
    coarse = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.array(Pillow.fromarray(coarse).resize((width, height)))


def spread(count):
    return ALL_FRAMES if count is None else FramePlan("uniform", count, 1.0)


def clip(sample, count, *, is_wide=False):
    """The sample's video, `count` frames of it or all, its mirror image beside it where wide."""
    video = read_video(sample.media[0].path, spread(count))
    if not is_wide:
        return video
    return replace(video, frames=np.concatenate([video.frames, video.frames[::-1]], axis=2))


def ask(pair, suite, sample, features):
    prompt = suite.asking.prompt
    encoded = encode_prompt(pair, prompt, said(prompt, sample, ()), features)
    return Question(sample.id, encoded, label_tokens(pair.processor, sample.labels))


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
def answers_from(pair, asked, levels, recipe, until=None):
    """The layer started at, and the answers."""
    start, hidden = levels.begin(pair, asked, recipe, until=until)
    hidden = levels.finish(pair, asked, recipe, start, hidden, until=until)
    return start, by_id(pair, asked, hidden)


def by_id(pair, asked, hidden):
    found = read_answers(pair, asked, hidden)
    return {q.id: row for q, row in zip(asked.questions, found, strict=True)}


def stock_inputs(pair, suite, sample, medium):
    options = {}
    if isinstance(medium, Image):
        shown = [picture(medium.pixels)]
    elif pair.family.video_entry == "image":
        shown = [picture(pixels) for pixels in medium.frames]
    else:
        shown = [{"type": "video", "video": medium.frames}]
        metadata = {
            "total_num_frames": medium.sampling.total,
            "fps": medium.sampling.fps,
            "frames_indices": list(medium.sampling.indices),
        }
        options = {"do_sample_frames": False, "video_metadata": [metadata]}
    question = {"type": "text", "text": said(suite.asking.prompt, sample, ())}
    inputs = pair.processor.apply_chat_template(
        [{"role": "user", "content": [*shown, question]}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs=options,
    )
    return inputs.to(pair.device)


def picture(pixels):
    return {"type": "image", "image": Pillow.fromarray(pixels)}


@torch.no_grad()
def stock_row(pair, inputs, n_options):
    logits = pair.model(**inputs).logits[0, -1]
    return log_probabilities(pair, logits, n_options)


def log_probabilities(pair, logits, n_options):
    forms = label_tokens(pair.processor, LETTERS[:n_options])
    summed = [logits.float()[list(tokens)].logsumexp(-1) for tokens in forms]
    return torch.stack(summed).log_softmax(-1).tolist()


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
    return seen | {"past_key_values": None, "use_cache": False}


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


def random_recipe(n_layers, rng, parts=PARTS):
    def rule(share):
        return lerp(rng.choice([0.25, 1.0, 1.0 - rng.random()])) if rng.random() < share else None

    def layer():
        drawn = {"attention": rule(0.6), "mlp": rule(0.2), "norm": rule(0.2)}
        return LayerMerge(**{part: drawn[part] for part in parts})

    return Recipe(tuple(layer() for _ in range(n_layers)))


def exported(source, recipe, out):
    merge = merge_of_recipe(source, recipe)
    export_checkpoint(source, merge, out, (), lambda _done, _total: None)
    return out


def some_layers(pair):
    """A recipe on two separate layers."""
    return attention(pair.n_layers, {1: 1.0, pair.n_layers - 1: 0.3})


def feature_tensors(features):
    return dict(enumerate((features.tokens, *features.deepstack)))
