"""InternVL (`InternVLForConditionalGeneration`, the `-hf` checkpoints) and its text models."""

from typing import Any

from merit_opt.models.families.family import Family, VisualFeatures, VisualInputs
from merit_opt.models.families.inputs import on_model, rows


def encode(model: Any, inputs: VisualInputs) -> VisualFeatures:
    """Shuffled patches of every frame, or of every tile of an image and its thumbnail."""
    (pixels,) = on_model(model, inputs, "pixel_values")
    output = model.get_image_features(pixels)
    return VisualFeatures(rows(output.pooler_output), inputs.prompt)


INTERNVL = Family(
    model_type="internvl",
    backbones={"qwen2": "qwen2", "qwen3": "qwen3", "llama": "llama"},
    encode=encode,
    video_token="image",
)
