"""What a question is about: a video or a still image."""

from pathlib import Path

from merit_opt.data.image import SUFFIXES, Image, read_image
from merit_opt.data.video import Video, read_video

Medium = Video | Image


def read_medium(path: Path, frames: int | None) -> Medium:
    """An image by its file's suffix, else a video.

    Args:
        path: The file.
        frames: Of a video; see `read_video`.

    Raises:
        MediaError: It cannot be read.
    """
    return read_image(path) if path.suffix.lower() in SUFFIXES else read_video(path, frames)
