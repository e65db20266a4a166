"""Files that are whole or not there."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from merit_opt.errors import UserError


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name beside `path`, then rename; folders are made as needed.

    Raises:
        UserError: The folder cannot be written; the message names the path.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise UserError(
            f"cannot write {path}: {error.strerror}; free some space, or choose another folder"
        ) from error
