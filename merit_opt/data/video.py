"""Video files to frames, upright and in RGB.

Runs in this process and may take as long as the file makes it; a caller that must survive any
file puts it in a process of its own.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from merit_opt.data.frames import FramePlan, Sampling, choose_frames

Frames = NDArray[np.uint8]
FPS_UNKNOWN = 24.0


@dataclass(frozen=True, eq=False, slots=True)
class Video:
    """Decoded frames.

    Attributes:
        frames: uint8 [frames, height, width, 3], RGB, upright.
        sampling: Where in the file they were taken; 24 frames a second are assumed, as
            transformers does, of a file that does not say.
    """

    frames: Frames
    sampling: Sampling


Decoder = Callable[[Path, FramePlan, float | None, float | None], Video]


class MediaError(Exception):
    """A media file that cannot be read.

    Attributes:
        path: The file.
        reason: What is wrong with it, in words.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type["MediaError"], tuple[Path, str]]:
        return MediaError, (self.path, self.reason)


def read_video(
    path: Path, plan: FramePlan, start: float | None = None, end: float | None = None
) -> Video:
    """The frames of a video that `plan` chooses between `start` and `end`, in seconds.

    decord reads it where decord is installed, and PyAV what decord cannot.

    Raises:
        MediaError: The file is missing, empty, corrupt or holds no video.
    """
    require_content(path)
    reason = ""
    for decoder in _decoders():
        try:
            return decoder(path, plan, start, end)
        except (FFmpegError, OSError, RuntimeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
    raise MediaError(path, f"not a readable video ({reason}); replace the file")


def require_content(path: Path) -> None:
    """A media file is there and holds something.

    Raises:
        MediaError: It is not, or does not.
    """
    try:
        size = path.stat().st_size if path.is_file() else None
    except OSError as error:
        raise MediaError(path, f"{error.strerror}; see who may read it") from error
    if size is None:
        raise MediaError(path, "no such file; see where the media were unpacked")
    if size == 0:
        raise MediaError(path, "the file is empty; download it again")


def _decoders() -> tuple[Decoder, ...]:
    has_decord = importlib.util.find_spec("decord") is not None
    return (_read_with_decord, _read_with_av) if has_decord else (_read_with_av,)


def _read_with_decord(
    path: Path, plan: FramePlan, start: float | None, end: float | None
) -> Video:
    decord = importlib.import_module("decord")
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        fps = float(reader.get_avg_fps()) or FPS_UNKNOWN
        times = [i / fps for i in range(len(reader))]
        indices = choose_frames(times, plan, start, end)
        frames: Frames = reader.get_batch(list(indices)).asnumpy()
    except decord.DECORDError as error:
        raise ValueError(str(error)) from error
    return Video(frames, Sampling(indices, len(times), fps, tuple(times[i] for i in indices)))


def _read_with_av(path: Path, plan: FramePlan, start: float | None, end: float | None) -> Video:
    total = sum(1 for _ in _decoded(path))  # what a container promises is often wrong
    fps = _fps(path)
    times = [i / fps for i in range(total)]
    indices = choose_frames(times, plan, start, end)
    wanted = frozenset(indices)
    kept = {i: _upright(frame) for i, frame in enumerate(_decoded(path)) if i in wanted}
    sampling = Sampling(indices, total, fps, tuple(times[i] for i in indices))
    return Video(np.stack([kept[i] for i in indices]), sampling)


def _fps(path: Path) -> float:
    with av.open(str(path)) as container:
        return float(_stream(container).average_rate or FPS_UNKNOWN)


def _stream(container: InputContainer) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        raise ValueError("it holds no video stream")
    return stream


def _decoded(path: Path) -> Iterator[VideoFrame]:
    with av.open(str(path)) as container:
        stream = _stream(container)
        yield from container.decode(stream)


def _upright(frame: VideoFrame) -> Frames:
    turned = np.rot90(frame.to_ndarray(format="rgb24"), k=round(frame.rotation / 90))
    return np.ascontiguousarray(turned, dtype=np.uint8)
