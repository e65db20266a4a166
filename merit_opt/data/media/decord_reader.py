"""Videos through decord, which is fast, and wrong or stuck on some files: see `video`."""

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from merit_opt.data.media.decoded import Frames, Taken
from merit_opt.data.media.timeline import Timeline
from merit_opt.errors import UserError

WHERE = re.compile(r"^(?:\[[\d:]+\] \S+:\d+: )+")


def take_with_decord(path: Path, line: Timeline, places: Sequence[int]) -> Taken:
    """The frames at these places.

    Raises:
        UserError: decord cannot be used here.
        ValueError: decord cannot read it, or counts other frames than the file has.
    """
    decord = require_decord()
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        if (count := len(reader)) != len(line.times):
            raise ValueError(f"it counts {count} frames of {len(line.times)}")
        frames: Frames = reader.get_batch(list(places)).asnumpy()
    except (decord.DECORDError, RuntimeError) as error:
        raise ValueError(_told(error)) from error
    return Taken(frames, tuple(places))


def require_decord() -> Any:
    """Its module.

    Raises:
        UserError: It is not installed, or cannot be loaded; the cause is what it said.
    """
    try:
        return importlib.import_module("decord")
    except (ImportError, OSError, RuntimeError) as error:
        raise UserError(
            f"engine.decoder=decord cannot be used ({_told(error)}); pip install "
            "--force-reinstall decord, or choose decoder=auto"
        ) from error


def _told(error: Exception) -> str:
    """Its first line, without hours, places in decord's source and the stack."""
    return WHERE.sub("", str(error).strip().partition("\n")[0])
