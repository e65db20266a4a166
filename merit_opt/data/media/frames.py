"""Which frames of a video are looked at."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from merit_opt.errors import UserError

Mode = Literal["all", "uniform", "midpoints", "fps"]


@dataclass(frozen=True, slots=True)
class FramePlan:
    """How frames are chosen, by time: frames of a real video are not evenly spaced.

    Attributes:
        mode: `all`; `uniform`, evenly spread with first and last; `midpoints` of equal segments;
            `fps`, one every 1/fps seconds from the first on, spread evenly with first and last
            where that is more than `count`.
        count: Frames wanted, at least 1; unused by `all`. A video with fewer gives some twice
            under `uniform` and `midpoints`, so that every video of a suite costs the same.
        fps: Frames a second, above 0, of mode `fps`; unused by the others.

    Raises:
        UserError: A value out of its range.
    """

    mode: Mode
    count: int
    fps: float

    def __post_init__(self) -> None:
        if self.count < 1 or not 0.0 < self.fps < 1000.0:
            raise UserError(
                f"suite.frames is at least 1 and suite.fps above 0; got {self.count}, {self.fps}"
            )


ALL_FRAMES = FramePlan("all", 1, 1.0)


@dataclass(frozen=True, slots=True)
class Sampling:
    """Where in a video its frames were taken.

    Attributes:
        indices: Of the file's frames, ascending.
        total: Frames that there were to choose from.
        fps: Frames a second, averaged over the file; above 0.
        times: Seconds from the file's first frame at which each is shown, ascending.
    """

    indices: tuple[int, ...]
    total: int
    fps: float
    times: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """How long the video is, and at least until the end of its last frame that is shown."""
        return max(self.total / self.fps, self.times[-1] + 1.0 / self.fps)

    @property
    def ticks(self) -> tuple[int, ...]:
        """Where each frame would stand at a constant rate: `indices` itself where the rate is."""
        return tuple(round(t * self.fps) for t in self.times)


def sampled(
    times: Sequence[float], fps: float, plan: FramePlan, start: float | None, end: float | None
) -> Sampling:
    """Which frames to look at; see `choose_frames`.

    Args:
        times: See `choose_frames`.
        fps: Frames a second.
        plan: See `choose_frames`.
        start: See `choose_frames`.
        end: See `choose_frames`.

    Raises:
        ValueError: See `choose_frames`.
    """
    indices = choose_frames(times, plan, start, end)
    first, last = _window(times, start, end)
    total = max(1, last - first + 1)
    return Sampling(indices, total, fps, tuple(times[i] for i in indices))


def choose_frames(
    times: Sequence[float], plan: FramePlan, start: float | None, end: float | None
) -> tuple[int, ...]:
    """Indices of the frames to look at.

    Args:
        times: Seconds at which each frame of the video is shown, ascending, at least one.
        plan: What is wanted.
        start: Seconds before which nothing is shown; None: the beginning.
        end: Seconds after which nothing is shown; None: the end.

    Returns:
        Ascending indices in [0, len(times)), each nearest to a wanted time; of two as near the
        later. One frame of `uniform` is the middle one. A window between two frames, or after the
        last, shows the frame that stands there.

    Raises:
        ValueError: There is no frame, or the window ends before it starts.
    """
    if not times:
        raise ValueError("it has no frame")
    if start is not None and end is not None and end < start:
        raise ValueError(f"the window ends at {end} s, before it starts at {start} s")
    first, last = _window(times, start, end)
    if first > last:
        return _repeated(max(0, min(first, len(times)) - 1), plan)
    return tuple(_nearest(times, t, first, last) for t in _wanted(times, plan, first, last))


def _window(times: Sequence[float], start: float | None, end: float | None) -> tuple[int, int]:
    """First and last index inside; the first is above the last where no frame is."""
    first = bisect_left(times, start - 1e-6) if start is not None else 0
    last = bisect_right(times, end + 1e-6) - 1 if end is not None else len(times) - 1
    return first, last


def _repeated(index: int, plan: FramePlan) -> tuple[int, ...]:
    return (index,) * (1 if plan.mode in ("all", "fps") else plan.count)


def _wanted(times: Sequence[float], plan: FramePlan, first: int, last: int) -> list[float]:
    begin, length = times[first], times[last] - times[first]
    match plan.mode:
        case "all":
            return list(times[first : last + 1])
        case "midpoints":
            return [begin + length * (2 * i + 1) / (2 * plan.count) for i in range(plan.count)]
        case "uniform":
            return _spread(begin, length, plan.count)
        case "fps":
            count = int(length * plan.fps + 1e-6) + 1
            if count > plan.count:
                return _spread(begin, length, plan.count)
            return [begin + i / plan.fps for i in range(count)]


def _spread(begin: float, length: float, count: int) -> list[float]:
    if count == 1:
        return [begin + length / 2]
    return [begin + length * i / (count - 1) for i in range(count)]


def _nearest(times: Sequence[float], wanted: float, first: int, last: int) -> int:
    after = min(max(bisect_left(times, wanted), first), last)
    before = max(after - 1, first)
    gap = wanted - times[before]
    return before if gap < times[after] - wanted - 1e-9 else after
