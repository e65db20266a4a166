"""Files that are whole or not there."""

import os
import tempfile
from pathlib import Path

from merit_opt.errors import UserError


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name beside `path`, then rename; folders are made as needed.

    Raises:
        UserError: The folder cannot be written; the message names the path.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            temporary = file.name
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise UserError(
            f"cannot write {path}: {error.strerror}; free some space, or choose another folder"
        ) from error
