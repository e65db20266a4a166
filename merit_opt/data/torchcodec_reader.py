"""Videos through torchcodec, for those who have it and the FFmpeg libraries that it needs."""

import importlib
from pathlib import Path
from typing import Any

from merit_opt.data.av_reader import read_timeline
from merit_opt.data.bounds import require_total
from merit_opt.data.decoded import Frames, Video
from merit_opt.data.frames import FramePlan, sampled
from merit_opt.data.media_status import MediaStatus
from merit_opt.data.probe import Probe
from merit_opt.data.timeline import truncation
from merit_opt.errors import UserError


def read_with_torchcodec(
    path: Path, probe: Probe, plan: FramePlan, start: float | None, end: float | None
) -> Video:
    """The frames of a video that `plan` chooses between `start` and `end`, in seconds.

    Raises:
        UserError: torchcodec cannot be used here.
        ValueError: It cannot be read.
        RuntimeError: The same, from within torchcodec.
    """
    decoder = require_torchcodec()(
        str(path), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact"
    )
    line = read_timeline(path, probe)
    if len(line.times) != decoder.metadata.num_frames:
        raise ValueError(
            f"torchcodec counts {decoder.metadata.num_frames} frames of {len(line.times)}"
        )
    sampling = sampled(line.times, line.fps, plan, start, end)
    require_total(len(sampling.indices), probe.height, probe.width)
    frames: Frames = decoder.get_frames_at(indices=list(sampling.indices)).data.numpy()
    missing = truncation(line.times, line.fps, probe.duration)
    kind = "truncated" if missing else "ok"
    return Video(frames, sampling, MediaStatus(kind, "torchcodec", missing))


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
