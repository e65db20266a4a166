"""An MLflow server of the tests' own, that can be stopped and started again."""

import os
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.faults.nursery import Nursery, is_alive

SERVE = "tests.faults.mlflow_server:serve"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def serve(database: str, files: str, port: int) -> int:
    """What `mlflow server` starts, in a process that has its libraries already."""
    import uvicorn
    from mlflow.server import constants
    from mlflow.server.fastapi_app import app

    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = f"sqlite:///{database}"
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = "mlflow-artifacts:/"
    os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = files
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    uvicorn.run(app, port=port, log_level="warning")
    return 0


@dataclass
class MlflowServer:
    """Serves the database of a file, at an address that stays."""

    nursery: Nursery
    database: Path
    port: int = field(default_factory=_free_port)
    running: int | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        files = self.database.with_name("served")
        files.mkdir(exist_ok=True)
        self.running = self.nursery.start(files, SERVE, str(self.database), str(files), self.port)
        self._await_health(self.running)

    def stop(self) -> None:
        """End it at once."""
        if self.running is not None:
            os.kill(self.running, signal.SIGKILL)
            assert self.nursery.code(self.running) == -signal.SIGKILL
            self.running = None

    def _await_health(self, running: int) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and is_alive(running):
            try:
                with urlopen(f"{self.uri}/health", timeout=5):
                    return
            except (URLError, OSError):
                time.sleep(0.2)
        pytest.fail("the MLflow server does not answer")
