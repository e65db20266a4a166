"""A member of a zip file as a file of its own, for as long as it is read."""

import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from merit_opt.data.media.status import MediaError
from merit_opt.data.sample import Media
from merit_opt.errors import UserError
from merit_opt.units import GIB

MEMBER_BYTES, PIECE_BYTES = 32 * GIB, 1024**2
DENSE_BYTES, DENSEST = 64 * 1024**2, 100  # above that size no medium is packed so small
DAMAGED = (OSError, EOFError, KeyError, NotImplementedError, RuntimeError, ValueError)


def shown_path(media: Media) -> Path:
    """How messages name it: of a zip's member, as if the zip were a folder."""
    return media.path if media.member is None else media.path / media.member


@contextmanager
def unpacked(media: Media) -> Generator[Path]:
    """Where its bytes lie: at its own path, or in a temporary file, which goes with this process.

    Raises:
        MediaError: The zip or the member cannot be read, or is too large.
        UserError: The folder of temporary files cannot be written, or is full.
    """
    if media.member is None:
        yield media.path
        return
    with _temporary() as (file, path):
        try:
            whole = media.path.stat().st_size
            with zipfile.ZipFile(media.path) as archive, archive.open(media.member) as member:
                info, shown = archive.getinfo(media.member), shown_path(media)
                packed = min(info.compress_size, whole)  # which is declared, and may be a lie
                _require_medium(shown, info.file_size, packed)
                _copy(member, file, lambda size: _require_medium(shown, size, packed))
        except (zipfile.BadZipFile, zlib.error, *DAMAGED) as error:
            why = str(error) or type(error).__name__
            raise MediaError(
                shown_path(media), f"cannot be unpacked ({why}); download the zip again"
            ) from error
        yield path


def _require_medium(path: Path, size: int, packed: int) -> None:
    """Of so many bytes, out of so many.

    Raises:
        MediaError: It takes more room than any medium, or is packed as none is.
    """
    if size > MEMBER_BYTES:
        raise MediaError(
            path,
            f"unpacked it takes {size / GIB:.1f} GiB, more than {MEMBER_BYTES // GIB} GiB",
        )
    if size > max(DENSE_BYTES, DENSEST * packed):
        raise MediaError(
            path,
            f"its {size / 1024**2:.0f} MiB are packed into {packed / 1024:.0f} KiB, as no video or "
            "picture is",
        )


def _copy(member: IO[bytes], file: IO[bytes], require: Callable[[int], None]) -> None:
    """All of it; `require` is given how many bytes there are, before they are written."""
    size = 0
    while piece := memoryview(member.read(PIECE_BYTES)):
        size += len(piece)
        require(size)
        while piece:
            try:
                piece = piece[file.write(piece) :]
            except OSError as error:
                raise _no_room(error) from error


def _no_room(error: OSError) -> UserError:
    folder = tempfile.tempdir or "the folder of temporary files"
    return UserError(
        f"cannot unpack into {folder}: {error.strerror or error}; free some space there, or name "
        "another folder in the environment variable TMPDIR"
    )


@contextmanager
def _temporary() -> Generator[tuple[IO[bytes], Path]]:
    """An unbuffered file, and a name to open it by.

    On Linux it has no other name, so that a kill leaves nothing.
    """
    is_linux = sys.platform == "linux"
    make = tempfile.TemporaryFile if is_linux else tempfile.NamedTemporaryFile
    try:
        made = make(buffering=0)
    except OSError as error:
        raise _no_room(error) from error
    with made as file:
        yield file, Path(f"/proc/self/fd/{file.fileno()}" if is_linux else file.name)
