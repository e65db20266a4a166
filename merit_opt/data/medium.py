"""What a question is about: a video or a still image."""

from pathlib import Path
from typing import Literal

from merit_opt.data.frames import FramePlan
from merit_opt.data.image import SUFFIXES, Image, picture_count, read_image
from merit_opt.data.sample import Media
from merit_opt.data.video import Video, read_video

Medium = Video | Image
MediumKind = Literal["animation", "image", "video"]
ANIMATED = frozenset({".gif"})


def medium_kind(path: Path) -> MediumKind:
    """How a file is read, by its suffix: the same bytes under another may be another medium."""
    suffix = path.suffix.lower()
    if suffix in ANIMATED:
        return "animation"
    return "image" if suffix in SUFFIXES else "video"


def read_medium(media: tuple[Media, ...], plan: FramePlan) -> Medium:
    """An image by its file's suffix, else a video; a GIF of several pictures is a video.

    Args:
        media: What a sample is about.
        plan: Which frames of a video.

    Raises:
        MediaError: It cannot be read, or holds several pictures and is no GIF: no other
            animation is read by all that reads videos.
    """
    (one,) = media
    path, kind = one.path, medium_kind(one.path)
    if kind == "video" or (kind == "animation" and picture_count(path) > 1):
        return read_video(path, plan, one.start, one.end)
    return read_image(path)
