"""A member of a zip file as a file of its own, for as long as it is read."""

import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from merit_opt.data.media.status import MediaError
from merit_opt.data.sample import Media

MEMBER_BYTES = 32 * 1024**3
DAMAGED = (OSError, EOFError, KeyError, NotImplementedError, RuntimeError, ValueError)


def shown_path(media: Media) -> Path:
    """How messages name it: of a zip's member, as if the zip were a folder."""
    return media.path if media.member is None else media.path / media.member


@contextmanager
def unpacked(media: Media) -> Generator[Path]:
    """Where its bytes lie: at its own path, or in a temporary file, which goes with this process.

    Raises:
        MediaError: The zip or the member cannot be read, or is too large.
    """
    if media.member is None:
        yield media.path
        return
    with _temporary() as (file, path):
        try:
            with zipfile.ZipFile(media.path) as archive, archive.open(media.member) as member:
                if (size := archive.getinfo(media.member).file_size) > MEMBER_BYTES:
                    raise MediaError(
                        shown_path(media),
                        f"unpacked it takes {size / 1024**3:.0f} GiB, more than "
                        f"{MEMBER_BYTES // 1024**3}",
                    )
                shutil.copyfileobj(member, file, 1024**2)
                file.flush()
        except (zipfile.BadZipFile, zlib.error, *DAMAGED) as error:
            raise MediaError(
                shown_path(media), f"cannot be unpacked ({error}); download the zip again"
            ) from error
        yield path


@contextmanager
def _temporary() -> Generator[tuple[IO[bytes], Path]]:
    """A file, and a name to open it by; on Linux it has no other, so that a kill leaves nothing."""
    if sys.platform == "linux":
        with tempfile.TemporaryFile() as file:
            yield file, Path(f"/proc/self/fd/{file.fileno()}")
    else:
        with tempfile.NamedTemporaryFile() as file:
            yield file, Path(file.name)
