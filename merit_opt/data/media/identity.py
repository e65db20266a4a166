"""What of a medium makes it the one it is."""

from pathlib import Path
from typing import Literal

from merit_opt.data.media.image import SUFFIXES
from merit_opt.data.media.unpacked import shown_path
from merit_opt.data.sample import Media

MediumKind = Literal["animation", "image", "video"]
ANIMATED = frozenset({".gif"})


def medium_kind(path: Path) -> MediumKind:
    """How a file is read, by its suffix: the same bytes under another may be another medium."""
    suffix = path.suffix.lower()
    if suffix in ANIMATED:
        return "animation"
    return "image" if suffix in SUFFIXES else "video"


def medium_identity(media: Media) -> tuple[str | float | None, ...]:
    """Its content, what it is read as, and which part of it is shown; not where it lies.

    A folder of frames is told by its content, which is none of a file's.
    """
    kind = medium_kind(shown_path(media))
    return (media.digest, kind, media.start, media.end, media.fps)
