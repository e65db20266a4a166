"""What decoding a video gives."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from merit_opt.data.media.frames import Sampling
from merit_opt.data.media.status import OK, MediaStatus

Frames = NDArray[np.uint8]


@dataclass(frozen=True, eq=False, slots=True)
class Video:
    """Decoded frames.

    Attributes:
        frames: uint8 [frames, height, width, 3], RGB, upright.
        sampling: Where in the file they were taken.
        status: How reading it went.
    """

    frames: Frames
    sampling: Sampling
    status: MediaStatus = OK


@dataclass(frozen=True, eq=False, slots=True)
class Taken:
    """What a reader took of a file.

    Attributes:
        frames: uint8 [frames, height, width, 3], RGB, upright.
        places: Which frames of the file these are, ascending.
        bad: Packets that could not be decoded, of `tried`.
        tried: Packets that were decoded, as far as the reader knows.
    """

    frames: Frames
    places: tuple[int, ...]
    bad: int = 0
    tried: int = 0
