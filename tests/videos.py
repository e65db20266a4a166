"""Videos that are made up: every frame tells its number, whatever a codec does to it."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MILLISECOND = Fraction(1, 1000)
QUIET = {"libx265": {"x265-params": "log-level=none"}, "libvpx-vp9": {"deadline": "realtime"}}
BITS, CELL = 8, 16


def picture(number: int, width: int, height: int) -> np.ndarray:
    """uint8 [height, width, 3]: the number in eight cells, black or white, over the upper half."""
    pixels = np.full((height, width, 3), 96, dtype=np.uint8)
    for bit in range(BITS):
        left = bit * width // BITS
        pixels[: height // 2, left : left + width // BITS] = 235 if number >> bit & 1 else 20
    return pixels


def number_of(pixels: np.ndarray) -> int:
    """Which picture it is."""
    height, width = pixels.shape[:2]
    centres = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return sum(int(pixels[height // 4, x].mean() > 128) << bit for bit, x in enumerate(centres))


def numbers(frames: np.ndarray) -> list[int]:
    return [number_of(frame) for frame in frames]


def encode(
    path: Path,
    *,
    codec: str = "libx264",
    frames: int = 60,
    fps: int = 30,
    size: tuple[int, int] = (128, 64),
    pixels: str = "yuv420p",
    gop: int = 12,
    options: Mapping[str, str] | None = None,
    times: Sequence[float] | None = None,
) -> Path:
    """Write `frames` pictures, at `times` in seconds if they are given, else `fps` a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.options = {"g": str(gop), **QUIET.get(codec, {}), **(options or {})}
        stream.codec_context.thread_count = 1
        if times is not None:
            stream.codec_context.time_base = MILLISECOND
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")
            frame.pts = number if times is None else round(times[number] * 1000)
            frame.time_base = Fraction(1, fps) if times is None else MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def every_frame(path: Path) -> list[int]:
    """The numbers that plain decoding from the beginning to the end gives."""
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        return [number_of(f.to_ndarray(format="rgb24")) for f in container.decode(stream)]


KINDS = {
    "h264.mp4": {},
    "h264.mkv": {"gop": 40},
    "h264.avi": {"options": {"bf": "2"}},
    "h264.ts": {},
    "mpeg2.ts": {"codec": "mpeg2video"},
    "mpeg4.avi": {"codec": "mpeg4"},
    "hevc.mp4": {"codec": "libx265", "gop": 20},
    "vp8.webm": {"codec": "libvpx", "gop": 30},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "av1.mkv": {"codec": "libsvtav1"},
    "10 bits.mp4": {"pixels": "yuv420p10le"},
    "444.mp4": {"pixels": "yuv444p"},
    "uneven.mp4": {"times": np.cumsum(np.random.default_rng(0).uniform(0.02, 0.4, 60))},
    "uneven.webm": {
        "codec": "libvpx-vp9",
        "times": np.cumsum(np.random.default_rng(1).uniform(0.02, 0.4, 60)),
    },
    "open groups.mkv": {"options": {"x264-params": "open-gop=1:scenecut=0:b-adapt=0"}},
    "mpeg2.mkv": {"codec": "mpeg2video", "options": {"bf": "2"}},
    "odd size.mp4": {"size": (131, 67), "pixels": "yuv444p"},
    "one frame.mp4": {"frames": 1},
}
