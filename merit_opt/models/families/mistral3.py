"""Mistral 3 (`Mistral3ForConditionalGeneration`): Pixtral's vision, Mistral's text models.

It reads images: a video is shown as its frames, one image each, in order.
"""

from typing import Any

from merit_opt.models.families.family import Family, VisualFeatures, VisualInputs
from merit_opt.models.families.inputs import on_model, rows


def encode(model: Any, inputs: VisualInputs) -> VisualFeatures:
    """The merged patches of every image at its own size."""
    pixels, sizes = on_model(model, inputs, "pixel_values", "image_sizes")
    output = model.get_image_features(pixels, sizes)
    return VisualFeatures(rows(output.pooler_output), inputs.prompt)


MISTRAL3 = Family(
    model_type="mistral3",
    backbones={"mistral": "mistral"},
    encode=encode,
    video_entry="image",
)
