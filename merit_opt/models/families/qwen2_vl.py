"""Qwen2-VL (`Qwen2VLForConditionalGeneration`) and the Qwen2 text models it grew from."""

from math import prod
from typing import Any

import torch
from torch import Tensor

from merit_opt.models.families.family import Family, VisualFeatures, VisualInputs
from merit_opt.models.families.inputs import on_model, rows

TOKEN_TYPES = {"image": 1, "video": 2}


def encode(model: Any, inputs: VisualInputs) -> VisualFeatures:
    """Projected patches of a video or an image, and their grid."""
    features, _ = encode_grid(model, inputs)
    return features


def encode_grid(model: Any, inputs: VisualInputs) -> tuple[VisualFeatures, Any]:
    """What all families of M-RoPE make of a medium, and the vision side's whole output."""
    if inputs.prompt.kind == "video":
        pixels, grids = on_model(model, inputs, "pixel_values_videos", "video_grid_thw")
        output = model.get_video_features(pixels, grids)
    else:
        pixels, grids = on_model(model, inputs, "pixel_values", "image_grid_thw")
        output = model.get_image_features(pixels, grids)
    tokens = rows(output.pooler_output)
    ((time, height, width),) = grids.tolist()
    return VisualFeatures(tokens, inputs.prompt, grid=(time, height, width)), output


def mrope_positions(
    model: Any, token_ids: Tensor, features: VisualFeatures, **options: Tensor
) -> Tensor:
    """int64 [3, length], by the model's own `get_rope_index`.

    Raises:
        RuntimeError: The prompt does not hold the medium, or the features no grid or another
            one's.
    """
    kind = features.prompt.kind
    is_visual = token_ids == features.prompt.token_id
    patches = int(is_visual.sum()) * model.config.vision_config.spatial_merge_size**2
    if features.grid is None or not patches or prod(features.grid) != patches:
        raise RuntimeError(f"M-RoPE positions need the {kind}'s tokens in the prompt and its grid")
    positions, _ = model.model.get_rope_index(
        token_ids[None],
        mm_token_type_ids=(is_visual.int() * TOKEN_TYPES[kind])[None],
        **{f"{kind}_grid_thw": torch.tensor([features.grid])},
        **options,
    )
    return positions[:, 0]


QWEN2_VL = Family(
    model_type="qwen2_vl",
    backbones={"qwen2_vl_text": "qwen2"},
    encode=encode,
    position_ids=mrope_positions,
)
