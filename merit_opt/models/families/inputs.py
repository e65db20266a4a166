"""One decoded medium through a processor, as the stock path sends it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image as Pillow
from torch import Tensor

from merit_opt.data.media.decoded import Video
from merit_opt.data.media.image import Image
from merit_opt.data.media.medium import Medium
from merit_opt.models.families.family import Family, InPrompt, Kind, VisualFeatures, VisualInputs

CPU_IS_FULL = "DefaultCPUAllocator: "  # torch has no class of its own for it


class MediaRefused(ValueError):
    """A processor cannot take the medium; a video too short, for instance."""


def visual_inputs(family: Family, processor: Any, medium: Medium) -> VisualInputs:
    """What the vision side reads, and what stands for the medium in a prompt.

    Frames are taken as they are: which of them to look at was decided when they were decoded.

    Raises:
        MediaRefused: The processor says that it cannot take it, or fails on it.
    """
    if isinstance(medium, Video) and family.video_entry == "video":
        kind, token, media = "video", family.video_token, _video(medium)
    else:
        kind, token, media = "image", "image", _images(medium)
    return _processed(processor, kind, token, media)


def visual_features(family: Family, model: Any, processor: Any, medium: Medium) -> VisualFeatures:
    """What the vision tower and the projector make of one medium.

    Raises:
        MediaRefused: The processor cannot take it.
    """
    features = family.encode(model, visual_inputs(family, processor, medium))
    times = medium.sampling.times if isinstance(medium, Video) else ()
    return replace(features, times=times, status=medium.status)


def on_model(model: Any, inputs: VisualInputs, *names: str) -> list[Any]:
    """The named values where the model's inputs go, None for what the processor does not give."""
    found = (inputs.values.get(name) for name in names)
    return [None if value is None else value.to(model.device) for value in found]


def features_of(
    method: Callable[..., Any], model: Any, inputs: VisualInputs, *names: str
) -> VisualFeatures:
    """What the model's own `method` makes of the named values, in their order."""
    output = method(*on_model(model, inputs, *names))
    return VisualFeatures(rows(output.pooler_output), inputs.prompt)


def rows(pooled: Tensor | Sequence[Tensor]) -> Tensor:
    """[tokens, hidden] in order, whether a model gives one tensor or one for every image."""
    parts = [pooled] if isinstance(pooled, Tensor) else pooled
    return torch.cat([part.flatten(0, -2) for part in parts])


def _video(video: Video) -> dict[str, Any]:
    """Processors take index / rate for the time of a frame, so that is what they are given."""
    metadata = {
        "total_num_frames": video.sampling.total,
        "fps": video.sampling.fps,
        "frames_indices": list(video.sampling.ticks),
    }
    return {
        "videos": [[video.frames]],
        "video_metadata": [metadata],
        "do_sample_frames": False,
        "return_metadata": True,
    }


def _images(medium: Medium) -> dict[str, Any]:
    pictures = [medium.pixels] if isinstance(medium, Image) else medium.frames
    return {"images": [[Pillow.fromarray(pixels) for pixels in pictures]]}


def _processed(processor: Any, kind: Kind, token: Kind, media: dict[str, Any]) -> VisualInputs:
    (entries,) = (len(one) for one in media[f"{kind}s"])
    try:
        values = processor(
            text=[getattr(processor, f"{kind}_token") * entries],
            return_text_replacement_offsets=True,
            return_tensors="pt",
            **media,
        )
    except (ArithmeticError, RuntimeError, ValueError) as error:
        if isinstance(error, torch.OutOfMemoryError) or CPU_IS_FULL in str(error):
            raise
        raise MediaRefused(str(error)) from error
    token_id = processor.tokenizer.convert_tokens_to_ids(getattr(processor, f"{token}_token"))
    written = values.pop("text_replacement_offsets", None)
    texts = None if written is None else tuple(one["replacement"] for one in written[0])
    length = int(torch.sum(values["input_ids"] == token_id))
    return VisualInputs(values, InPrompt(kind, entries, texts, token_id), length)
