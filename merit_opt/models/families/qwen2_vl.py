"""Qwen2-VL (`Qwen2VLForConditionalGeneration`) and the Qwen2 text models it grew from."""

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from merit_opt.data.video import Video
from merit_opt.models.families.family import VideoFeatures
from merit_opt.models.families.video_inputs import video_inputs

VIDEO_TOKEN_TYPE = 2


class Qwen2VL:
    """M-RoPE positions; video placeholders replaced by projected patches."""

    model_type = "qwen2_vl"
    backbone_types: tuple[str, ...] = ("qwen2",)

    def encode_video(self, model: Any, processor: Any, video: Video) -> VideoFeatures:
        """See `Family.encode_video`."""
        return encode_grid(model, processor, video).features

    def position_ids(self, model: Any, token_ids: Tensor, features: VideoFeatures) -> Tensor:
        """See `Family.position_ids`."""
        return mrope_positions(model, token_ids, features)


@dataclass(frozen=True, eq=False, slots=True)
class EncodedGrid:
    """What all families of M-RoPE make of a video, and what they made it from.

    Attributes:
        features: Tokens, placeholder and grid.
        inputs: The processor's, its metadata of the video among them.
        output: The vision side's.
    """

    features: VideoFeatures
    inputs: Any
    output: Any


def encode_grid(model: Any, processor: Any, video: Video) -> EncodedGrid:
    """One video through processor, vision tower and projector.

    Raises:
        VideoRefused: The processor cannot take it.
    """
    inputs, placeholder = video_inputs(processor, video)
    grid = inputs["video_grid_thw"].to(model.device)
    output = model.get_video_features(inputs["pixel_values_videos"].to(model.device), grid)
    (tokens,) = output.pooler_output
    time, height, width = (int(n) for n in grid[0])
    features = VideoFeatures(tokens, placeholder, grid=(time, height, width))
    return EncodedGrid(features, inputs, output)


def mrope_positions(
    model: Any, token_ids: Tensor, features: VideoFeatures, **options: Tensor
) -> Tensor:
    """int64 [3, length], by the model's own `get_rope_index`.

    Raises:
        RuntimeError: The prompt holds no video, or the features no grid or another one's.
    """
    is_visual = token_ids == model.config.video_token_id
    patches = int(is_visual.sum()) * model.config.vision_config.spatial_merge_size**2
    if features.grid is None or not patches or prod(features.grid) != patches:
        raise RuntimeError("M-RoPE positions need the video's tokens in the prompt and its grid")
    token_types = is_visual.int() * VIDEO_TOKEN_TYPE
    positions, _ = model.model.get_rope_index(
        token_ids[None],
        mm_token_type_ids=token_types[None],
        video_grid_thw=torch.tensor([features.grid]),
        **options,
    )
    return positions[:, 0]
