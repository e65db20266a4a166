"""Checkpoints of the families with M-RoPE."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.contracts.checkpoints.parts import (
    EXPERTS,
    ROPE,
    TEXT,
    chat,
    checkpoints,
    text_model,
    tokenizer,
)

if TYPE_CHECKING:
    from pathlib import Path

    from merit_opt.models.source import PairSource

TOKENS = {
    "image_token_id": 5,
    "video_token_id": 6,
    "vision_start_token_id": 3,
    "vision_end_token_id": 4,
}
NAMED = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
PIXELS = {"shortest_edge": 56 * 56, "longest_edge": 32 * 112 * 112}
QWEN_CHAT = chat(*(f"<|vision_start|>{token}<|vision_end|>" for token in NAMED.values()))
QWEN3_ROPE = ROPE | {"mrope_section": [4, 2, 2], "mrope_interleaved": True}
QWEN3_VISION = {
    "depth": 3,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 2,
    "out_hidden_size": TEXT["hidden_size"],
    "num_position_embeddings": 16,
    "deepstack_visual_indexes": [0, 1],
}


def qwen2_vl(folder: Path) -> PairSource:
    """The packaged pair, its backbone moved a little so that every tensor differs."""
    import torch
    from safetensors.torch import load_file, save_file

    from merit_opt.models.tiny.pair import tiny_pair

    packaged = tiny_pair(vlm="vlm_planted_3_5", dtype="float32")
    text = shutil.copytree(packaged.backbone, folder / "text")
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: tensor.float() + 0.02 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in sorted(load_file(text / "model.safetensors").items())
    }
    save_file(weights, text / "model.safetensors", metadata={"format": "pt"})
    return replace(packaged, backbone=text)


def qwen2_5_vl(folder: Path) -> PairSource:
    """Windowed vision attention, key and query biases, time in seconds."""
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    words = tokenizer(folder / "tokenizer", **NAMED)
    rope = ROPE | {"mrope_section": [2, 3, 3]}
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
        text_config=TEXT | {"vocab_size": len(words), "rope_parameters": rope},
        vision_config=vision,
        **TOKENS,
    )
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(size=PIXELS),
        words,
        Qwen2VLVideoProcessor(size=PIXELS, cap_pixels_per_frame=False),
        chat_template=QWEN_CHAT,
    )
    vlm = Qwen2_5_VLForConditionalGeneration(config)
    return checkpoints(folder, vlm, text_model("qwen2"), processor)


def qwen3_vl(folder: Path) -> PairSource:
    """Query and key norms, interleaved positions, two levels of deepstack, tied embeddings."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    words = tokenizer(folder / "tokenizer", **NAMED)
    text = TEXT | {"head_dim": 16, "vocab_size": len(words), "rope_parameters": QWEN3_ROPE}
    config = Qwen3VLConfig(
        text_config=text, vision_config=QWEN3_VISION, tie_word_embeddings=True, **TOKENS
    )
    vlm = Qwen3VLForConditionalGeneration(config)
    return checkpoints(folder, vlm, text_model("qwen3", head_dim=16), qwen3_processor(words))


def qwen3_vl_moe(folder: Path) -> PairSource:
    """As Qwen3-VL, with two of six experts a token in all layers but the second."""
    from transformers import Qwen3VLMoeConfig, Qwen3VLMoeForConditionalGeneration

    words = tokenizer(folder / "tokenizer", **NAMED)
    experts = EXPERTS | {"head_dim": 16, "mlp_only_layers": [1]}
    text = TEXT | experts | {"vocab_size": len(words), "rope_parameters": QWEN3_ROPE}
    config = Qwen3VLMoeConfig(
        text_config=text, vision_config=QWEN3_VISION, tie_word_embeddings=False, **TOKENS
    )
    vlm = Qwen3VLMoeForConditionalGeneration(config)
    backbone = text_model("qwen3_moe", **experts)
    return checkpoints(folder, vlm, backbone, qwen3_processor(words))


def qwen3_processor(words: Any) -> Any:
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    return Qwen3VLProcessor(
        Qwen2VLImageProcessor(size=PIXELS, patch_size=16),
        words,
        Qwen3VLVideoProcessor(size=PIXELS, cap_pixels_per_frame=False),
        chat_template=QWEN_CHAT,
    )
