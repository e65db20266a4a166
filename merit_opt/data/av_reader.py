"""Videos through PyAV, which carries its own FFmpeg: damaged packets are stepped over.

The times of all frames are read from the packets, which costs no decoding. Then only what leads to
a wanted frame is decoded: from the keyframe before it where that skips enough, else straight on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.error import EOFError as EndOfFile
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from merit_opt.data.bounds import require_size, require_total
from merit_opt.data.decoded import Frames, Video
from merit_opt.data.frames import FramePlan, sampled
from merit_opt.data.media_status import MediaStatus
from merit_opt.data.probe import Probe, opened
from merit_opt.data.timeline import FPS_UNKNOWN, even_times, is_plausible, steadied, truncation

WORTH_A_SEEK = 16
MOST_LOST = 0.5
WITHOUT_TIMES = frozenset({"avi", "h264", "hevc", "m4v", "mjpeg"})


@dataclass(frozen=True, slots=True)
class Timeline:
    """The packets of a stream in the order that their frames are shown.

    Attributes:
        stamps: Presentation time of each, ascending, in the stream's unit; its place where the
            file has no times.
        keyframes: Stamps from which decoding can begin, ascending; none where the file has no
            times to seek by.
        times: Seconds of each from the first.
        fps: Frames a second.
        lost: Packets that the file itself calls damaged.
    """

    stamps: tuple[int, ...]
    keyframes: tuple[int, ...]
    times: tuple[float, ...]
    fps: float
    lost: int


def read_with_av(
    path: Path, probe: Probe, plan: FramePlan, start: float | None, end: float | None
) -> Video:
    """The frames of a video that `plan` chooses between `start` and `end`, in seconds.

    The nearest frame that can be decoded stands for one that cannot.

    Raises:
        FFmpegError: It cannot be read.
        ValueError: It has no frame, more than half of what was tried cannot be decoded, or it is
            too large.
    """
    line = read_timeline(path, probe)
    sampling = sampled(line.times, line.fps, plan, start, end)
    require_total(len(sampling.indices), probe.height, probe.width)
    wanted = [line.stamps[i] for i in sampling.indices]
    try:
        taken = _take(path, line, wanted, line.keyframes)
    except _Overshot:
        taken = _take(path, line, wanted, ())
    places = np.searchsorted(line.stamps, taken.stamps).clip(max=len(line.times) - 1).tolist()
    sampling = replace(sampling, indices=tuple(places), times=tuple(line.times[i] for i in places))
    return Video(np.stack(taken.frames), sampling, _status(line, taken, probe))


def read_timeline(path: Path, probe: Probe) -> Timeline:
    """When its frames are shown, from the packets alone.

    Raises:
        FFmpegError: It cannot be read.
        ValueError: It has no frame.
    """
    with opened(path) as (container, stream):
        packets = [p for p in _packets(container, stream) if p.size and not p.is_discard]
        unit = float(stream.time_base or 0)
    if not packets:
        raise ValueError("it has no frame")
    lost = sum(p.is_corrupt for p in packets)
    stamps = sorted(p.pts for p in packets if p.pts is not None)
    seconds = [stamp * unit for stamp in stamps]
    timed = probe.container not in WITHOUT_TIMES and len(stamps) == len(packets)
    if not (timed and is_plausible(seconds)):
        fps = probe.fps or FPS_UNKNOWN
        return Timeline(tuple(range(len(packets))), (), even_times(len(packets), fps), fps, lost)
    keyframes = sorted(p.pts for p in packets if p.is_keyframe and p.pts is not None)
    times, fps = steadied(seconds, probe.fps)
    return Timeline(tuple(stamps), tuple(keyframes), times, fps, lost)


class _Overshot(Exception):
    """A seek came out behind the frame that it was made for."""


@dataclass
class _Taken:
    """Frames as they come, in the order wanted.

    `stamps` are where they stand, `tried` the packets given to the decoder, `bad` those of them
    that it refused or gave a damaged frame of.
    """

    frames: list[Frames] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    tried: int = 0
    bad: int = 0


def _take(path: Path, line: Timeline, wanted: Sequence[int], keyframes: Sequence[int]) -> _Taken:
    """The frames at the wanted stamps, ascending, or the nearest to them."""
    taken = _Taken()
    with opened(path) as (container, stream):
        for target, stamps in _runs(line, wanted, keyframes):
            if target is not None:
                container.seek(target, stream=stream)
            frames = _decoded(container, stream, taken, counted=not line.keyframes)
            _choose(frames, stamps, taken, is_sought=target is not None)
    if len(taken.frames) < len(wanted):
        raise ValueError("none of its frames can be decoded")
    return taken


def _runs(
    line: Timeline, wanted: Sequence[int], keyframes: Sequence[int]
) -> Iterator[tuple[int | None, list[int]]]:
    """Wanted stamps that are decoded in one go, each with the keyframe to seek first, if any."""
    target, run, reached = None, list[int](), -1
    for stamp in wanted:
        place = int(np.searchsorted(line.stamps, stamp))
        before = int(np.searchsorted(keyframes, stamp, side="right")) - 1
        from_key = int(np.searchsorted(line.stamps, keyframes[before])) if before >= 0 else -1
        if from_key - reached > WORTH_A_SEEK:
            if run:
                yield target, run
            target, run = keyframes[before], []
        run.append(stamp)
        reached = place
    yield target, run


def _choose(
    frames: Iterator[tuple[int, VideoFrame]],
    wanted: Sequence[int],
    taken: _Taken,
    *,
    is_sought: bool,
) -> None:
    last: tuple[int, VideoFrame] | None = None
    rest = list(reversed(wanted))
    for stamp, frame in frames:
        if last is None and is_sought and stamp > rest[-1]:
            raise _Overshot
        while rest and stamp >= rest[-1]:
            is_nearer = last is None or stamp - rest[-1] <= rest[-1] - last[0]
            _keep(taken, (stamp, frame) if is_nearer or last is None else last)
            rest.pop()
        if not rest:
            return
        last = stamp, frame
    if last is not None:
        for _ in rest:
            _keep(taken, last)


def _keep(taken: _Taken, shown: tuple[int, VideoFrame]) -> None:
    stamp, frame = shown
    if taken.stamps and taken.stamps[-1] == stamp:
        taken.frames.append(taken.frames[-1])
    else:
        taken.frames.append(_upright(frame, taken.frames[0].shape if taken.frames else None))
    taken.stamps.append(stamp)


def _decoded(
    container: InputContainer, stream: VideoStream, taken: _Taken, *, counted: bool
) -> Iterator[tuple[int, VideoFrame]]:
    """(stamp, frame) of whatever can be decoded from here on; the stamp is its place if counted."""
    place = 0
    for packet in _packets(container, stream):
        try:
            frames = packet.decode()
        except EndOfFile:
            return
        except FFmpegError:
            frames, taken.bad = [], taken.bad + 1
        taken.tried += 1
        for frame in frames:
            taken.bad += frame.is_corrupt
            if counted or frame.pts is not None:
                yield (place if counted else frame.pts or 0), frame
                place += 1


def _packets(container: InputContainer, stream: VideoStream) -> "Iterator[Packet[VideoStream]]":
    """All packets up to where the file breaks off."""
    packets = container.demux(stream)
    while True:
        try:
            yield next(packets)
        except (StopIteration, FFmpegError):
            return


def _status(line: Timeline, taken: _Taken, probe: Probe) -> MediaStatus:
    if taken.bad > MOST_LOST * taken.tried:
        raise ValueError(f"{taken.bad} of {taken.tried} packets cannot be decoded")
    missing = truncation(line.times, line.fps, probe.duration)
    if bad := max(taken.bad, line.lost):
        told = f"{bad} of {len(line.stamps)} packets are damaged"
        return MediaStatus("partial", "PyAV", f"{told}; {missing}" if missing else told)
    return MediaStatus("truncated" if missing else "ok", "PyAV", missing)


def _upright(frame: VideoFrame, like: tuple[int, ...] | None) -> Frames:
    require_size(frame.height, frame.width)
    turned = np.rot90(frame.to_ndarray(format="rgb24"), k=round(frame.rotation / 90))
    if like is not None and turned.shape != like:  # the stream changes its size on the way
        height, width, _ = like
        if frame.rotation % 180:
            height, width = width, height
        smaller = frame.reformat(width=width, height=height)
        turned = np.rot90(smaller.to_ndarray(format="rgb24"), k=round(frame.rotation / 90))
    return np.ascontiguousarray(turned, dtype=np.uint8)
