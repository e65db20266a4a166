"""LLaVA-OneVision (`LlavaOnevisionForConditionalGeneration`) and its Qwen2 text models."""

from typing import Any

import torch
from torch import Tensor

from merit_opt.data.video import Video
from merit_opt.models.families.family import VideoFeatures
from merit_opt.models.families.video_inputs import video_inputs


class LlavaOnevision:
    """Pooled patches of every frame and one newline token; plain RoPE positions."""

    model_type = "llava_onevision"
    backbone_types: tuple[str, ...] = ("qwen2",)

    def encode_video(self, model: Any, processor: Any, video: Video) -> VideoFeatures:
        """See `Family.encode_video`."""
        inputs, placeholder = video_inputs(processor, video)
        pixels = inputs["pixel_values_videos"].to(model.device, model.dtype)
        (tokens,) = model.get_video_features(pixels).pooler_output
        return VideoFeatures(tokens, placeholder)

    def position_ids(self, model: Any, token_ids: Tensor, features: VideoFeatures) -> Tensor:
        """See `Family.position_ids`."""
        return torch.arange(len(token_ids))[None]
