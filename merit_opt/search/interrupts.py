"""Ctrl-C comes between two steps of a study, never in the middle of a write to its storage."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class _Held:
    """Remembers the first Ctrl-C; the second is not kept waiting."""

    def __init__(self) -> None:
        self.is_pending = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.is_pending:
            raise KeyboardInterrupt
        self.is_pending = True


@contextmanager
def interrupts_held() -> Generator[None]:
    """Within the block Ctrl-C waits for `interrupts_allowed` or for the end.

    Where signals do not arrive, in any thread but the main one, it does nothing.

    Raises:
        KeyboardInterrupt: One came in the block; a second one raises at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held = _Held()
    previous = signal.signal(signal.SIGINT, held)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if held.is_pending:
        raise KeyboardInterrupt


def interrupt_waits() -> bool:
    """Whether a Ctrl-C came that is held."""
    held = signal.getsignal(signal.SIGINT)
    return isinstance(held, _Held) and held.is_pending


@contextmanager
def interrupts_allowed() -> Generator[None]:
    """Within the block Ctrl-C raises at once, although it is held around it.

    Raises:
        KeyboardInterrupt: One came in the block, or waited for it.
    """
    held = signal.getsignal(signal.SIGINT)
    if not isinstance(held, _Held):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if held.is_pending:
            raise KeyboardInterrupt
        yield
    finally:
        signal.signal(signal.SIGINT, held)
