"""Videos through torchcodec, for those who have it and the FFmpeg libraries that it needs."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from merit_opt.data.media.decoded import Frames, Taken
from merit_opt.data.media.timeline import Timeline
from merit_opt.errors import UserError


def take_with_torchcodec(path: Path, line: Timeline, places: Sequence[int]) -> Taken:
    """The frames at these places.

    Raises:
        UserError: torchcodec cannot be used here.
        ValueError: It counts other frames than the file has.
        RuntimeError: It cannot be read.
    """
    decoder = require_torchcodec()(
        str(path), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact"
    )
    if (count := decoder.metadata.num_frames) != len(line.times):
        raise ValueError(f"torchcodec counts {count} frames of {len(line.times)}")
    frames: Frames = decoder.get_frames_at(indices=list(places)).data.numpy()
    return Taken(frames, tuple(places))


def require_torchcodec() -> Any:
    """Its decoder's class.

    Raises:
        UserError: It is not installed, or the FFmpeg libraries that it needs are not.
    """
    try:
        return importlib.import_module("torchcodec.decoders").VideoDecoder
    except (ImportError, OSError, RuntimeError) as error:
        raise UserError(
            f"engine.decoder=torchcodec cannot be used ({str(error).strip().splitlines()[0]}); "
            "pip install torchcodec and the FFmpeg libraries it names, or choose decoder=auto"
        ) from error
