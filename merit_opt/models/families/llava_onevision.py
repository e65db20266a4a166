"""LLaVA-OneVision (`LlavaOnevisionForConditionalGeneration`) and its Qwen2 text models."""

from typing import Any

import torch

from merit_opt.models.families.family import Family, VisualFeatures, VisualInputs
from merit_opt.models.families.inputs import on_model, rows


def encode(model: Any, inputs: VisualInputs) -> VisualFeatures:
    """Pooled patches of every frame and one newline token, or the tiles of an image."""
    if inputs.prompt.kind == "video":
        (pixels,) = on_model(model, inputs, "pixel_values_videos")
        output = model.get_video_features(pixels.to(model.dtype))
    else:
        pixels, sizes = on_model(model, inputs, "pixel_values", "image_sizes")
        output = model.get_image_features(pixels.to(model.dtype), sizes)
    tokens = rows(output.pooler_output)
    if len(tokens) == inputs.length - 1:  # transformers 5.17 adds the newline in its forward
        tokens = torch.cat([tokens, model.model.image_newline[None].to(tokens)])
    return VisualFeatures(tokens, inputs.prompt)


LLAVA_ONEVISION = Family(
    model_type="llava_onevision",
    backbones={"qwen2": "qwen2"},
    encode=encode,
    trailing=1,
)
