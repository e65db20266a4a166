"""What passes between a process and those that decode for it: a line of JSON, then raw pixels."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

import numpy as np

from merit_opt.data.media.decoded import Frames, Video
from merit_opt.data.media.frames import FramePlan, Sampling
from merit_opt.data.media.image import Image
from merit_opt.data.media.medium import Medium
from merit_opt.data.media.status import MediaStatus
from merit_opt.data.media.video import DecoderName
from merit_opt.data.sample import Media

Message = Mapping[str, Any]
Job = tuple[tuple[Media, ...], FramePlan, DecoderName]


def send(file: IO[bytes], message: Message, pixels: Frames | None = None) -> None:
    """Write one message, and the pixels that go with it."""
    file.write(json.dumps(message).encode() + b"\n")
    if pixels is not None:
        file.write(np.ascontiguousarray(pixels).data.cast("B"))
    file.flush()


def receive(file: BufferedReader) -> tuple[Message, Frames | None]:
    """Read one message, and the pixels that go with it.

    Raises:
        EOFError: The other side is gone.
    """
    line = file.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    message = json.loads(line)
    if "shape" not in message:
        return message, None
    pixels = np.empty(message["shape"], dtype=np.uint8)
    rest = pixels.data.cast("B")
    while rest:
        if not (read := file.readinto(rest)):
            raise EOFError
        rest = rest[read:]
    return message, pixels


def job_message(job: Job) -> Message:
    """What is to be read, to be sent."""
    media, plan, decoder = job
    rows = [{**asdict(one), "path": str(one.path)} for one in media]
    return {"media": rows, "plan": asdict(plan), "decoder": decoder}


def job_of(message: Message) -> Job:
    """What is to be read, as it was sent."""
    rows: list[dict[str, Any]] = message["media"]
    media = tuple(Media(Path(row.pop("path")), **row) for row in rows)
    return media, FramePlan(**message["plan"]), message["decoder"]


def medium_message(medium: Medium) -> tuple[Message, Frames]:
    """What was read, to be sent."""
    status = asdict(medium.status)
    if isinstance(medium, Image):
        return {"shape": medium.pixels.shape, "status": status}, medium.pixels
    sampling = asdict(medium.sampling)
    return {"shape": medium.frames.shape, "status": status, "sampling": sampling}, medium.frames


def medium_of(message: Message, pixels: Frames) -> Medium:
    """What was read, as it was sent."""
    status = MediaStatus(**message["status"])
    if "sampling" not in message:
        return Image(pixels, status)
    facts: dict[str, Any] = message["sampling"]
    indices, times = tuple(facts.pop("indices")), tuple(facts.pop("times"))
    return Video(pixels, Sampling(indices=indices, times=times, **facts), status)
