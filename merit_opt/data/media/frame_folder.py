"""A folder of numbered pictures as a video."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from merit_opt.data.media.bounds import require_total
from merit_opt.data.media.decoded import Frames, Video
from merit_opt.data.media.frames import FramePlan, sampled
from merit_opt.data.media.image import SUFFIXES, read_image
from merit_opt.data.media.letterbox import letterboxed
from merit_opt.data.media.status import MOST_LOST, MediaError, MediaStatus

NUMBER = re.compile(r"(\d+)(?!.*\d)")


def read_frame_folder(
    folder: Path, plan: FramePlan, start: float | None, end: float | None, fps: float | None
) -> Video:
    """The pictures that `plan` chooses, each shown at (its number - the first's) / fps seconds.

    The last number in a file's name counts: 00001.jpg is often the first. Pictures take the size
    of the first shown; the nearest that can be read stands for one that cannot.

    Raises:
        MediaError: It cannot be listed, there is no picture, no rate is known, one leads out of the
            folder, most pictures cannot be read, or they are too large together.
    """
    if fps is None or fps <= 0:
        raise MediaError(folder, "a folder of frames without a rate; its suite must give one")
    files = _files(folder)
    if not files:
        raise MediaError(folder, "it holds no picture; unpack the frames into it")
    times = _times(files, fps)
    try:
        sampling = sampled(times, fps, plan, start, end)
        _require_within(folder, [files[index] for index in sampling.indices])
        frames, bad = _pictures(folder, files, sampling.indices)
    except ValueError as error:
        raise MediaError(folder, str(error)) from error
    told = f"{bad} of {len(sampling.indices)} pictures cannot be read" if bad else ""
    return Video(frames, sampling, MediaStatus("partial" if bad else "ok", "Pillow", told))


def _files(folder: Path) -> list[Path]:
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    except OSError as error:
        raise MediaError(folder, f"{error.strerror or error}; see who may read it") from error
    return sorted(found, key=_order)


def _require_within(folder: Path, files: Sequence[Path]) -> None:
    """No picture is a link out of the folder; in the hub's cache all lead to its `blobs`."""
    home = folder.resolve()
    blobs = (p.parent / "blobs" for p in home.parents if p.name == "snapshots")
    within = (home, *blobs)
    for path in files:
        if not any(path.resolve().is_relative_to(allowed) for allowed in within):
            raise MediaError(
                folder, f"{path.name} is a link out of it; put there what the link leads to"
            )


def _order(path: Path) -> tuple[int, str]:
    return _number(path) or 0, path.name


def _number(path: Path) -> int | None:
    found = NUMBER.search(path.stem)
    return int(found[1]) if found else None


def _times(files: Sequence[Path], fps: float) -> tuple[float, ...]:
    """By number where every file has one of its own, else by place."""
    numbers = [_number(path) for path in files]
    known = [n for n in numbers if n is not None]
    if len(set(known)) == len(files):
        return tuple((n - known[0]) / fps for n in known)
    return tuple(i / fps for i in range(len(files)))


def _pictures(folder: Path, files: Sequence[Path], indices: Sequence[int]) -> tuple[Frames, int]:
    """uint8 [frames, height, width, 3], and how many are stood for by a neighbour."""
    found: dict[int, Frames] = {}
    reasons: dict[int, MediaError] = {}
    for index in dict.fromkeys(indices):
        try:
            pixels = read_image(files[index]).pixels
        except MediaError as error:
            reasons[index] = error
            continue
        if not found:
            require_total(len(indices), *pixels.shape[:2])
        height, width = next(iter(found.values()), pixels).shape[:2]
        found[index] = letterboxed(pixels, height, width)
    bad = sum(i in reasons for i in indices)
    if bad > MOST_LOST * len(indices):
        raise MediaError(folder, f"{bad} of {len(indices)} pictures cannot be read, the first: "
                         f"{next(iter(reasons.values()))}")  # fmt: skip
    nearest = [min(found, key=lambda known: abs(known - index)) for index in indices]
    return np.stack([found[index] for index in nearest]), bad
