"""Files that are whole or not there."""

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from merit_opt.errors import UserError

WRITING = ".writing-"
UMASK = os.umask(0o022)
os.umask(UMASK)


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
    """Write under a temporary name beside `path`, then rename; folders are made as needed.

    Raises:
        UserError: The folder cannot be written; the message names the path.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; free some space, or choose another folder"
        ) from error
