"""Small checkpoints of every family with random weights, and a real processor beside each."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.contracts.stock import FEWEST_FRAMES, SOURCES

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

    from merit_opt.models.source import PairSource

TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "bos_token_id": None,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
THETA = 10_000.0
VOCABULARY = 96
BACKBONE_VOCABULARY = 104
SHARPNESS = 1.5
TIME = [*"0123456789<", "seconds>"]
QWEN_TOKENS = {
    "image_token_id": 5,
    "video_token_id": 6,
    "vision_start_token_id": 3,
    "vision_end_token_id": 4,
}
PIXELS = {"shortest_edge": 56 * 56, "longest_edge": 32 * 112 * 112}
CHAT = (
    "{% for m in messages %}<|im_start|> {{ m['role'] }} {% for c in m['content'] %}"
    "{% if c['type'] == 'video' %}VIDEO{% else %} {{ c['text'] }}{% endif %}{% endfor %} "
    "<|im_end|> {% endfor %}{% if add_generation_prompt %}<|im_start|> assistant{% endif %}"
)


@pytest.fixture(scope="session")
def qwen2_vl_source(
    tmp_path_factory: pytest.TempPathFactory, tiny_source: PairSource
) -> PairSource:
    """The packaged pair, its backbone moved a little so that every tensor differs."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_source.backbone, tmp_path_factory.mktemp("qwen2_vl") / "text")
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: tensor.float() + 0.02 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in sorted(load_file(folder / "model.safetensors").items())
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return replace(tiny_source, backbone=folder)


@pytest.fixture(scope="session")
def qwen2_5_vl_source(
    tmp_path_factory: pytest.TempPathFactory, tiny_source: PairSource
) -> PairSource:
    """Windowed vision attention, key and query biases, time in seconds."""
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    folder = tmp_path_factory.mktemp("qwen2_5_vl")
    rope = {"rope_type": "default", "rope_theta": THETA, "mrope_section": [2, 3, 3]}
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": TEXT["hidden_size"],
        "window_size": 28,
        "fullatt_block_indexes": [1],
        "tokens_per_second": 4,
    }
    config = Qwen2_5_VLConfig(
        text_config=TEXT | {"vocab_size": VOCABULARY, "rope_parameters": rope},
        vision_config=vision,
        **QWEN_TOKENS,
    )
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(size=PIXELS),
        tokenizer(folder / "tokenizer", tiny_source.vlm, "<|image_pad|>", "<|video_pad|>"),
        Qwen2VLVideoProcessor(size=PIXELS, cap_pixels_per_frame=False),
        chat_template=CHAT.replace("VIDEO", "<|vision_start|><|video_pad|><|vision_end|>"),
    )
    return checkpoints(folder, Qwen2_5_VLForConditionalGeneration(config), qwen2(), processor)


@pytest.fixture(scope="session")
def qwen3_vl_source(
    tmp_path_factory: pytest.TempPathFactory, tiny_source: PairSource
) -> PairSource:
    """Query and key norms, interleaved positions, two levels of deepstack."""
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3Config,
        Qwen3ForCausalLM,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    folder = tmp_path_factory.mktemp("qwen3_vl")
    rope = {
        "rope_type": "default",
        "rope_theta": THETA,
        "mrope_section": [4, 2, 2],
        "mrope_interleaved": True,
    }
    text = TEXT | {"head_dim": 16}
    vision = {
        "depth": 3,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": TEXT["hidden_size"],
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0, 1],
    }
    config = Qwen3VLConfig(
        text_config=text | {"vocab_size": VOCABULARY, "rope_parameters": rope},
        vision_config=vision,
        tie_word_embeddings=True,
        **QWEN_TOKENS,
    )
    backbone = Qwen3ForCausalLM(
        Qwen3Config(
            **text,
            vocab_size=BACKBONE_VOCABULARY,
            rope_parameters={"rope_type": "default", "rope_theta": THETA},
        )
    )
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessor(size=PIXELS, patch_size=16),
        tokenizer(folder / "tokenizer", tiny_source.vlm, "<|image_pad|>", "<|video_pad|>"),
        Qwen3VLVideoProcessor(size=PIXELS, cap_pixels_per_frame=False),
        chat_template=CHAT.replace("VIDEO", "<|vision_start|><|video_pad|><|vision_end|>"),
    )
    return checkpoints(folder, Qwen3VLForConditionalGeneration(config), backbone, processor)


@pytest.fixture(scope="session")
def llava_onevision_source(
    tmp_path_factory: pytest.TempPathFactory, tiny_source: PairSource
) -> PairSource:
    """SigLIP frames pooled to an odd grid, a newline token, positions of one axis."""
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
    )

    folder = tmp_path_factory.mktemp("llava_onevision")
    side, patch = 42, 14
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": side,
        "patch_size": patch,
        "vision_use_head": False,
    }
    text = {"model_type": "qwen2", "vocab_size": VOCABULARY, "rope_parameters": plain_rope()}
    words = tokenizer(folder / "tokenizer", tiny_source.vlm, "<image>", "<video>")
    config = LlavaOnevisionConfig(
        text_config=TEXT | text,
        vision_config=vision,
        image_token_index=words.convert_tokens_to_ids("<image>"),
        video_token_index=words.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[side, side]],
    )
    size = {"height": side, "width": side}
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=[[side, side]]),
        words,
        LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=(side // patch) ** 2,
        vision_feature_select_strategy="full",
        chat_template=CHAT.replace("VIDEO", "<video>"),
    )
    return checkpoints(folder, LlavaOnevisionForConditionalGeneration(config), qwen2(), processor)


def checkpoints(
    folder: Path, vlm: PreTrainedModel, backbone: PreTrainedModel, processor: ProcessorMixin
) -> PairSource:
    """Both on disk, no tensor of one equal to one of the other."""
    from merit_opt.models.source import PairSource

    for seed, (name, model) in enumerate({"vlm": vlm, "backbone": backbone}.items()):
        spread_weights(model, seed)
        model.save_pretrained(folder / name)
    processor.save_pretrained(folder / "vlm")
    return PairSource(folder / "vlm", folder / "backbone", "float32")


def spread_weights(model: PreTrainedModel, seed: int) -> None:
    """Weights whose every tensor is felt in the answers, norms and biases included."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise * SHARPNESS / math.sqrt(parameter[0].numel()))
            else:
                parameter.copy_(0.2 * noise + name.endswith("weight"))


def qwen2() -> PreTrainedModel:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(**TEXT, vocab_size=BACKBONE_VOCABULARY, rope_parameters=plain_rope())
    return Qwen2ForCausalLM(config)


def plain_rope() -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": THETA}


def tokenizer(folder: Path, base: Path, image: str, video: str) -> Any:
    """The tiny pair's words, with digits to tell time in and the placeholders of a class."""
    from transformers import AutoTokenizer

    model = json.loads((base / "tokenizer.json").read_text())
    vocabulary = model["model"]["vocab"]
    for word in (*TIME, image, video):
        vocabulary.setdefault(word, len(vocabulary))
    known = {token["content"] for token in model["added_tokens"]}
    model["added_tokens"] += [
        model["added_tokens"][0] | {"id": vocabulary[token], "content": token}
        for token in (image, video)
        if token not in known
    ]
    digits = {"type": "Split", "pattern": {"Regex": "[0-9<.]"}, "behavior": "Isolated"}
    model["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [model["pre_tokenizer"], digits | {"invert": False}],
    }
    settings = json.loads((base / "tokenizer_config.json").read_text())
    settings |= {"image_token": image, "video_token": video}
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(model))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return AutoTokenizer.from_pretrained(folder)


def rows():
    return [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in SOURCES]


@pytest.fixture(scope="session", params=rows())
def source(request):
    import torch

    from merit_opt.models.families import family_of

    torch.set_num_threads(1)
    found = request.getfixturevalue(SOURCES[request.param])
    assert found.family is family_of(request.param)
    return found


@pytest.fixture(scope="session")
def pair(source):
    return source.load("cpu", "device")


@pytest.fixture(scope="session")
def bf16_pair(source):
    return replace(source, dtype="bfloat16").load("cpu", "device")


@pytest.fixture(params=["pair", "bf16_pair"], ids=["float32", "bfloat16"])
def either(request, source):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def clips(small_suite):
    """Media -> its video and its samples."""
    from merit_opt.data.video import read_video

    groups = {}
    for sample in small_suite.samples:
        groups.setdefault(sample.media[0], []).append(sample)
    return {media: (read_video(media.path, None), samples) for media, samples in groups.items()}


@pytest.fixture(params=["all", "fewest", 4, 5, "wide"], ids=lambda case: f"{case} frames")
def shown(request, source, small_suite):
    """A sample with its video: of several lengths, and of another shape."""
    import numpy as np

    from merit_opt.data.video import read_video

    sample, case = small_suite.samples[0], request.param
    fewest = FEWEST_FRAMES.get(source.family.model_type, 1)
    counts = {"all": None, "fewest": fewest, "wide": None}
    video = read_video(sample.media[0].path, counts.get(case, case))
    if case == "wide":
        video = replace(video, frames=np.concatenate([video.frames, video.frames[::-1]], axis=2))
    return sample, video
