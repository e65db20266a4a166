"""Qwen3-VL (`Qwen3VLForConditionalGeneration`) and the Qwen3 text models it grew from."""

from dataclasses import replace
from typing import Any

from torch import Tensor

from merit_opt.data.video import Video
from merit_opt.models.families.family import VideoFeatures
from merit_opt.models.families.qwen2_vl import encode_grid, mrope_positions


class Qwen3VL:
    """Time as text between the frames; features added again after the first layers."""

    model_type = "qwen3_vl"
    backbone_types: tuple[str, ...] = ("qwen3",)

    def encode_video(self, model: Any, processor: Any, video: Video) -> VideoFeatures:
        """See `Family.encode_video`."""
        encoded = encode_grid(model, processor, video)
        deepstack = tuple(level for (level,) in encoded.output.deepstack_features)
        return replace(encoded.features, deepstack=deepstack)

    def position_ids(self, model: Any, token_ids: Tensor, features: VideoFeatures) -> Tensor:
        """See `Family.position_ids`."""
        return mrope_positions(model, token_ids, features)
