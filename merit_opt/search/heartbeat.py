"""A thread that says again and again that its worker lives."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

STOP_SECONDS = 5.0


class Heartbeat:
    """Calls `beat` every `seconds` within its block.

    What `beat` raises is its own affair: a storage that is away is no reason to stop a worker, and
    the next beat may reach it.
    """

    def __init__(self, beat: Callable[[], None], seconds: float) -> None:
        self._beat = beat
        self._seconds = seconds
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        """Stop; a beat that hangs in a storage is not waited for."""
        self._is_over.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._is_over.wait(self._seconds):
            try:
                self._beat()
            except Exception:  # nosec B112  # noqa: BLE001  # the next beat may succeed
                continue
