"""What is measured on: random checkpoints of the Qwen2.5-VL classes, encoded videos, questions."""

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from merit_opt.data.media.frames import FramePlan
from merit_opt.data.prompts import LETTER_AFTER_OPTION
from merit_opt.data.sample import LETTERS, Media, Sample
from merit_opt.data.suite import Asking, Role, Roles, Suite
from merit_opt.evaluation.evaluation import Evaluation

SPECIAL = (
    "<pad>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>", "<unk>",
)  # fmt: skip
IDS = {token: index for index, token in enumerate(SPECIAL)}
OTHER_WORDS = ("system", "user", "assistant", "options")
CHAT = (
    "{% for m in messages %}<|im_start|> {{ m['role'] }} {% for c in m['content'] %}"
    "{% if c['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %} {{ c['text'] }}{% endif %}{% endfor %} <|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant{% endif %}"
)
WORDS = 4000
N_OPTIONS = 4
PROMPT_TOKENS = (30, 90)
FRAMES = 12
FRAME_PIXELS = 224 * 224
FRAMES_PER_SECOND = 25
VIDEO_SECONDS = 6
FRAME_SIZES = ((1280, 720), (720, 1280), (960, 720))
QUESTIONS_PER_VIDEO = (2, 3)
BASE_ACCURACY = 0.6
BACKBONE_DISTANCE = 0.35
ATTENTION_GAIN = 2.0


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a VLM; its language model is a Qwen2 of the same sizes."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    vocabulary: int
    vision_depth: int
    vision_hidden: int
    vision_intermediate: int
    vision_heads: int


SMALL = Shape(12, 512, 2704, 8, 2, 9408, 7, 256, 684, 4)


@dataclass(frozen=True, slots=True)
class Material:
    """Folders of both checkpoints, and the questions, whose answers are not drawn yet."""

    vlm: Path
    backbone: Path
    suite: Suite


def build_material(folder: Path, *, videos: int, seed: int) -> Material:
    """Both checkpoints, the encoded videos and the questions, in `folder`."""
    model = random_vlm(SMALL, torch.device("cpu"), seed)
    model.save_pretrained(folder / "vlm")
    make_processor().save_pretrained(folder / "vlm")
    backbone_of(model, SMALL, seed + 1).save_pretrained(folder / "backbone")
    media = [write_video(folder / f"{i:02d}.mp4", i, seed) for i in range(videos)]
    return Material(folder / "vlm", folder / "backbone", draw_suite(media, seed))


def vlm_config(shape: Shape) -> Qwen2_5_VLConfig:
    """With M-RoPE sections in Qwen2.5-VL's proportions."""
    half = shape.hidden // shape.heads // 2
    section = [half // 4, half * 3 // 8, half * 3 // 8]
    return Qwen2_5_VLConfig(
        text_config={
            **text_sizes(shape),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": section,
            },
        },
        vision_config={
            "depth": shape.vision_depth,
            "hidden_size": shape.vision_hidden,
            "intermediate_size": shape.vision_intermediate,
            "num_heads": shape.vision_heads,
            "out_hidden_size": shape.hidden,
            "fullatt_block_indexes": list(range(2, shape.vision_depth, 3)),
            "window_size": 112,
            "tokens_per_second": 2,
        },
        image_token_id=IDS["<|image_pad|>"],
        video_token_id=IDS["<|video_pad|>"],
        vision_start_token_id=IDS["<|vision_start|>"],
        vision_end_token_id=IDS["<|vision_end|>"],
        tie_word_embeddings=False,
    )


def text_sizes(shape: Shape) -> dict[str, Any]:
    """What the VLM's text config and the backbone's share."""
    return {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "pad_token_id": IDS["<pad>"],
        "bos_token_id": None,
        "eos_token_id": IDS["<|im_end|>"],
    }


def random_vlm(shape: Shape, device: torch.device, seed: int) -> Any:
    """bfloat16 weights, spread so that options differ; RoPE frequencies stay float32."""
    with device:
        model = Qwen2_5_VLForConditionalGeneration._from_config(
            vlm_config(shape), dtype=torch.bfloat16
        )
    generator = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                spread = 1.0 / math.sqrt(parameter[0].numel())
                parameter.normal_(0.0, spread, generator=generator)
            elif name.endswith("bias"):
                parameter.normal_(0.0, 0.02, generator=generator)
        model.lm_head.weight.mul_(2.0)
        for layer in model.get_decoder().layers:  # so that answers follow video and question
            for name in ("q_proj", "k_proj", "o_proj"):
                getattr(layer.self_attn, name).weight.mul_(ATTENTION_GAIN)
    return model.eval().requires_grad_(False)


def backbone_of(model: Any, shape: Shape, seed: int) -> Qwen2ForCausalLM:
    """The VLM's language model with other attention."""
    config = Qwen2Config(
        **text_sizes(shape), rope_parameters={"rope_type": "default", "rope_theta": 1e6}
    )
    backbone = Qwen2ForCausalLM._from_config(config, dtype=torch.bfloat16)
    backbone.model.load_state_dict(model.model.language_model.state_dict())
    backbone.lm_head.load_state_dict(model.lm_head.state_dict())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if "self_attn" in name:
                move(parameter, generator)
    return backbone


def move(parameter: torch.Tensor, generator: torch.Generator) -> None:
    """Add noise of `BACKBONE_DISTANCE` times the parameter's spread."""
    noise = torch.empty_like(parameter, dtype=torch.float32).normal_(generator=generator)
    moved = parameter.float() + BACKBONE_DISTANCE * parameter.float().std() * noise
    parameter.copy_(moved)


def make_processor() -> Qwen2_5_VLProcessor:
    """The stock processor with a tokenizer of one token a word."""
    words = [*SPECIAL, *LETTERS[:8], *OTHER_WORDS, *(f"w{i}" for i in range(WORDS))]
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<|im_end|>",
        unk_token="<unk>",
        model_max_length=32768,
    )
    size = {"shortest_edge": 56 * 56, "longest_edge": FRAME_PIXELS}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size),
        tokenizer=fast,
        video_processor=Qwen2VLVideoProcessor(size=size, do_sample_frames=False),
        chat_template=CHAT,
    )


def write_video(path: Path, index: int, seed: int) -> Media:
    """H.264 of coloured blocks that move over smooth noise."""
    width, height = FRAME_SIZES[index % len(FRAME_SIZES)]
    draw = np.random.default_rng([seed, index])
    blocks = draw.integers(0, 255, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    picture = blocks.repeat(16, 0).repeat(16, 1)[:height, :width]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
        stream.options = {"preset": "veryfast"}
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for step in range(VIDEO_SECONDS * FRAMES_PER_SECOND):
            moved = np.ascontiguousarray(np.roll(picture, (step, 2 * step), (0, 1)))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        container.mux(stream.encode())
    return Media(path, hashlib.sha256(path.read_bytes()).hexdigest()[:24])


def draw_suite(media: Sequence[Media], seed: int) -> Suite:
    """2 and 3 questions a video in turn, of roles TR and TP in turn."""
    rng = random.Random(seed)
    samples: list[Sample] = []
    for video, medium in enumerate(media):
        for number in range(QUESTIONS_PER_VIDEO[video % 2]):
            role: Role = "TR" if len(samples) % 2 else "TP"
            samples.append(draw_sample(rng, f"v{video:03d}q{number}", medium, role))
    plan = FramePlan("uniform", FRAMES, 1.0)
    asking = Asking(LETTER_AFTER_OPTION, plan, scorer="letter_logprob", permutations=1)
    roles = Roles("kind", {"TR": "TR", "TP": "TP"})
    return Suite("trial-speed", "1", tuple(samples), asking, roles, (), max_unusable=0.0)


def draw_sample(rng: random.Random, name: str, medium: Media, role: Role) -> Sample:
    """A question whose text and options take 30 to 90 tokens; its answer is yet to be drawn."""
    length = rng.randint(*PROMPT_TOKENS) - 2 * N_OPTIONS - 1
    words = [f"w{rng.randrange(WORDS)}" for _ in range(length)]
    options = tuple(f"w{i}" for i in rng.sample(range(WORDS), N_OPTIONS))
    return Sample(
        name, (medium,), " ".join(words), options, 0, (("kind", role),), name.partition("q")[0]
    )


def with_answers(suite: Suite, base: Evaluation, seed: int) -> Suite:
    """Right options such that the unmerged VLM, which gave `base`, has `BASE_ACCURACY` right.

    In each role as nearly as its size allows; the other answers fall on a wrong option.
    """
    rng = random.Random(seed)
    chosen = dict(zip(base.ids, (LETTERS.index(s.answer) for s in base.scores), strict=True))
    right: set[str] = set()
    for role in ("TR", "TP"):
        ids = [s.id for s in suite.samples if suite.role(s) == role]
        right |= set(rng.sample(ids, round(BASE_ACCURACY * len(ids))))
    samples = tuple(with_answer(s, chosen, right, rng) for s in suite.samples)
    return replace(suite, samples=samples)


def with_answer(
    sample: Sample, chosen: Mapping[str, int], right: set[str], rng: random.Random
) -> Sample:
    """The option chosen where the sample is to be right, else another one."""
    others = [i for i in range(N_OPTIONS) if i != chosen[sample.id]]
    answer = chosen[sample.id] if sample.id in right else rng.choice(others)
    return replace(sample, answer=answer)
