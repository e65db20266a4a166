"""VideoLLaMA 3 (`VideoLlama3ForConditionalGeneration`) and its Qwen2 text models."""

from typing import Any

from merit_opt.models.families.family import Family, VisualFeatures, VisualInputs
from merit_opt.models.families.inputs import on_model


def encode(model: Any, inputs: VisualInputs) -> VisualFeatures:
    """Projected patches; of a video those alone that its processor did not find repeated."""
    if inputs.prompt.kind == "image":
        given = on_model(model, inputs, "pixel_values", "image_grid_thw", "image_merge_sizes")
        (tokens,) = model.get_image_features(*given).pooler_output
        return VisualFeatures(tokens, inputs.prompt)
    *given, kept = on_model(
        model,
        inputs,
        "pixel_values_videos",
        "video_grid_thw",
        "video_merge_sizes",
        "video_compression_mask",
    )
    (tokens,) = model.get_video_features(*given).pooler_output
    return VisualFeatures(tokens if kept is None else tokens[kept], inputs.prompt)


VIDEO_LLAMA_3 = Family(
    model_type="video_llama_3",
    backbones={"qwen2": "qwen2"},
    encode=encode,
)
