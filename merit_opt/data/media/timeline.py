"""When the frames of a video are shown, read from its packets, which costs no decoding.

Containers round times to milliseconds, count them from anywhere, or have none at all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from merit_opt.data.media.probe import Probe, opened, probed

FPS_UNKNOWN = 24.0  # as transformers assumes
SEEKABLE = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})  # others seek to about there
WITHOUT_TIMES = frozenset({"avi", "h264", "hevc", "m4v", "mjpeg"})
ROUNDING = 1.01e-3
LONGEST, LATEST = 1e6, 1e12
SAME_RATE = 0.01
TRUNCATED_SHARE, TRUNCATED_SECONDS = 0.05, 0.5


@dataclass(frozen=True, slots=True)
class Timeline:
    """The frames of a stream in the order that they are shown.

    Attributes:
        probe: What the header says of it.
        times: Seconds of each from the first.
        fps: Frames a second.
        stamps: Presentation time of each, ascending, in the stream's unit; its place where the
            file has no times.
        keyframes: Stamps from which decoding can begin, ascending; none where seeking is not exact.
        is_counted: Whether stamps are places.
        has_open_groups: Whether frames shown before a keyframe come after it in the file.
        lost: Packets that the file itself calls damaged.
        missing: What is missing at the end, in words.
    """

    probe: Probe
    times: tuple[float, ...]
    fps: float
    stamps: tuple[int, ...]
    keyframes: tuple[int, ...]
    is_counted: bool
    has_open_groups: bool
    lost: int
    missing: str


def read_timeline(path: Path) -> Timeline:
    """When its frames are shown.

    Raises:
        FFmpegError: It cannot be read.
        ValueError: It has no frame.
    """
    with opened(path) as (container, stream):
        probe = probed(container, stream)
        found = [_facts(p) for p in packets(container, stream) if p.size and not p.is_discard]
        unit = float(stream.time_base or 0)
    if not found:
        raise ValueError("it has no frame")
    lost = sum(one.is_damaged for one in found)
    stamps = sorted(one.stamp for one in found if one.stamp is not None)
    timed = probe.container not in WITHOUT_TIMES and len(stamps) == len(found)
    if not (timed and is_plausible([stamp * unit for stamp in stamps])):
        fps, places = probe.fps or FPS_UNKNOWN, tuple(range(len(found)))
        times, keyframes = even_times(len(found), fps), ()
    else:
        times, fps = steadied([stamp * unit for stamp in stamps], probe.fps)
        keys = sorted(one.stamp for one in found if one.is_key and one.stamp is not None)
        places, keyframes = tuple(stamps), tuple(keys) if probe.container in SEEKABLE else ()
    return Timeline(
        probe=probe,
        times=times,
        fps=fps,
        stamps=places,
        keyframes=keyframes,
        is_counted=not timed or places != tuple(stamps),
        has_open_groups=_has_open_groups(found),
        lost=lost,
        missing=truncation(times, fps, probe.duration),
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    stamp: int | None
    is_key: bool
    is_damaged: bool


def _facts(packet: "Packet[VideoStream]") -> _Facts:
    return _Facts(packet.pts, packet.is_keyframe, packet.is_corrupt)


def packets(container: InputContainer, stream: VideoStream) -> "Iterator[Packet[VideoStream]]":
    """All packets up to where the file breaks off."""
    found = container.demux(stream)
    while True:
        try:
            yield next(found)
        except (StopIteration, FFmpegError):
            return


def _has_open_groups(found: Sequence[_Facts]) -> bool:
    key: int | None = None
    for one in found:
        if one.is_key:
            key = one.stamp
        elif key is not None and one.stamp is not None and one.stamp < key:
            return True
    return False


def is_plausible(times: Sequence[float]) -> bool:
    """Whether these can be times of frames: ascending, and no longer than eleven days."""
    found = np.asarray(times, dtype=np.float64)
    if not len(found) or not (np.abs(found) < LATEST).all():
        return False
    length = found[-1] - found[0]
    return bool(
        (np.diff(found) >= 0).all() and (length > 0) == (len(found) > 1) and length < LONGEST
    )


def even_times(count: int, fps: float) -> tuple[float, ...]:
    """Of frames that follow one another at a constant rate."""
    return tuple((np.arange(count) / fps).tolist())


def steadied(times: Sequence[float], fps: float | None) -> tuple[tuple[float, ...], float]:
    """Times from the first frame on, and their rate.

    Times of a constant rate become those of the rate itself; others stay as they are, and what
    the container calls their average rate is believed where it is nearly right.

    Args:
        times: Plausible ones.
        fps: What the container calls its rate; None where it does not say.

    Returns:
        The times, the first 0, and frames a second, above 0.
    """
    found = np.asarray(times, dtype=np.float64) - times[0]
    measured = (len(found) - 1) / found[-1] if found[-1] > 0 else None
    for rate in (fps, None if measured is None else round(measured)):
        if rate and np.abs(found - np.arange(len(found)) / rate).max() <= ROUNDING:
            return even_times(len(found), rate), float(rate)
    if fps and (measured is None or abs(measured / fps - 1.0) < SAME_RATE):
        return tuple(found.tolist()), fps
    return tuple(found.tolist()), measured or FPS_UNKNOWN


def truncation(times: Sequence[float], fps: float, declared: float | None) -> str:
    """What is missing at the end, in words; empty where nothing to speak of is.

    Args:
        times: Of all frames that are there, from the first on.
        fps: Frames a second.
        declared: Seconds that the file says it lasts, from its first frame on.
    """
    end = times[-1] + 1.0 / fps
    slack = max(TRUNCATED_SECONDS, TRUNCATED_SHARE * (declared or 0.0), 2.0 / fps)
    if declared is None or end >= declared - slack:
        return ""
    return f"its frames end at {end:.1f} s of the {declared:.1f} s that it declares"
