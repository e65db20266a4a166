"""Video files to frames, upright and in RGB: by which reader, and who takes over.

Runs in this process and may take as long as the file makes it; `decode_pool` puts it in a process
of its own.
"""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from av.error import FFmpegError

from merit_opt.data.media.av_reader import take_with_av
from merit_opt.data.media.bounds import require_size, require_total
from merit_opt.data.media.decoded import Taken, Video
from merit_opt.data.media.decord_reader import take_with_decord
from merit_opt.data.media.frames import FramePlan, Sampling, sampled
from merit_opt.data.media.status import MOST_LOST, MediaError, MediaStatus, require_content
from merit_opt.data.media.timeline import SEEKABLE, Timeline, read_timeline
from merit_opt.data.media.torchcodec_reader import take_with_torchcodec
from merit_opt.errors import UserError

DecoderName = Literal["auto", "decord", "pyav", "torchcodec"]
Reader = Callable[[Path, Timeline, Sequence[int]], Taken]

DECODERS: tuple[DecoderName, ...] = ("auto", "decord", "pyav", "torchcodec")
READERS: Mapping[DecoderName, Reader] = {
    "decord": take_with_decord,
    "pyav": take_with_av,
    "torchcodec": take_with_torchcodec,
}
SHOWN: Mapping[DecoderName, str] = {"pyav": "PyAV"}
FAILURES = (FFmpegError, ArithmeticError, LookupError, OSError, RuntimeError, ValueError)
# Seconds that a window may reach beyond the end: annotators round.
SLACK = 1.0


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
        line = read_timeline(path)
        over = _beyond(line, start, end)
        height, width = line.probe.height, line.probe.width
        require_size(height, width)
        sampling = sampled(line.times, line.fps, plan, start, end)
        require_total(len(sampling.indices), height, width)
        reader, taken = _taken(path, line, sampling.indices, decoder)
        return Video(
            taken.frames, _where(taken, line, sampling), _status(taken, line, reader, over)
        )
    except (MemoryError, UserError):
        raise
    except Exception as error:  # what a decoder raises on a damaged file is anyone's guess
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(path, f"not a readable video ({reason}); replace the file") from error


def _taken(
    path: Path, line: Timeline, places: Sequence[int], decoder: DecoderName
) -> tuple[str, Taken]:
    """Who read the frames, and why not decord, and what it read."""
    if decoder != "auto":
        return SHOWN.get(decoder, decoder), READERS[decoder](path, line, places)
    reason = why_not_decord(line)
    if not reason:
        try:
            return "decord", take_with_decord(path, line, places)
        except FAILURES as error:
            reason = f"decord: {error}"
        except UserError as error:
            reason = f"decord cannot be loaded: {error.__cause__}"
    return f"PyAV ({reason})", take_with_av(path, line, places)


def _where(taken: Taken, line: Timeline, sampling: Sampling) -> Sampling:
    times = tuple(line.times[place] for place in taken.places)
    return replace(sampling, indices=taken.places, times=times)


def _beyond(line: Timeline, start: float | None, end: float | None) -> str:
    """What of the window lies beyond the video's end, in words; empty where nothing does.

    Raises:
        ValueError: All of it: the file is another cut than the one that the window is of.
    """
    length = line.times[-1] + 1.0 / line.fps if line.times else 0.0
    if start is not None and start > length:
        raise ValueError(
            f"it lasts {length:.1f} s and is asked about from {start:g} s on: another cut of it"
        )
    if end is not None and end > length + SLACK:
        return f"it lasts {length:.1f} s and is asked about until {end:g} s"
    return ""


def _status(taken: Taken, line: Timeline, reader: str, over: str) -> MediaStatus:
    if taken.bad > MOST_LOST * taken.tried:
        raise ValueError(f"{taken.bad} of {taken.tried} packets cannot be decoded")
    bad = max(taken.bad, line.lost)
    told = f"{bad} of {len(line.times)} packets are damaged" if bad else ""
    kind = "partial" if bad else "truncated" if line.missing or over else "ok"
    return MediaStatus(kind, reader, "; ".join(filter(None, (told, line.missing, over))))


def why_not_decord(line: Timeline) -> str:
    """Why PyAV reads it from the first, in words; empty where decord does."""
    probe = line.probe
    reasons = {
        "decord is not installed": not has_decord(),
        f"decord seeks to other frames in {probe.container}": probe.container not in SEEKABLE,
        "decord shows other frames where groups of pictures are open": line.has_open_groups,
        "decord does not know AV1": probe.codec == "av1",
        f"decord gets the colours of {probe.bits} bits wrong": probe.bits > 8,
        "decord needs a duration, and the header gives none": probe.duration is None,
        f"decord may choose another of {probe.streams} video streams": probe.streams > 1,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def has_decord() -> bool:
    """Whether decord is installed."""
    return importlib.util.find_spec("decord") is not None
