"""Several media shown one after another, as one video."""

from collections.abc import Sequence

import numpy as np

from merit_opt.data.media.bounds import require_total
from merit_opt.data.media.decoded import Frames, Video
from merit_opt.data.media.frames import Sampling
from merit_opt.data.media.image import Image
from merit_opt.data.media.letterbox import letterboxed
from merit_opt.data.media.status import worst

IMAGE_SECONDS = 1.0


def in_succession(media: Sequence[Video | Image], starts: Sequence[float]) -> Video:
    """The frames of the first, then of the second, …, letterboxed to the first's size.

    Time goes on: the second begins where the first ends, one frame after its last (whether or not
    that last one is shown); an image stands for a second. The rate is the first's, and an index is
    the place that a frame has in time at that rate.

    Args:
        media: At least one.
        starts: Seconds into each at which its window begins, at least 0.

    Raises:
        ValueError: There is none, or they are too large together.
    """
    videos = [_moving(one) for one in media]
    height, width = videos[0].frames.shape[1:3]
    require_total(sum(len(v.frames) for v in videos), height, width)
    frames = np.concatenate([_sized(v.frames, height, width) for v in videos])
    fps, begin = videos[0].sampling.fps, 0.0
    times: list[float] = []
    for video, start in zip(videos, starts, strict=True):
        shown = video.sampling
        first = min(start, shown.times[0])
        times += [begin + t - first for t in shown.times]
        begin += max(shown.total / shown.fps, shown.times[-1] - first + 1.0 / shown.fps)
    indices = tuple(round(t * fps) for t in times)
    total = max(round(begin * fps), indices[-1] + 1)
    status = worst(v.status for v in videos)
    return Video(frames, Sampling(indices, total, fps, tuple(times)), status)


def _moving(medium: Video | Image) -> Video:
    if isinstance(medium, Video):
        return medium
    still = Sampling((0,), 1, 1.0 / IMAGE_SECONDS, (0.0,))
    return Video(medium.pixels[None], still, medium.status)


def _sized(frames: Frames, height: int, width: int) -> Frames:
    if frames.shape[1:3] == (height, width):
        return frames
    return np.stack([letterboxed(frame, height, width) for frame in frames])
