"""LLaVA-NeXT (`LlavaNextForConditionalGeneration`) and its text models.

It reads images: a video is shown as its frames, one image each, in order.
"""

from typing import Any

from merit_opt.models.families.family import Family, VisualFeatures, VisualInputs
from merit_opt.models.families.inputs import on_model, rows


def encode(model: Any, inputs: VisualInputs) -> VisualFeatures:
    """The tiles of every image, a newline token after each row of patches."""
    pixels, sizes = on_model(model, inputs, "pixel_values", "image_sizes")
    output = model.get_image_features(pixels, sizes)
    return VisualFeatures(rows(output.pooler_output), inputs.prompt)


LLAVA_NEXT = Family(
    model_type="llava_next",
    backbones={"llama": "llama", "mistral": "mistral", "qwen2": "qwen2"},
    encode=encode,
    video_entry="image",
)
