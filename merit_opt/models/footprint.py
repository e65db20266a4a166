"""What a suite and a pair will take in memory and on disk, before any weights load."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import Any

import numpy as np
import torch

from merit_opt.data.media.bounds import CHANNELS
from merit_opt.data.media.decoded import Video
from merit_opt.data.media.frames import Sampling
from merit_opt.data.media.image import Image
from merit_opt.data.media.medium import Medium
from merit_opt.errors import UserError
from merit_opt.models.alignment import decoder_layers, layer_tensor
from merit_opt.models.families.inputs import MediaRefused, visual_inputs
from merit_opt.models.source import DTYPES, PairSource
from merit_opt.units import GIB

NOISE_BYTES = GIB
SAME_COUNT = 0.05


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
class ImageShape:
    """Of one still image of a suite.

    Attributes:
        height: Pixels, upright.
        width: Pixels.
    """

    height: int
    width: int


MediumShape = VideoShape | ImageShape


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes that follow from a pair's configurations alone.

    Attributes:
        features: Frozen features of one visual token, on disk.
        level: Hidden state of one token at one level.
        attention: Self-attention of one model, all layers.
        decoder: All decoder layers of one model, attention included.
    """

    features: int
    level: int
    attention: int
    decoder: int


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes.

    Attributes:
        visual_tokens: Of all media; the one count among the sizes.
        features: Frozen features of all media, on disk.
        level: Hidden states of all media at one level; their questions come on top.
        attention: Self-attention of one model, all layers.
    """

    visual_tokens: int
    features: int
    level: int
    attention: int


def sizes(source: PairSource) -> Sizes:
    """What a visual token and a set of weights take, in the compute dtype; loads no weights.

    Raises:
        PairMismatch: The pair is none.
        UserError: A configuration cannot be read.
    """
    config: Any = source.vlm_config
    itemsize = likely_dtype(source).itemsize
    row = config.get_text_config().hidden_size * itemsize
    deepstack = len(getattr(config.vision_config, "deepstack_visual_indexes", ()))
    model = source.vlm_skeleton
    attention = (t for t in source.alignment.tensors if t.part == "attention")
    return Sizes(
        features=row * (1 + deepstack),
        level=row,
        attention=sum(prod(layer_tensor(model, t).shape) for t in attention) * itemsize,
        decoder=sum(p.numel() for p in decoder_layers(model).parameters()) * itemsize,
    )


def footprint(source: PairSource, media: Iterable[MediumShape]) -> Footprint:
    """What features, hidden states and attention will take.

    Visual tokens are counted by the processor itself, on noise of each shape: a processor that drops
    patches which repeat finds none to drop, so that the sizes are the most there can be. Of a video
    too large for that, the tokens follow from those of its beginning.

    Raises:
        UserError: The processor cannot be read, or refuses media of a shape; or what a long video
            takes does not follow from its beginning.
        PairMismatch: The pair is none.
    """
    tokens = sum(_tokens(source, shape) * n for shape, n in Counter(media).items())
    one = sizes(source)
    return Footprint(tokens, tokens * one.features, tokens * one.level, one.attention)


def likely_dtype(source: PairSource) -> torch.dtype:
    """The compute dtype; where weights are not here yet, the one that the VLM's config announces.

    Raises:
        UserError: As `PairSource.compute_dtype`.
    """
    if source.vlm_checkpoint.has_weights:
        return source.compute_dtype
    if source.dtype is not None:
        return DTYPES[source.dtype]
    return announced_dtype(source)


def announced_dtype(source: PairSource) -> torch.dtype:
    """The dtype in which the VLM is stored, as its configuration says."""
    return source.vlm_config.dtype or torch.float32


def _tokens(source: PairSource, shape: MediumShape) -> int:
    if isinstance(shape, VideoShape) and shape.frames > (most := _most_frames(shape)):
        return _tokens_of_long(source, shape, most)
    return _counted(source, shape)


def _most_frames(shape: VideoShape) -> int:
    """Frames that are counted on noise, divisible by 4 so that halves keep their pairs of frames."""
    return max(4, NOISE_BYTES // (shape.height * shape.width * CHANNELS) // 4 * 4)


def _tokens_of_long(source: PairSource, shape: VideoShape, most: int) -> int:
    """In proportion to the frames; where more frames no longer change the count, that count."""
    half, whole = (_counted(source, replace(shape, frames=n)) for n in (most // 2, most))
    if whole == 2 * half:
        return ceil(shape.frames * whole / most)
    if abs(whole - half) <= SAME_COUNT * whole:
        return whole
    raise UserError(
        f"how many visual tokens {shape.frames} frames of {shape.height} x {shape.width} take does "
        f"not follow from the first {most}, {whole} tokens, and from half of them, {half}; ask for "
        f"at most {most} frames (suite.frames)"
    )


def _counted(source: PairSource, shape: MediumShape) -> int:
    try:
        return visual_inputs(source.family, source.processor, _noise(shape)).length
    except MediaRefused as error:
        what = f"{shape.frames} frames" if isinstance(shape, VideoShape) else "an image"
        raise UserError(
            f"this model's processor refuses {what} of {shape.height} x {shape.width}: {error}"
        ) from error


def _noise(shape: MediumShape) -> Medium:
    generator = np.random.default_rng(0)
    if isinstance(shape, ImageShape):
        size = (shape.height, shape.width, 3)
        return Image(generator.integers(0, 256, size, dtype=np.uint8))
    size = (shape.frames, shape.height, shape.width, 3)
    frames = generator.integers(0, 256, size, dtype=np.uint8)
    indices = tuple(range(shape.frames))
    times = tuple(i / shape.fps for i in indices)
    sampling = Sampling(indices, shape.frames, shape.fps, times)
    return Video(frames, sampling)
