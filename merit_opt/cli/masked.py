"""What a command prints, without the passwords of addresses: Hydra and libraries print, too."""

import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

from merit_opt.errors import without_credentials


class Masked:
    """A text file whose other half is another, to which it writes without passwords."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """All of it, and none of its passwords."""
        self._file.write(without_credentials(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """As `write`."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def masked_output() -> Generator[None]:
    """Whatever the block prints is printed without passwords."""
    out, err = cast("Any", Masked(sys.stdout)), cast("Any", Masked(sys.stderr))
    with redirect_stdout(out), redirect_stderr(err):
        yield
