"""The workers of the soak: the command that a user gives, in processes that can be killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from processes import marked

MERIT = str(Path(sys.executable).with_name("merit-opt"))
STUDY = "soak"
MARK = "MERIT_SOAK"
ENOUGH = 20


@dataclass(frozen=True)
class Ended:
    """A worker that ended without being asked to; moments in seconds of the crew's life."""

    number: int
    code: int
    begun: float
    ended: float


@dataclass
class Crew:
    """Workers by number.

    Attributes:
        folder: Where they run; `worker-N.log` there has what they said.
        words: Of the command, beside the worker's number.
        secret: In the environment of all, and so of all that they start.
        running: Number -> process.
        ended: Those that ended without being asked to.
    """

    folder: Path
    words: list[str]
    secret: str
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    ended: list[Ended] = field(default_factory=list)
    _since: float = field(default_factory=time.monotonic)
    _begun: dict[int, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._since

    def start(self, number: int) -> None:
        self._begun[number] = self.seconds
        with (self.folder / f"worker-{number}.log").open("a") as log:
            self.running[number] = subprocess.Popen(
                [MERIT, "search", *self.words, f"worker={number}"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )

    def wait(self, number: int, seconds: float, begun: Callable[[], bool]) -> None:
        """Until a worker has begun to measure; the crew's life begins then."""
        deadline = time.monotonic() + seconds
        while not begun():
            if time.monotonic() > deadline or self.running[number].poll() is not None:
                self.kill_all()
                log = self.folder / f"worker-{number}.log"
                sys.exit(f"worker {number} measured nothing in {seconds:.0f} s; see {log}")
            time.sleep(1.0)
        self._since = time.monotonic()
        self._begun[number] = 0.0

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {MARK: self.secret, "OMP_NUM_THREADS": "1"}

    def kill(self, number: int) -> None:
        self.running[number].kill()
        self.running[number].wait(timeout=30)

    def mend(self) -> None:
        """Start again what ended by itself, as a supervisor would."""
        for number, process in self.running.items():
            if (code := process.poll()) is not None:
                self.ended.append(Ended(number, code, self._begun[number], self.seconds))
                if len(self.ended) > ENOUGH:
                    sys.exit(f"workers end by themselves; see {self.folder}/worker-{number}.log")
                self.start(number)

    def stop(self) -> dict[int, int]:
        """Ctrl-C; the exit codes by number."""
        for process in self.running.values():
            process.send_signal(signal.SIGINT)
        return {number: process.wait(timeout=180) for number, process in self.running.items()}

    def last(self, words: list[str]) -> int:
        """The exit code of one more command, after which the study is whole."""
        with (self.folder / "last.log").open("a") as log:
            return subprocess.run(
                [MERIT, *words],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env=self.environment,
                check=False,
            ).returncode

    def kill_all(self) -> None:
        """Whatever carries the secret."""
        for pid in self.orphans():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def orphans(self) -> list[int]:
        return marked(f"{MARK}={self.secret}")
