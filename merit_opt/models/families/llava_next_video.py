"""LLaVA-NeXT-Video (`LlavaNextVideoForConditionalGeneration`) and its text models."""

from typing import Any

from merit_opt.models.families.family import Family, VisualFeatures, VisualInputs
from merit_opt.models.families.inputs import features_of
from merit_opt.models.families.llava_next import encode as encode_tiles


def encode(model: Any, inputs: VisualInputs) -> VisualFeatures:
    """Pooled patches of every frame, or the tiles of an image as of LLaVA-NeXT."""
    if inputs.prompt.kind == "image":
        return encode_tiles(model, inputs)
    return features_of(model.get_video_features, model, inputs, "pixel_values_videos")


LLAVA_NEXT_VIDEO = Family(
    model_type="llava_next_video",
    backbones={"llama": "llama", "mistral": "mistral", "qwen2": "qwen2"},
    encode=encode,
)
