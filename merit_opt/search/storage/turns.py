"""Who may decide for all workers of a study: one at a time, on all hosts that share its storage.

A turn dies with its holder: the system frees a file's lock, and PostgreSQL a connection's.
"""

import contextlib
import hashlib
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from filelock import FileLock
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

FIRST_LOOK, LAST_LOOK = 0.01, 0.5
KEY_BYTES = 8


class Turn(Protocol):
    """A lock that is held by one worker of all."""

    def acquire(self) -> None:
        """Wait until it is free, and take it."""
        ...

    def release(self) -> None:
        """Give it up, if it was taken; it never raises."""
        ...


Turns = Callable[[str], Turn]
"""Makes the lock of a name."""


def by_thread() -> Turns:
    """Locks within this process."""
    locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
    return lambda name: _ThreadTurn(locks[name])


def by_file(folder: Path) -> Turns:
    """Locks on files in `folder`, made when one is first taken."""
    return lambda name: _FileTurn(folder / f"turn {quote(name, safe=' ')}.lock")


def by_connection(engine: Engine) -> Turns:
    """PostgreSQL's advisory locks, each on a connection of its own."""
    return lambda name: _ConnectionTurn(engine, key(name))


def key(name: str) -> int:
    """The number of an advisory lock: the first 64 bits of a digest, signed."""
    digest = hashlib.sha256(f"merit_opt/{name}".encode()).digest()
    return int.from_bytes(digest[:KEY_BYTES], "big", signed=True)


class _ThreadTurn:
    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._is_held = False

    def acquire(self) -> None:
        self._is_held = self._lock.acquire()

    def release(self) -> None:
        if self._is_held:
            self._is_held = False
            self._lock.release()


class _FileTurn:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: FileLock | None = None

    def acquire(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._path, poll_interval=FIRST_LOOK)
        self._lock.acquire()

    def release(self) -> None:
        if self._lock is not None:
            with contextlib.suppress(OSError):
                self._lock.release()


class _ConnectionTurn:
    def __init__(self, engine: Engine, number: int) -> None:
        self._engine = engine
        self._number = number
        self._connection: Connection | None = None

    def acquire(self) -> None:
        self.release()
        self._connection = self._engine.connect()
        self._wait(self._connection.execution_options(isolation_level="AUTOCOMMIT"))

    def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with contextlib.suppress(SQLAlchemyError):
            connection.scalar(text("SELECT pg_advisory_unlock(:key)"), {"key": self._number})
        with contextlib.suppress(SQLAlchemyError):
            connection.invalidate()
        connection.close()

    def _wait(self, connection: Connection) -> None:
        """Ask again and again: a wait within the server would not hear a Ctrl-C."""
        pause = FIRST_LOOK
        asked = text("SELECT pg_try_advisory_lock(:key)")
        while not connection.scalar(asked, {"key": self._number}):
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LAST_LOOK)
