"""How reading a medium went."""

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

StatusKind = Literal["ok", "truncated", "partial", "failed"]
# Share of a medium's pieces beyond which it counts as failed.
MOST_LOST = 0.5
BY_GRAVITY: tuple[StatusKind, ...] = ("ok", "truncated", "partial", "failed")


@dataclass(frozen=True, slots=True)
class MediaStatus:
    """What came of a medium.

    Attributes:
        kind: `ok`; `truncated`, it ends well before the end that it declares, or that is asked for; `partial`, pieces of
            it could not be decoded and their neighbours stand for them; `failed`, nothing is shown.
        reader: What read it, and why not the usual reader; empty where nothing did.
        detail: What is amiss, in words; empty where nothing is.
    """

    kind: StatusKind
    reader: str = ""
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


OK = MediaStatus("ok")


class MediaError(Exception):
    """A media file that cannot be read.

    Attributes:
        path: The file.
        reason: What is wrong with it, in words.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type["MediaError"], tuple[Path, str]]:
        return MediaError, (self.path, self.reason)


def worst(statuses: Iterable[MediaStatus]) -> MediaStatus:
    """One status for several media: the gravest kind, every reader and every detail once.

    Raises:
        ValueError: There is none.
    """
    found = tuple(statuses)
    gravest = max(found, key=lambda one: BY_GRAVITY.index(one.kind))
    readers = dict.fromkeys(one.reader for one in found if one.reader)
    details = dict.fromkeys(one.detail for one in found if one.detail)
    return MediaStatus(gravest.kind, "; ".join(readers), "; ".join(details))


def require_content(path: Path) -> None:
    """A media file is there, can be read without waiting for anybody, and holds something.

    Raises:
        MediaError: It is not, cannot, or does not.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise MediaError(path, "no such file; see where the media were unpacked") from None
    except OSError as error:
        raise MediaError(path, f"{error.strerror}; see who may read it") from error
    if stat.S_ISDIR(found.st_mode):
        raise MediaError(path, "a folder, where a file was expected; see where it was unpacked")
    if not stat.S_ISREG(found.st_mode):
        raise MediaError(path, "no regular file; put the medium itself there")
    if found.st_size == 0:
        raise MediaError(path, "the file is empty; download it again")
