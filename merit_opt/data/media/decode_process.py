"""One process that decodes, seen from the one that asks."""

import importlib
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from threading import Timer
from typing import IO, Literal, Self

from merit_opt.data.media.confinement import without_secrets
from merit_opt.data.media.medium import Medium
from merit_opt.data.media.status import MediaError
from merit_opt.data.media.wire import Job, job_message, medium_of, receive, send
from merit_opt.errors import UserError
from merit_opt.units import GIB

START_SECONDS, ENDING_SECONDS = 120.0, 2.0
PIPE_BYTES = 1024**2
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
BROKEN = (EOFError, OSError, ValueError)

Death = Literal["late", "memory", "crash"]


class DecoderDied(Exception):
    """The process ended before it answered.

    Attributes:
        death: It was killed at its deadline, it wanted too much memory, or it died by itself.
        reason: The same in words.
    """

    def __init__(self, death: Death, reason: str) -> None:
        super().__init__(reason)
        self.death = death
        self.reason = reason


class DecodeProcess:
    """Started by the first question, and again by the next after it was killed.

    Args:
        reader: See `decode_worker.main`.
        memory: See `decode_worker.main`.
    """

    def __init__(self, reader: str, memory: int) -> None:
        self._reader = reader
        self._memory = memory
        self._child: _Child | None = None
        self._is_closed = False

    def read(self, job: Job, seconds: float) -> Medium:
        """The medium, or an end to the process after so many seconds.

        Raises:
            MediaError: It cannot be read.
            DecoderDied: The process hung, died, or took too much memory; it is gone.
            UserError: The decoder cannot be used here.
        """
        child = self._child or self._started()
        with _Deadline(child, seconds) as deadline:
            try:
                send(child.questions, job_message(job))
                answer, pixels = receive(child.answers)
            except BROKEN:
                code = self._gone(child)
                if deadline.is_past:
                    reason = f"it was not decoded within {seconds:g} s"
                    raise DecoderDied("late", reason) from None
                raise DecoderDied("crash", f"its decoder died with {_told(code)}") from None
        if pixels is not None:
            return medium_of(answer, pixels)
        if "memory" in answer:
            self.kill()
            limit = f"{self._memory / GIB:.1f} GiB"
            raise DecoderDied("memory", f"its decoder wanted more than {limit} of memory")
        if "failed" in answer:
            raise MediaError(Path(answer["path"]), answer["failed"])
        if "refused" in answer:
            raise UserError(answer["refused"])
        self.kill()
        raise RuntimeError(f"a decoding process failed:\n{answer['fault']}")

    def kill(self) -> None:
        """End it now; the next question starts another."""
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def close(self) -> None:
        """End it for good, whatever another thread is waiting for."""
        self._is_closed = True
        if (child := self._child) is not None:
            child.process.kill()

    def _started(self) -> "_Child":
        call = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            "from merit_opt.data.media.decode_worker import main; "
            f"main({os.getpid()}, {self._memory}, {self._reader!r})"
        )
        self._child = child = _Child.start([sys.executable, "-c", call])
        if self._is_closed:  # by another thread, in the meantime
            child.process.kill()
        with _Deadline(child, START_SECONDS):
            try:
                answer, _ = receive(child.answers)
            except BROKEN:
                code = self._gone(child)
                if self._is_closed:
                    raise DecoderDied("crash", "nobody waits for it any more") from None
                raise RuntimeError(
                    f"a decoding process ended with {_told(code)} before it read anything; see "
                    "whether memory suffices"
                ) from None
        if "fault" in answer:
            self.kill()
            raise RuntimeError(f"a decoding process cannot be started:\n{answer['fault']}")
        return child

    def _gone(self, child: "_Child") -> int:
        """The exit code of a process that has closed its pipes, which it does as it ends."""
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(ENDING_SECONDS)
        self._child = None
        return child.end()


@dataclass(frozen=True, slots=True)
class _Child:
    process: "subprocess.Popen[bytes]"
    questions: IO[bytes]
    answers: BufferedReader

    @classmethod
    def start(cls, command: list[str]) -> Self:
        process = subprocess.Popen(  # nosec B603  # our own command
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=without_secrets(os.environ) | dict.fromkeys(ONE_THREAD, "1"),
        )
        if process.stdin is None or not isinstance(process.stdout, BufferedReader):
            raise RuntimeError("a process was started without pipes")
        _widen(process.stdout)
        return cls(process, process.stdin, process.stdout)

    def end(self) -> int:
        self.process.kill()
        for pipe in (self.questions, self.answers):
            with suppress(OSError):  # what was still to be written to it
                pipe.close()
        return self.process.wait()


class _Deadline:
    """Kills the process unless the block ends in time."""

    def __init__(self, child: _Child, seconds: float) -> None:
        self._child = child
        self._timer = Timer(seconds, self._end)
        self._timer.daemon = True
        self.is_past = False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.is_past = True
        self._child.process.kill()


def _told(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _widen(pipe: IO[bytes]) -> None:
    """Let more than 64 KiB wait in it, where the system lets us."""
    with suppress(ImportError, AttributeError, OSError):
        fcntl = importlib.import_module("fcntl")
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
