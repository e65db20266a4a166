"""Idefics2 (`Idefics2ForConditionalGeneration`) and its Mistral text models.

It reads images: a video is shown as its frames, one image each, in order. Its processor writes the
placeholders by itself, those of neighbouring images with one boundary between them.
"""

from typing import Any

from merit_opt.models.families.family import Family, VisualFeatures, VisualInputs
from merit_opt.models.families.inputs import on_model, rows


def encode(model: Any, inputs: VisualInputs) -> VisualFeatures:
    """The resampled patches of every image, or of each of its crops and the whole."""
    pixels, mask = on_model(model, inputs, "pixel_values", "pixel_attention_mask")
    output = model.get_image_features(pixels, mask)
    return VisualFeatures(rows(output.pooler_output), inputs.prompt)


IDEFICS2 = Family(
    model_type="idefics2",
    backbones={"mistral": "mistral"},
    encode=encode,
    video_entry="image",
)
