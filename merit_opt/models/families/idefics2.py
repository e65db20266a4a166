"""Idefics2 (`Idefics2ForConditionalGeneration`) and its Mistral text models.

It reads images: a video is shown as its frames, one image each, in order. Its processor writes the
placeholders by itself, those of neighbouring images with one boundary between them.
"""

from typing import Any

from merit_opt.models.families.family import Family, VisualFeatures, VisualInputs
from merit_opt.models.families.inputs import features_of


def encode(model: Any, inputs: VisualInputs) -> VisualFeatures:
    """The resampled patches of every image, or of each of its crops and the whole."""
    names = ("pixel_values", "pixel_attention_mask")
    return features_of(model.get_image_features, model, inputs, *names)


IDEFICS2 = Family(
    model_type="idefics2",
    backbones={"mistral": "mistral"},
    encode=encode,
    video_entry="image",
)
