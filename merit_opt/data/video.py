"""Video files to frames, upright and in RGB: by which reader, and who takes over.

Runs in this process and may take as long as the file makes it; `decode_pool` puts it in a process
of its own.
"""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from av.error import FFmpegError

from merit_opt.data.av_reader import read_with_av
from merit_opt.data.bounds import require_size
from merit_opt.data.decoded import Frames, Video
from merit_opt.data.decord_reader import read_with_decord
from merit_opt.data.frames import FramePlan
from merit_opt.data.media_status import MediaError, require_content
from merit_opt.data.probe import Probe, probe_video
from merit_opt.data.torchcodec_reader import read_with_torchcodec

__all__ = ["DECODERS", "DecoderName", "Frames", "MediaError", "Video", "read_video"]

DecoderName = Literal["auto", "decord", "pyav", "torchcodec"]
Reader = Callable[[Path, Probe, FramePlan, float | None, float | None], Video]

DECODERS: tuple[DecoderName, ...] = ("auto", "decord", "pyav", "torchcodec")
READERS: Mapping[DecoderName, Reader] = {
    "decord": read_with_decord,
    "pyav": read_with_av,
    "torchcodec": read_with_torchcodec,
}
FAILURES = (FFmpegError, ArithmeticError, LookupError, OSError, RuntimeError, ValueError)
DECORD_SEEKS_RIGHT = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"})


def read_video(
    path: Path,
    plan: FramePlan,
    start: float | None = None,
    end: float | None = None,
    decoder: DecoderName = "auto",
) -> Video:
    """The frames of a video that `plan` chooses between `start` and `end`, in seconds.

    Args:
        path: The file.
        plan: Which frames.
        start: See `Media`.
        end: See `Media`.
        decoder: `auto`: decord, and PyAV what decord is known to get wrong or fails on, which the
            status says; another reads alone.

    Raises:
        MediaError: The file is missing, empty, corrupt, too large or holds no video.
    """
    require_content(path)
    try:
        probe = probe_video(path)
        require_size(probe.height, probe.width)
        if decoder != "auto":
            return READERS[decoder](path, probe, plan, start, end)
        if reason := why_not_decord(probe):
            return _taken_over(path, probe, plan, (start, end), reason)
        try:
            return read_with_decord(path, probe, plan, start, end)
        except FAILURES as error:
            return _taken_over(path, probe, plan, (start, end), f"decord: {error}")
    except FAILURES as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(path, f"not a readable video ({reason}); replace the file") from error


def why_not_decord(probe: Probe) -> str:
    """Why PyAV reads it from the first, in words; empty where decord does."""
    reasons = {
        "decord is not installed": not has_decord(),
        f"{probe.container}, in which decord may find other frames than those asked for": (
            probe.container not in DECORD_SEEKS_RIGHT
        ),
        "AV1, which decord does not know": probe.codec == "av1",
        f"{probe.bits}-bit pixels, whose colours decord gets wrong": probe.bits > 8,
        "the header gives no duration, which decord needs": probe.duration is None,
        f"{probe.streams} video streams, of which decord may choose another": probe.streams > 1,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def has_decord() -> bool:
    """Whether decord is installed."""
    return importlib.util.find_spec("decord") is not None


def _taken_over(
    path: Path,
    probe: Probe,
    plan: FramePlan,
    window: tuple[float | None, float | None],
    reason: str,
) -> Video:
    video = read_with_av(path, probe, plan, *window)
    status = replace(video.status, reader=f"{video.status.reader} ({reason})")
    return replace(video, status=status)
