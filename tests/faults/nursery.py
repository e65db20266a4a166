"""Processes that are worth killing, started in no time.

Importing the libraries takes longer than a small study, so processes are forked from one that has
them: each is a process of its own, killed by the system like any other.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 120.0
WARM = (
    "tests.faults.few_draws",
    "merit_opt.cli.search",
    "merit_opt.cli.app",
    "merit_opt.models.tiny.pair",
    "merit_opt.search.samplers",
    "merit_opt.search.storage.sqlite",
    "merit_opt.search.storage.postgres",
    "merit_opt.search.storage.journal",
    "merit_opt.cli.report",
    "psycopg",
    "merit_opt.data.clips.suite",
    "mlflow",
    "mlflow.tracking",
    "mlflow.store.tracking.sqlalchemy_store",
    "uvicorn",
    "mlflow.server.fastapi_app",
    "merit_opt.tracking.mlflow",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "tests.faults.cheap_study",
)

SCRIPT = """
import gc, importlib, json, os, sys
import torch
torch.set_num_threads(1)
for module in json.loads(sys.argv[1]):
    importlib.import_module(module)
gc.collect()
gc.freeze()  # what all have is neither looked through nor copied by each
print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    if isinstance(order, int):
        _, status = os.waitpid(order, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
        continue
    child = os.fork()
    if child == 0:
        folder, module, function, arguments = order
        os.chdir(folder)
        said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1), os.dup2(said, 2)
        code = 70
        try:
            code = getattr(importlib.import_module(module), function)(*arguments)
        except SystemExit:
            raise
        except BaseException:
            import traceback
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    print(child, flush=True)
"""


@dataclass
class Nursery:
    """Forks processes."""

    process: subprocess.Popen[str]

    def start(self, folder: Path, call: str, *arguments: object) -> int:
        """The process of `call`, a `module:function` that returns its exit code.

        It runs in `folder` and keeps what it says in the file `said` there. It ends at once; where
        the function exits with its code, as an interpreter does that has things to end.
        """
        module, _, function = call.partition(":")
        return self._answer([str(folder), module, function, arguments])

    def code(self, child: int) -> int:
        """The exit code of a process, once it has ended."""
        return self._answer(child)

    def watch(
        self,
        child: int,
        until: Callable[[], bool] = lambda: False,
        by: signal.Signals = signal.SIGKILL,
    ) -> int:
        """The exit code of a process, signalled as soon as `until` holds."""
        deadline = time.monotonic() + PATIENCE
        while is_alive(child) and time.monotonic() < deadline:
            if until():
                with suppress(ProcessLookupError):
                    os.kill(child, by)
                break
            time.sleep(0.003)
        return self.code(child)

    def _answer(self, order: object) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the nursery died"
        return int(line)


def is_alive(child: int) -> bool:
    """Whether it runs; one that nobody waited for yet does not."""
    try:
        state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def alive_in(group: int) -> list[int]:
    """The processes of a process group that run."""
    found = [int(path.name) for path in Path("/proc").glob("[0-9]*") if path.name.isdigit()]
    return [child for child in found if is_alive(child) and _group(child) == group]


def _group(child: int) -> int:
    with suppress(ProcessLookupError):
        return os.getpgid(child)
    return 0


@contextmanager
def opened_nursery(environment: dict[str, str], warm: Sequence[str] = WARM) -> Iterator[Nursery]:
    """A nursery that has imported the modules of `warm`."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps(warm)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Nursery(process)
    finally:
        process.kill()
        process.communicate()


def once(reached: Callable[[], bool], delay: float = 0.0) -> Callable[[], bool]:
    """Holds `delay` seconds after `reached` first did."""
    first: list[float] = []

    def holds() -> bool:
        if not first and reached():
            first.append(time.monotonic())
        return bool(first) and time.monotonic() - first[0] >= delay

    return holds
