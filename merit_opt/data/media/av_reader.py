"""Videos through PyAV, which carries its own FFmpeg: damaged packets are stepped over.

Only what leads to a wanted frame is decoded: from the keyframe before it where that skips enough,
else straight on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.error import EOFError as EndOfFile
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from merit_opt.data.media.bounds import require_size
from merit_opt.data.media.decoded import Frames, Taken
from merit_opt.data.media.probe import opened
from merit_opt.data.media.timeline import Timeline, packets

WORTH_A_SEEK = 16


def take_with_av(path: Path, line: Timeline, places: Sequence[int]) -> Taken:
    """The frames at these places, ascending, or the nearest to them that can be decoded.

    Raises:
        FFmpegError: It cannot be read.
        ValueError: No frame can be decoded, or one is too large.
    """
    wanted = [line.stamps[place] for place in places]
    try:
        found = _find(path, line, wanted, line.keyframes)
    except _Overshot:
        found = _find(path, line, wanted, ())
    if not found.frames:
        raise ValueError("none of its frames can be decoded")
    there = np.searchsorted(line.stamps, found.stamps).clip(max=len(line.times) - 1)
    order = there.argsort(kind="stable")  # near damage one go may end behind where the next begins
    frames = np.stack([found.frames[place] for place in order])
    return Taken(frames, tuple(there[order].tolist()), found.bad, found.tried)


class _Overshot(Exception):
    """A seek came out behind the frame that it was made for."""


@dataclass
class _Found:
    """Frames as they come, in the order wanted.

    `stamps` are where they stand, `tried` the packets given to the decoder, `bad` those of them
    that it refused or gave a damaged frame of.
    """

    frames: list[Frames] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    tried: int = 0
    bad: int = 0


def _find(path: Path, line: Timeline, wanted: Sequence[int], keyframes: Sequence[int]) -> _Found:
    """The frames at the wanted stamps, ascending, or the nearest to them; none if there is none."""
    found = _Found()
    with opened(path) as (container, stream):
        for target, stamps in _runs(line, wanted, keyframes):
            if target is not None:
                container.seek(target, stream=stream)
            frames = _decoded(container, stream, found, counted=line.is_counted)
            _choose(frames, stamps, found, is_sought=target is not None)
    return found


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
    found: _Found,
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
            _keep(found, (stamp, frame) if is_nearer or last is None else last)
            rest.pop()
        if not rest:
            return
        last = stamp, frame
    if last is None and is_sought:
        raise _Overshot
    if last is not None:
        for _ in rest:
            _keep(found, last)


def _keep(found: _Found, shown: tuple[int, VideoFrame]) -> None:
    stamp, frame = shown
    if found.stamps and found.stamps[-1] == stamp:
        found.frames.append(found.frames[-1])
    else:
        found.frames.append(_upright(frame, found.frames[0].shape if found.frames else None))
    found.stamps.append(stamp)


def _decoded(
    container: InputContainer, stream: VideoStream, found: _Found, *, counted: bool
) -> Iterator[tuple[int, VideoFrame]]:
    """(stamp, frame) of whatever can be decoded from here on; the stamp is its place if counted."""
    place = 0
    for packet in packets(container, stream):
        try:
            frames = packet.decode()
        except EndOfFile:
            return
        except FFmpegError:
            frames, found.bad = [], found.bad + 1
        found.tried += packet.size > 0  # the last one only empties the decoder
        for frame in frames:
            found.bad += frame.is_corrupt
            if counted or frame.pts is not None:
                yield (place if counted else frame.pts or 0), frame
                place += 1


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
