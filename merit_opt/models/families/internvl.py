"""InternVL (`InternVLForConditionalGeneration`, the `-hf` checkpoints) and its text models."""

from typing import Any

from merit_opt.models.families.family import Family, VisualFeatures, VisualInputs
from merit_opt.models.families.inputs import features_of


def encode(model: Any, inputs: VisualInputs) -> VisualFeatures:
    """Shuffled patches of every frame, or of every tile of an image and its thumbnail."""
    return features_of(model.get_image_features, model, inputs, "pixel_values")


INTERNVL = Family(
    model_type="internvl",
    backbones={"qwen2": "qwen2", "qwen3": "qwen3", "llama": "llama"},
    encode=encode,
    video_token="image",
)
