"""What a video's header says, before anything is decoded."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

CONTAINERS = (
    "asf,av1,avi,dv,flv,gif,h264,hevc,ivf,m4v,matroska,mjpeg,mov,mpeg,mpegts,mpegvideo,mxf,nut,obu,"
    "ogg,rm,vc1"
)  # which name no other file to be read
PLAIN_FILES = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}


@dataclass(frozen=True, slots=True)
class Probe:
    """The stream that is shown, as the header describes it.

    Attributes:
        container: Name of the container's format.
        codec: Its canonical name: `h264`, `av1`, ….
        bits: A channel of a pixel has; 8 where the header does not say.
        height: In pixels, before any rotation.
        width: In pixels, before any rotation.
        streams: How many moving pictures the file holds; covers are none.
        fps: Frames a second on average; None where the header does not say.
        duration: Seconds from the first frame to the end; None where the header does not say.
    """

    container: str
    codec: str
    bits: int
    height: int
    width: int
    streams: int
    fps: float | None
    duration: float | None


def probed(container: InputContainer, stream: VideoStream) -> Probe:
    """What the header says."""
    context = stream.codec_context
    return Probe(
        container=container.format.name,
        codec=context.codec.canonical_name,
        bits=_bits(context.pix_fmt),
        height=context.height,
        width=context.width,
        streams=sum(not _is_cover(one) for one in container.streams.video),
        fps=float(stream.average_rate) if stream.average_rate else None,
        duration=_duration(container, stream),
    )


@contextmanager
def opened(path: Path) -> Generator[tuple[InputContainer, VideoStream]]:
    """The file and the stream of it that a player would show, to be decoded in one thread.

    Raises:
        FFmpegError: It is no video, or a list of other files.
        ValueError: It holds no moving picture.
    """
    with av.open(str(path), options=PLAIN_FILES) as container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or _is_cover(stream):
            raise ValueError("it holds no video stream")
        context: Any = stream.codec_context
        if context is None:
            raise ValueError("its codec is not known")
        context.thread_count = 1
        yield container, stream


def _bits(pixel_format: str | None) -> int:
    if pixel_format is None:
        return 8
    return max(part.bits for part in av.VideoFormat(pixel_format).components)


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _duration(container: InputContainer, stream: VideoStream) -> float | None:
    """The stream's own or what Matroska notes of it; the whole file's may be that of its sound."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    start = float((stream.start_time or 0) * (stream.time_base or 0))
    if (noted := _seconds(stream.metadata.get("DURATION", ""))) is not None:
        return noted - start
    return container.duration / av.time_base - start if container.duration else None


def _seconds(noted: str) -> float | None:
    """Of H:M:S, the seconds with a fraction."""
    try:
        hours, minutes, seconds = noted.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
