"""Checkpoints of the LLaVA families."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.contracts.checkpoints.parts import (
    VISION,
    chat,
    checkpoints,
    text_config,
    text_model,
    tokenizer,
)

if TYPE_CHECKING:
    from pathlib import Path

    from merit_opt.models.source import PairSource

NAMED = {"image_token": "<image>", "video_token": "<video>"}


def pinpoints(side: int) -> list[list[int]]:
    """Two tiles beside or above each other, three in a row, or four."""
    return [[side, 2 * side], [2 * side, side], [side, 3 * side], [2 * side, 2 * side]]


def token_indices(words) -> dict[str, int]:
    return {
        f"{kind}_token_index": words.convert_tokens_to_ids(f"<{kind}>")
        for kind in ("image", "video")
    }


def llava_onevision(folder: Path) -> PairSource:
    """SigLIP frames pooled to an odd grid, a newline token, positions of one axis."""
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
    )

    side, patch = 42, VISION["patch_size"]
    words = tokenizer(folder / "tokenizer", **NAMED)
    siglip = {"model_type": "siglip_vision_model", "image_size": side, "vision_use_head": False}
    config = LlavaOnevisionConfig(
        text_config=text_config("qwen2", words),
        vision_config=VISION | siglip,
        image_grid_pinpoints=pinpoints(side),
        **token_indices(words),
    )
    size = {"height": side, "width": side}
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=pinpoints(side)),
        words,
        LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=(side // patch) ** 2,
        vision_feature_select_strategy="full",
        chat_template=chat("<image>", "<video>"),
    )
    vlm = LlavaOnevisionForConditionalGeneration(config)
    return checkpoints(folder, vlm, text_model("qwen2"), processor)


def llava_next(folder: Path) -> PairSource:
    """CLIP without its class token, tiles, Llama, a chat that begins with the tokenizer's start."""
    from transformers import (
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessor,
        LlavaNextProcessor,
    )

    side = 28
    words = tokenizer(folder / "tokenizer", begins=True, image_token="<image>")
    config = LlavaNextConfig(
        text_config=text_config("llama", words),
        vision_config=VISION | {"model_type": "clip_vision_model", "image_size": side},
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=pinpoints(side),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    size = {"height": side, "width": side}
    processor = LlavaNextProcessor(
        LlavaNextImageProcessor(
            size={"shortest_edge": side}, crop_size=size, image_grid_pinpoints=pinpoints(side)
        ),
        words,
        patch_size=VISION["patch_size"],
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat("<image>", ""),
    )
    vlm = LlavaNextForConditionalGeneration(config)
    return checkpoints(folder, vlm, text_model("llama"), processor)


def llava_next_video(folder: Path) -> PairSource:
    """Frames pooled, images in tiles, Mistral without a window."""
    from transformers import (
        LlavaNextImageProcessor,
        LlavaNextVideoConfig,
        LlavaNextVideoForConditionalGeneration,
        LlavaNextVideoProcessor,
        LlavaNextVideoVideoProcessor,
    )

    side = 56
    words = tokenizer(folder / "tokenizer", begins=True, **NAMED)
    config = LlavaNextVideoConfig(
        text_config=text_config("mistral", words, sliding_window=None, head_dim=16),
        vision_config=VISION | {"model_type": "clip_vision_model", "image_size": side},
        image_grid_pinpoints=pinpoints(side),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        **token_indices(words),
    )
    size, crop = {"shortest_edge": side}, {"height": side, "width": side}
    processor = LlavaNextVideoProcessor(
        LlavaNextVideoVideoProcessor(size=size, crop_size=crop),
        LlavaNextImageProcessor(size=size, crop_size=crop, image_grid_pinpoints=pinpoints(side)),
        words,
        patch_size=VISION["patch_size"],
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat("<image>", "<video>"),
    )
    vlm = LlavaNextVideoForConditionalGeneration(config)
    backbone = text_model("mistral", sliding_window=None, head_dim=16)
    return checkpoints(folder, vlm, backbone, processor)
