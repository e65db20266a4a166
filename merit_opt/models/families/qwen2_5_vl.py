"""Qwen2.5-VL (`Qwen2_5_VLForConditionalGeneration`) and the Qwen2 text models it grew from."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from merit_opt.models.families.family import Family, VisualFeatures, VisualInputs
from merit_opt.models.families.qwen2_vl import encode_grid, mrope_positions


def encode(model: Any, inputs: VisualInputs) -> VisualFeatures:
    """As of Qwen2-VL, and the seconds between a video's steps: positions in time count them."""
    features, _ = encode_grid(model, inputs)
    if inputs.prompt.kind == "image":
        return features
    (seconds,) = inputs.values["second_per_grid_ts"]
    return replace(features, seconds_per_grid=float(seconds))


def position_ids(model: Any, token_ids: Tensor, features: VisualFeatures) -> Tensor:
    """See `Family.position_ids`.

    Raises:
        RuntimeError: A video's features lack what positions depend on.
    """
    if features.prompt.kind == "image":
        return mrope_positions(model, token_ids, features)
    if features.seconds_per_grid is None:
        raise RuntimeError("Qwen2.5-VL positions need the seconds between the grid's steps")
    seconds = torch.tensor([features.seconds_per_grid])
    return mrope_positions(model, token_ids, features, second_per_grid_ts=seconds)


QWEN2_5_VL = Family(
    model_type="qwen2_5_vl",
    backbones={"qwen2_5_vl_text": "qwen2"},
    encode=encode,
    position_ids=position_ids,
)
