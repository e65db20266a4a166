"""VideoLLaMA 3 (`VideoLlama3ForConditionalGeneration`) and its Qwen2 text models."""

from typing import Any

from merit_opt.models.families.family import Family, VisualFeatures, VisualInputs
from merit_opt.models.families.inputs import on_model, rows


def encode(model: Any, inputs: VisualInputs) -> VisualFeatures:
    """Projected patches; of a video those alone that its processor did not find repeated."""
    if inputs.prompt.kind == "image":
        names = ("pixel_values", "image_grid_thw", "image_merge_sizes")
        pixels, grids, sizes = on_model(model, inputs, *names)
        output = model.get_image_features(pixels, grids, image_merge_sizes=sizes)
        return VisualFeatures(rows(output.pooler_output), inputs.prompt)
    names = (
        "pixel_values_videos",
        "video_grid_thw",
        "video_merge_sizes",
        "video_compression_mask",
    )
    pixels, grids, sizes, kept = on_model(model, inputs, *names)
    output = model.get_video_features(pixels, grids, video_merge_sizes=sizes)
    return VisualFeatures(rows(output.pooler_output)[kept], inputs.prompt)


VIDEO_LLAMA_3 = Family(
    model_type="video_llama_3",
    backbones={"qwen2": "qwen2"},
    encode=encode,
    trailing=None,
)
