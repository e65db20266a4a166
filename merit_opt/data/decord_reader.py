"""Videos through decord, which is fast, and wrong or stuck on some files: see `video`."""

import importlib
import re
from pathlib import Path

import numpy as np

from merit_opt.data.bounds import require_total
from merit_opt.data.decoded import Frames, Video
from merit_opt.data.frames import FramePlan, sampled
from merit_opt.data.media_status import MediaStatus
from merit_opt.data.probe import Probe
from merit_opt.data.timeline import is_plausible, steadied, truncation

WHERE = re.compile(r"^\[[\d:]+\] \S+:\d+: ")


def read_with_decord(
    path: Path, probe: Probe, plan: FramePlan, start: float | None, end: float | None
) -> Video:
    """The frames of a video that `plan` chooses between `start` and `end`, in seconds.

    Raises:
        ValueError: decord cannot read it, or says that its frames stand at impossible times.
        RuntimeError: The same, from within decord.
    """
    decord = importlib.import_module("decord")
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        stamps = reader.get_frame_timestamp(list(range(len(reader))))[:, 0].astype(np.float64)
        if not is_plausible(stamps.tolist()):
            raise ValueError("decord gives its frames impossible times")
        times, fps = steadied(stamps.tolist(), float(reader.get_avg_fps()) or probe.fps)
        sampling = sampled(times, fps, plan, start, end)
        require_total(len(sampling.indices), probe.height, probe.width)
        frames: Frames = reader.get_batch(list(sampling.indices)).asnumpy()
    except decord.DECORDError as error:
        raise ValueError(_told(error)) from error
    missing = truncation(times, fps, probe.duration)
    return Video(
        frames, sampling, MediaStatus("truncated" if missing else "ok", "decord", missing)
    )


def _told(error: Exception) -> str:
    """Its first line, without the hour, the place in decord's source and the stack."""
    return WHERE.sub("", str(error).strip().partition("\n")[0])
