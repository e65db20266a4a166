"""What a suite and a pair will take in memory and on disk, before any weights load."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForImageTextToText

from merit_opt.data.frames import Sampling, frame_indices
from merit_opt.data.video import Video
from merit_opt.errors import UserError
from merit_opt.models.alignment import layer_tensor
from merit_opt.models.families.video_inputs import VideoRefused, video_inputs
from merit_opt.models.source import DTYPES, PairSource


@dataclass(frozen=True, slots=True)
class VideoShape:
    """Of one video of a suite, as it will be read.

    Attributes:
        frames: Looked at.
        height: Pixels, upright.
        width: Pixels.
        fps: Frames a second of the file.
    """

    frames: int
    height: int
    width: int
    fps: float


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes.

    Attributes:
        visual_tokens: Of all videos; the one count among the sizes.
        features: Frozen features of all videos, on disk.
        level: Hidden states of all videos at one level; their questions come on top.
        attention: Self-attention of one model, all layers.
    """

    visual_tokens: int
    features: int
    level: int
    attention: int


def footprint(source: PairSource, videos: Iterable[VideoShape]) -> Footprint:
    """What features, hidden states and attention will take.

    Visual tokens are counted by the processor itself, on blank frames of each shape.

    Raises:
        UserError: The processor cannot be read, or refuses videos of a shape.
        PairMismatch: The pair is none.
    """
    config: Any = source.vlm_config
    tokens = sum(_tokens(source.processor, shape) * n for shape, n in Counter(videos).items())
    dtype = _dtype(source)
    row = config.get_text_config().hidden_size * dtype.itemsize
    deepstack = len(getattr(config.vision_config, "deepstack_visual_indexes", ()))
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    attention = (t for t in source.alignment.tensors if t.part == "attention")
    return Footprint(
        visual_tokens=tokens,
        features=tokens * row * (1 + deepstack),
        level=tokens * row,
        attention=sum(prod(layer_tensor(model, t).shape) for t in attention) * dtype.itemsize,
    )


def _tokens(processor: Any, shape: VideoShape) -> int:
    blank = np.zeros((shape.frames, shape.height, shape.width, 3), dtype=np.uint8)
    sampling = Sampling(frame_indices(shape.frames, None), shape.frames, shape.fps)
    try:
        _, placeholder = video_inputs(processor, Video(blank, sampling))
    except VideoRefused as error:
        raise UserError(
            f"this model's processor refuses {shape.frames} frames of {shape.height} x "
            f"{shape.width}: {error}"
        ) from error
    return placeholder.count(processor.video_token)


def _dtype(source: PairSource) -> torch.dtype:
    if source.dtype is not None:
        return DTYPES[source.dtype]
    return source.vlm_config.dtype or torch.float32
