"""Checkpoints of the families that are neither LLaVA's nor of M-RoPE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.contracts.checkpoints.parts import (
    TEXT,
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

SIDE = 56
SCALE = 2
SQUARE = {"height": SIDE, "width": SIDE}
WINDOW = 1024
TILES = tuple(f"<row_{i}_col_{j}>" for i in range(1, 4) for j in range(1, 4))
PER_TILE = (SIDE // VISION["patch_size"] // SCALE) ** 2


def video_llama_3(folder: Path) -> PairSource:
    """Frames at their own size, those repeated dropped, time as text, tied embeddings."""
    from transformers import (
        VideoLlama3Config,
        VideoLlama3ForConditionalGeneration,
        VideoLlama3ImageProcessor,
        VideoLlama3Processor,
        VideoLlama3VideoProcessor,
    )

    named = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
    words = tokenizer(folder / "tokenizer", **named)
    config = VideoLlama3Config(
        text_config=text_config("qwen2", words, tie_word_embeddings=True),
        vision_config=VISION,
        image_token_id=5,
        video_token_id=6,
        tie_word_embeddings=True,
    )
    size = {"shortest_edge": SIDE**2, "longest_edge": 64 * SIDE**2}
    processor = VideoLlama3Processor(
        VideoLlama3ImageProcessor(size=size, merge_size=1),
        words,
        VideoLlama3VideoProcessor(size=size, merge_size=2),
        chat_template=chat("<|image_pad|>", "<|video_pad|>"),
    )
    vlm = VideoLlama3ForConditionalGeneration(config)
    return checkpoints(folder, vlm, text_model("qwen2", tie_word_embeddings=True), processor)


def internvl(folder: Path) -> PairSource:
    """Tiles and a thumbnail, video frames on image tokens, Qwen3."""
    from transformers import (
        GotOcr2ImageProcessor,
        InternVLConfig,
        InternVLForConditionalGeneration,
        InternVLProcessor,
        InternVLVideoProcessor,
    )

    words = tokenizer(
        folder / "tokenizer",
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    config = InternVLConfig(
        text_config=text_config("qwen3", words, head_dim=16),
        vision_config=VISION | {"image_size": [SIDE, SIDE], "patch_size": [14, 14]},
        image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"),
        downsample_ratio=1 / SCALE,
    )
    processor = InternVLProcessor(
        GotOcr2ImageProcessor(size=SQUARE, crop_to_patches=True, min_patches=1, max_patches=6),
        words,
        InternVLVideoProcessor(size=SQUARE),
        image_seq_length=PER_TILE,
        chat_template=chat("<IMG_CONTEXT>", "<video>"),
    )
    vlm = InternVLForConditionalGeneration(config)
    return checkpoints(folder, vlm, text_model("qwen3", head_dim=16), processor)


def idefics2(folder: Path) -> PairSource:
    """Every image cut in four, a resampler, Mistral with a window, boundaries between images."""
    from transformers import (
        Idefics2Config,
        Idefics2ForConditionalGeneration,
        Idefics2ImageProcessor,
        Idefics2Processor,
    )

    words = tokenizer(
        folder / "tokenizer",
        plain=("<end_of_utterance>",),
        begins=True,
        image_token="<image>",
        image_boundary_token="<fake_token_around_image>",
    )
    window = {"sliding_window": WINDOW, "head_dim": 16}
    latents = 3
    config = Idefics2Config(
        text_config=text_config("mistral", words, **window),
        vision_config=VISION | {"image_size": SIDE},
        perceiver_config={
            "hidden_size": TEXT["hidden_size"],
            "resampler_n_latents": latents,
            "resampler_depth": 1,
            "resampler_n_heads": 4,
            "resampler_head_dim": 16,
            "num_key_value_heads": 2,
        },
        image_token_id=words.convert_tokens_to_ids("<image>"),
    )
    processor = Idefics2Processor(
        Idefics2ImageProcessor(
            size={"shortest_edge": 28, "longest_edge": SIDE}, do_image_splitting=True
        ),
        words,
        image_seq_len=latents,
        chat_template="Look: " + chat("<image>", ""),
    )
    vlm = Idefics2ForConditionalGeneration(config)
    return checkpoints(folder, vlm, text_model("mistral", **window), processor)


def idefics3(folder: Path) -> PairSource:
    """Tiles in rows and columns and the whole, Llama."""
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessor,
        Idefics3Processor,
    )

    plain = ("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *TILES)
    words = tokenizer(folder / "tokenizer", plain=plain)
    config = Idefics3Config(
        text_config=text_config("llama", words),
        vision_config=VISION | {"image_size": SIDE},
        scale_factor=SCALE,
        image_token_id=words.convert_tokens_to_ids("<image>"),
    )
    processor = Idefics3Processor(
        Idefics3ImageProcessor(
            size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE}
        ),
        words,
        image_seq_len=PER_TILE,
        chat_template=chat("<image>", ""),
    )
    vlm = Idefics3ForConditionalGeneration(config)
    return checkpoints(folder, vlm, text_model("llama"), processor)


def smolvlm(folder: Path) -> PairSource:
    """Whole frames on image tokens with the time between them, images in tiles, tied Llama."""
    from transformers import (
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    words = tokenizer(
        folder / "tokenizer",
        plain=TILES,
        image_token="<image>",
        video_token="<video>",
        fake_image_token="<fake_token_around_image>",
        global_image_token="<global-img>",
        end_of_utterance_token="<end_of_utterance>",
    )
    config = SmolVLMConfig(
        text_config=text_config("llama", words, tie_word_embeddings=True),
        vision_config=VISION | {"image_size": SIDE},
        scale_factor=SCALE,
        image_token_id=words.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=True,
    )
    size, most = {"longest_edge": 2 * SIDE}, {"longest_edge": SIDE}
    sampling = {"max_frames": 16, "fps": 1, "video_size": size}
    processor = SmolVLMProcessor(
        SmolVLMImageProcessor(size=size, max_image_size=most),
        words,
        SmolVLMVideoProcessor(size=size, max_image_size=most, video_sampling=sampling),
        image_seq_len=PER_TILE,
        chat_template=chat("<image>", "<video>"),
    )
    vlm = SmolVLMForConditionalGeneration(config)
    return checkpoints(folder, vlm, text_model("llama", tie_word_embeddings=True), processor)


def mistral3(folder: Path) -> PairSource:
    """Pixtral at every image's own size, a break after each row, a start before the chat."""
    from transformers import (
        Mistral3Config,
        Mistral3ForConditionalGeneration,
        PixtralImageProcessor,
        PixtralProcessor,
    )

    plain = ("[IMG]", "[IMG_BREAK]", "[IMG_END]")
    words = tokenizer(folder / "tokenizer", plain=plain, begins=True)
    config = Mistral3Config(
        text_config=text_config("mistral", words, head_dim=16, sliding_window=None),
        vision_config=VISION | {"model_type": "pixtral", "image_size": 4 * SIDE},
        image_token_index=words.convert_tokens_to_ids("[IMG]"),
        spatial_merge_size=SCALE,
        vision_feature_layer=-1,
    )
    patch = VISION["patch_size"]
    processor = PixtralProcessor(
        PixtralImageProcessor(size={"longest_edge": 2 * SIDE}, patch_size=patch),
        words,
        patch_size=patch,
        spatial_merge_size=SCALE,
        chat_template="Look: " + chat("[IMG]", ""),
    )
    vlm = Mistral3ForConditionalGeneration(config)
    backbone = text_model("mistral", head_dim=16, sliding_window=None)
    return checkpoints(folder, vlm, backbone, processor)
