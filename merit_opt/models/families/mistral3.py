"""Mistral 3 (`Mistral3ForConditionalGeneration`): Pixtral's vision, Mistral's text models.

It reads images: a video is shown as its frames, one image each, in order.
"""

from typing import Any

from merit_opt.models.families.family import Family, VisualFeatures, VisualInputs
from merit_opt.models.families.inputs import features_of


def encode(model: Any, inputs: VisualInputs) -> VisualFeatures:
    """The merged patches of every image at its own size."""
    return features_of(model.get_image_features, model, inputs, "pixel_values", "image_sizes")


MISTRAL3 = Family(
    model_type="mistral3",
    backbones={"mistral": "mistral"},
    encode=encode,
    video_entry="image",
)
