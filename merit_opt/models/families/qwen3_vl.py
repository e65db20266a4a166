"""Qwen3-VL (`Qwen3VLForConditionalGeneration`) and the Qwen3 text models it grew from."""

from dataclasses import replace
from typing import Any

from merit_opt.models.families.family import Family, VisualFeatures, VisualInputs
from merit_opt.models.families.inputs import rows
from merit_opt.models.families.qwen2_vl import encode_grid, mrope_positions


def encode(model: Any, inputs: VisualInputs) -> VisualFeatures:
    """As of Qwen2-VL, and features that are added again after the first layers.

    The processor writes a video's time as text between its frames.
    """
    features, output = encode_grid(model, inputs)
    deepstack = tuple(rows(level) for level in output.deepstack_features)
    return replace(features, deepstack=deepstack)


QWEN3_VL = Family(
    model_type="qwen3_vl",
    backbones={"qwen3_vl_text": "qwen3"},
    encode=encode,
    position_ids=mrope_positions,
)
