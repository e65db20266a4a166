"""Events to pixels, and pixels to an h264 file.

Frames are uint8 ``[frames, height, width, 3]``, RGB.
"""

import random
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from merit_opt.data.clips.scene import FRAMES_PER_EVENT, Event, Events

SIZE = 56
FRAMES_PER_SECOND = 8
QUALITY = 18
RGB = {
    "red": (220, 40, 40),
    "green": (40, 190, 60),
    "blue": (50, 80, 230),
    "yellow": (235, 225, 40),
    "cyan": (40, 210, 220),
    "magenta": (220, 50, 210),
    "white": (240, 240, 240),
    "orange": (240, 130, 20),
}
TRAVEL = 11.0
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
SCALES = {"grow": (0.55, 1.3), "shrink": (1.3, 0.55)}

Frames = NDArray[np.uint8]
_ROWS, _COLUMNS = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)


def event_spans(events: Events, indices: Iterable[int]) -> tuple[tuple[float, float], ...]:
    """When these events begin and end, in seconds into the clip."""
    chosen = (events[i] for i in indices)
    return tuple(
        (e.first_frame / FRAMES_PER_SECOND, (e.last_frame + 1) / FRAMES_PER_SECOND) for e in chosen
    )


def render(events: Events, *, seed: int, clip: int) -> Frames:
    """The clip's frames; `seed` and the clip's number choose place, size and shade."""
    rng = random.Random(f"looks/{seed}/{clip}")
    background = rng.randrange(10, 60)
    return np.stack([f for event in events for f in _event_frames(event, background, rng)])


def write_mp4(path: Path, frames: Frames) -> None:
    """Encode with libx264 so that the same frames give the same bytes on every machine.

    On one thread, and without instructions of the processor's own: with those of AVX-512 even one
    machine gives now these bytes, now others.
    """
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, FRAMES_PER_SECOND)
        stream.options = {
            "crf": str(QUALITY),
            "preset": "veryfast",
            "threads": "1",
            "x264-params": "asm=0",
        }
        stream.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _event_frames(event: Event, background: int, rng: random.Random) -> Iterator[Frames]:
    radius = rng.uniform(12, 15)
    x, y = rng.uniform(25, 31), rng.uniform(25, 31)
    shade = np.add(RGB[event.colour], rng.uniform(-12, 12)).clip(0, 255).astype(np.uint8)
    for step in range(FRAMES_PER_EVENT):
        frame = np.full((SIZE, SIZE, 3), background, np.uint8)
        if event.action != "blink" or step % 2 == 0:
            frame[_outline(event, step / (FRAMES_PER_EVENT - 1), x, y, radius)] = shade
        yield frame


def _outline(
    event: Event, progress: float, x: float, y: float, radius: float
) -> NDArray[np.bool_]:
    right, down = DIRECTIONS.get(event.action, (0, 0))
    start, end = SCALES.get(event.action, (1.0, 1.0))
    moved = (2 * progress - 1) * TRAVEL
    scaled = radius * (start + (end - start) * progress)
    return _inside(event.shape, _COLUMNS - x - right * moved, _ROWS - y - down * moved, scaled)


def _inside(
    shape: str, dx: NDArray[np.float32], dy: NDArray[np.float32], radius: float
) -> NDArray[np.bool_]:
    across, along = np.abs(dx), np.abs(dy)
    match shape:
        case "circle":
            return dx * dx + dy * dy <= radius * radius
        case "square":
            return np.maximum(across, along) <= 0.92 * radius
        case "triangle":
            return (dy >= -radius) & (dy <= 0.8 * radius) & (across <= 0.58 * (dy + radius))
        case _:
            long, short = np.maximum(across, along), np.minimum(across, along)
            return (short <= 0.28 * radius) & (long <= radius)
