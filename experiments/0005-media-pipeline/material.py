"""Videos to read: varied whole ones, and broken or odd ones, each with a name that tells its trait.

python material.py FOLDER COUNT LENGTH: a process of its own, since an encoder of AV1 gives the one
that it runs in the system's real-time scheduling, which every process started from there inherits.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZES = ((320, 240), (426, 240), (640, 360), (854, 480))
RATES = (12, 25, 30, 60)
GROUPS = (12, 48, 250)
CODECS = {
    "h264": ("libx264", "mp4", {"preset": "veryfast"}),
    "h264-mkv": ("libx264", "mkv", {"preset": "veryfast", "bf": "3"}),
    "vp9": ("libvpx-vp9", "webm", {"deadline": "realtime", "cpu-used": "8"}),
    "vp8": ("libvpx", "webm", {"deadline": "realtime", "cpu-used": "8"}),
}
OPEN = "open-gop=1:scenecut=0:bframes=3:b-adapt=0"
MILLISECOND = Fraction(1, 1000)


@dataclass(frozen=True)
class Clip:
    """How a video is encoded."""

    name: str
    codec: str
    size: tuple[int, int] = (426, 240)
    fps: int = 25
    gop: int = 25
    frames: int = 150
    pixels: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=dict)
    gaps: tuple[float, float] | None = None


def whole(count: int, frames: int) -> Iterator[Clip]:
    """Every codec in every mix of size, rate and group of pictures, in turn."""
    kinds = tuple(CODECS.items())
    for i in range(count):
        label, (codec, suffix, options) = kinds[i % len(kinds)]
        turn = i // len(kinds)
        size, fps, gop = SIZES[turn % 4], RATES[(turn // 2) % 4], GROUPS[turn % 3]
        yield Clip(f"{i:03d}-{label}.{suffix}", codec, size, fps, gop, frames, options=options)


ODD = (
    Clip("open-groups.mp4", "libx264", gop=22, options={"x264-params": OPEN}),
    Clip("hevc-open.mp4", "libx265", options={"x265-params": "log-level=none"}),
    Clip("hevc-closed.mp4", "libx265", options={"x265-params": "log-level=none:open-gop=0"}),
    Clip("mpeg4-b-frames.mp4", "mpeg4", options={"bf": "2"}),
    Clip("mpeg2-b-frames.mkv", "mpeg2video", options={"bf": "2"}),
    Clip("transport-stream.ts", "libx264"),
    Clip("b-frames.avi", "libx264", options={"bf": "2"}),
    Clip("av1.mkv", "libsvtav1", options={"preset": "10"}),
    Clip("10-bit.mp4", "libx264", pixels="yuv420p10le"),
    Clip("uneven.mp4", "libx264", gaps=(0.02, 0.4)),
    Clip("uneven.webm", "libvpx-vp9", options={"deadline": "realtime"}, gaps=(0.02, 0.4)),
    Clip("odd-size.mp4", "libx264", size=(427, 241), pixels="yuv444p"),
    Clip("one-frame.mp4", "libx264", frames=1),
)


def encode(folder: Path, clip: Clip, seed: int) -> Path:
    """Coarse noise that wanders, so that every frame differs from every other."""
    path, (width, height) = folder / clip.name, clip.size
    draw = np.random.default_rng(seed)
    blocks = draw.integers(0, 255, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    picture = blocks.repeat(16, 0).repeat(16, 1)[:height, :width]
    even = np.arange(clip.frames) / clip.fps
    times = even if clip.gaps is None else np.cumsum(draw.uniform(*clip.gaps, clip.frames))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(clip.codec, rate=clip.fps)
        stream.width, stream.height, stream.pix_fmt = width, height, clip.pixels
        stream.options = {"g": str(clip.gop), **clip.options}
        if clip.gaps is not None:
            stream.codec_context.time_base = MILLISECOND
        for step, seconds in enumerate(times):
            moved = np.ascontiguousarray(np.roll(picture, (step, 2 * step), (0, 1)))
            frame = av.VideoFrame.from_ndarray(moved, format="rgb24")
            frame.pts = step if clip.gaps is None else round(seconds * 1000)
            frame.time_base = Fraction(1, clip.fps) if clip.gaps is None else MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def broken(folder: Path) -> Iterator[Path]:
    """What arrives instead of a video."""
    sources = {
        "mp4": encode(folder, Clip("whole.mp4", "libx264"), 1),
        "mkv": encode(folder, Clip("whole.mkv", "libx264"), 2),
        "webm": encode(folder, Clip("whole.webm", "libvpx", options={"deadline": "realtime"}), 3),
    }
    for suffix, source in sources.items():
        content = source.read_bytes()
        source.unlink()
        yield written(folder / f"cut-at-60-percent.{suffix}", content[: len(content) * 6 // 10])
        yield written(folder / f"bits-flipped.{suffix}", flipped(content))
    yield written(folder / "html.mp4", b"<html>404 not found</html>" * 40)
    yield written(folder / "zero-bytes.mp4", b"")
    yield encode(folder, Clip("one-pixel.mp4", "libx264rgb", (1, 1), frames=3, pixels="rgb24"), 4)


def flipped(content: bytes) -> bytes:
    """One bit in each of 40 bytes beyond the first tenth."""
    draw, changed = np.random.default_rng(0), bytearray(content)
    for place in draw.integers(len(content) // 10, len(content) * 9 // 10, 40):
        changed[place] ^= 1 << int(draw.integers(8))
    return bytes(changed)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def main(folder: Path, count: int, length: int) -> None:
    for kind in ("whole", "odd", "broken"):
        (folder / kind).mkdir()
    for kind, clips in (("whole", whole(count, length)), ("odd", ODD)):
        for seed, clip in enumerate(clips):
            encode(folder / kind, clip, seed)
    for _ in broken(folder / "broken"):
        pass
    os.mkfifo(folder / "broken" / "named-pipe.mp4")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
