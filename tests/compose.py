"""docker/compose.yaml as Compose reads it, as far as the file goes."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.faults.nursery import Nursery

REPO = Path(__file__).resolve().parent.parent
PATIENCE = 120.0
COMPOSE = REPO / "docker" / "compose.yaml"
VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::-([^}]*))?\})")


def services(values: Mapping[str, str], file: Path = COMPOSE) -> dict[str, dict[str, Any]]:
    """Every service by its name, variables as `values` says or by the defaults beside them."""
    return _interpolated(yaml.safe_load(file.read_text()), values)["services"]


def _interpolated(node: Any, values: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _interpolated(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_interpolated(one, values) for one in node]
    return VARIABLE.sub(partial(_value, values), node) if isinstance(node, str) else node


def _value(values: Mapping[str, str], found: re.Match[str]) -> str:
    escaped, name, default = found.groups()
    return escaped or values.get(name) or default or ""


def words(command: str | list[str]) -> list[str]:
    """A command as its process gets it."""
    return shlex.split(command) if isinstance(command, str) else command


@dataclass(frozen=True)
class Host:
    """Runs services of the file as processes of this host.

    Attributes:
        services: Of the file.
        places: What the file names, by its name there -> where it is here.
        folder: Where each process says what it says.
    """

    services: Mapping[str, Mapping[str, Any]]
    places: Mapping[str, str]
    folder: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """A process of a service."""
        return self._started(name, self._command(name))

    def fork(self, name: str, nursery: Nursery) -> int:
        """One of a service whose program is merit-opt, without the time that it takes to load."""
        program, *arguments = self._command(name)
        assert program == "merit-opt"
        call = f"{__name__}:{forked.__name__}"
        return nursery.start(self.folder, call, arguments, self._environment(name))

    def check(self, name: str) -> int:
        """The exit code of a service's health check."""
        kind, *test = self.services[name]["healthcheck"]["test"]
        command = ["sh", "-c", *test] if kind == "CMD-SHELL" else test
        return self._started(name, [self._here(word) for word in command]).wait(timeout=PATIENCE)

    def run(self, name: str, arguments: list[str]) -> int:
        """The exit code of a service's program with other arguments."""
        program = self.services[name]["entrypoint"]
        return self._started(name, [*program, *map(self._here, arguments)]).wait(timeout=PATIENCE)

    def end(self) -> None:
        """End what still runs, with all that it started."""
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=PATIENCE)

    def _command(self, name: str) -> list[str]:
        service = self.services[name]
        every = [*service.get("entrypoint", ["merit-opt"]), *words(service["command"])]
        return [self._here(word) for word in every]

    def _environment(self, name: str) -> dict[str, str]:
        given = self.services[name]["environment"]
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPO),
            "HOME": "/nonexistent",
            "HF_HOME": str(self.folder),  # of the image, as the next
            "MLFLOW_DISABLE_TELEMETRY": "true",
            **{key: self._here(value) for key, value in given.items()},
        }

    def _started(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("a") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=self._environment(name),
                cwd=self.folder,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def _here(self, word: str) -> str:
        """A word of the file with every place as it is here."""
        names = sorted(self.places, key=len, reverse=True)
        pattern = "|".join(rf"{re.escape(name)}(?![\w.])" for name in names)
        return re.sub(pattern, lambda found: self.places[found.group()], word)


def forked(arguments: list[str], environment: dict[str, str]) -> int:
    """What the program does, in a process that has its libraries already; figures in one form."""
    from merit_opt.cli.main import run
    from merit_opt.reporting import style

    style.FORMATS = ("png",)
    os.environ.clear()
    os.environ.update(environment)
    return run(arguments)
