"""Files that are whole or not there, and what identifies them."""

import hashlib
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import IO

from merit_opt.errors import UserError

WRITING = ".writing-"
UMASK = os.umask(0o022)
os.umask(UMASK)

WHOLE_BYTES = 1024**2
LOOKS, LOOK_BYTES = 64, 4 * 1024


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A temporary name beside `path` to write to; renamed to it unless the block raises."""
    temporary = path.with_name(f"{WRITING}{secrets.token_hex(8)}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write under a temporary name beside `path`, then rename; folders are made as needed.

    Raises:
        UserError: The folder cannot be written; the message names the path.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; free some space, or choose another folder"
        ) from error


def sampled_digest(path: Path) -> str:
    """24 hex digits over the size and 64 evenly spread samples of 4 KiB, ends included.

    A file of up to 1 MiB is read whole. A change that falls between the samples and keeps the size
    is not seen; a video of gigabytes costs milliseconds.
    """
    with path.open("rb", buffering=0) as file:
        return stream_digest(file, 0, path.stat().st_size)


def content_digest(content: bytes) -> str:
    """As `sampled_digest` of a file that holds these bytes."""
    return stream_digest(BytesIO(content), 0, len(content))


def stream_digest(file: IO[bytes], start: int, size: int) -> str:
    """As `sampled_digest` of a file that holds the `size` bytes from `start`."""
    digest = hashlib.sha256(str(size).encode())
    if size <= WHOLE_BYTES:
        file.seek(start)
        digest.update(file.read(size))
    else:
        for i in range(LOOKS):
            file.seek(start + (size - LOOK_BYTES) * i // (LOOKS - 1))
            digest.update(file.read(LOOK_BYTES))
    return digest.hexdigest()[:24]
