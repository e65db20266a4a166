"""Trials in a journal: a file that grows by a line a change, for several hosts on a shared disk."""

import os
from collections.abc import Generator
from contextlib import suppress
from json import dumps
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._file import BaseJournalFileLock, get_lock_file

from merit_opt.errors import UserError
from merit_opt.search.storage.opening import KINDS, LOCKS, opened, require_seconds
from merit_opt.search.storage.patient import PatientStorage
from merit_opt.search.storage.turns import by_file

TAIL_BYTES = 64 * 1024
STALE_SECONDS = 3


def open_journal(*, path: Path, patience: float, grace: float) -> PatientStorage:
    """The storage in the journal at `path`, made if it does not exist.

    Args:
        path: The file.
        patience: Seconds to wait while its disk is away, 0 or more.
        grace: Seconds without a heartbeat after which a worker is taken for dead, above 0.

    Raises:
        UserError: It cannot be opened; the message names it.
    """
    require_seconds(patience, grace)
    if "://" in str(path) or ":/" in str(path):
        raise UserError(f"storage.path is a file, got {path}; {KINDS}")
    with opened(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        _require_journal(path)
        storage = JournalStorage(_WholeLines(path))
        turns = by_file(path.with_name(path.name + LOCKS))
        return PatientStorage(storage, turns, name=str(path), patience=patience, grace=grace)


class _Lock(BaseJournalFileLock):
    """One that dies with its process, and within it Optuna's, for a dashboard that writes too.

    What a killed worker leaves of Optuna's is broken after `STALE_SECONDS`.
    """

    def __init__(self, path: Path) -> None:
        self._own = by_file(path.with_name(path.name + LOCKS))("lines")
        self._optunas = JournalFileSymlinkLock(str(path), grace_period=STALE_SECONDS)

    def acquire(self) -> bool:
        self._own.acquire()
        return self._optunas.acquire()

    def release(self) -> None:
        try:
            with suppress(RuntimeError):  # it was broken
                self._optunas.release()
        finally:
            self._own.release()


class _WholeLines(JournalFileBackend):
    """A line is written whole or taken back, and half a line of a killed writer is cut off."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file_lock = _Lock(path)
        super().__init__(str(path), lock_obj=self._file_lock)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with get_lock_file(self._file_lock):
            file = os.open(self._path, os.O_RDWR)
            try:
                end = _cut(file)
                try:
                    _write(file, lines)
                except OSError:
                    with suppress(OSError):
                        os.ftruncate(file, end)
                    raise
            finally:
                os.close(file)

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any]]:
        try:
            yield from super().read_logs(log_number_from)
        except ValueError as error:
            raise OSError(None, f"the journal is damaged: {error}") from None


def _write(file: int, lines: bytes) -> None:
    rest = memoryview(lines)
    while rest:
        rest = rest[os.write(file, rest) :]
    os.fsync(file)


def _cut(file: int) -> int:
    """Cut off what stands behind the last line's end, and stand there."""
    size = end = os.lseek(file, 0, os.SEEK_END)
    while end > 0:
        start = max(0, end - TAIL_BYTES)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(file, end)
    return os.lseek(file, end, os.SEEK_SET)


def _require_journal(path: Path) -> None:
    """A line of something else would be read as a change of a study."""
    if not path.exists():
        return
    with path.open("rb") as file:
        first = file.readline()
    if first.endswith(b"\n") and not first.startswith(b'{"op_code":'):
        raise ValueError("it is a file of something else; choose another")
