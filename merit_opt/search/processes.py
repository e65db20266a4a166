"""Which process this is, and whether another one of this host still runs."""

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ENDED = ("Z", "X")


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told from those that had or will have its number.

    Attributes:
        host: Its machine's name.
        place: Boot and process namespace, within which its number is unique; empty where the
            system does not tell.
        pid: Its number there.
        started: When it started, in the system's ticks since boot; empty as well.
    """

    host: str
    place: str
    pid: int
    started: str

    @property
    def is_here(self) -> bool:
        """Whether this process can see it, if it runs."""
        return (self.host, self.place) == (socket.gethostname(), _place())

    @property
    def is_gone(self) -> bool:
        """Whether it is of here and has ended."""
        return self.is_here and _started(self.pid) != self.started


def this_process() -> Process:
    """The one that asks."""
    pid = os.getpid()
    return Process(socket.gethostname(), _place(), pid, _started(pid) or "")


def _place() -> str:
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _started(pid: int) -> str | None:
    """When the process started; None when there is none, or only its exit code is left."""
    if not Path("/proc/self/stat").exists():
        return "" if _answers(pid) else None
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in ENDED else fields[18]


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
