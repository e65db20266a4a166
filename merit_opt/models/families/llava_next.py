"""LLaVA-NeXT (`LlavaNextForConditionalGeneration`) and its text models.

It reads images: a video is shown as its frames, one image each, in order.
"""

from typing import Any

from merit_opt.models.families.family import Family, VisualFeatures, VisualInputs
from merit_opt.models.families.inputs import features_of


def encode(model: Any, inputs: VisualInputs) -> VisualFeatures:
    """The tiles of every image, a newline token after each row of patches."""
    return features_of(model.get_image_features, model, inputs, "pixel_values", "image_sizes")


LLAVA_NEXT = Family(
    model_type="llava_next",
    backbones={"llama": "llama", "mistral": "mistral", "qwen2": "qwen2"},
    encode=encode,
    video_entry="image",
)
