"""Qwen2.5-VL (`Qwen2_5_VLForConditionalGeneration`) and the Qwen2 text models it grew from."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from merit_opt.data.video import Video
from merit_opt.models.families.family import VideoFeatures
from merit_opt.models.families.qwen2_vl import encode_grid, mrope_positions


class Qwen25VL:
    """M-RoPE positions whose time axis counts seconds."""

    model_type = "qwen2_5_vl"
    backbone_types: tuple[str, ...] = ("qwen2",)

    def encode_video(self, model: Any, processor: Any, video: Video) -> VideoFeatures:
        """See `Family.encode_video`."""
        encoded = encode_grid(model, processor, video)
        (metadata,) = encoded.inputs["video_metadata"]
        seconds = processor.video_processor.temporal_patch_size / metadata.sampled_fps
        return replace(encoded.features, seconds_per_grid=seconds)

    def position_ids(self, model: Any, token_ids: Tensor, features: VideoFeatures) -> Tensor:
        """See `Family.position_ids`."""
        if features.seconds_per_grid is None:
            raise RuntimeError("Qwen2.5-VL positions need the seconds between the grid's steps")
        seconds = torch.tensor([features.seconds_per_grid])
        return mrope_positions(model, token_ids, features, second_per_grid_ts=seconds)
