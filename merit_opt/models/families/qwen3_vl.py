"""Qwen3-VL (`Qwen3VLForConditionalGeneration`) and the Qwen3 text models it grew from."""

from typing import Any

from torch import Tensor

from merit_opt.data.video import Video
from merit_opt.models.families.family import VideoFeatures
from merit_opt.models.families.qwen2_vl import grid_of, mrope_positions
from merit_opt.models.families.video_inputs import video_inputs


class Qwen3VL:
    """Time as text between the frames; features added again after the first layers."""

    model_type = "qwen3_vl"
    backbone_types: tuple[str, ...] = ("qwen3",)

    def encode_video(self, model: Any, processor: Any, video: Video) -> VideoFeatures:
        """See `Family.encode_video`."""
        inputs, placeholder = video_inputs(processor, video)
        grid = inputs["video_grid_thw"].to(model.device)
        output = model.get_video_features(inputs["pixel_values_videos"].to(model.device), grid)
        (tokens,) = output.pooler_output
        deepstack = tuple(level for (level,) in output.deepstack_features)
        return VideoFeatures(tokens, placeholder, grid=grid_of(grid), deepstack=deepstack)

    def position_ids(self, model: Any, token_ids: Tensor, features: VideoFeatures) -> Tensor:
        """See `Family.position_ids`."""
        return mrope_positions(model, token_ids, features)
