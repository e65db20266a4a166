"""Trying again, with pauses that grow, until a deadline."""

import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0


def patiently(act: Callable[[], T], *, seconds: float, may_pass: Callable[[Exception], bool]) -> T:
    """The result of `act`, tried again while its error may pass and time remains.

    Args:
        act: May be called any number of times.
        seconds: No new try begins later than this; 0 tries once.
        may_pass: Whether waiting can help against an error.

    Raises:
        Exception: Whatever `act` raised last.
    """
    deadline = time.monotonic() + seconds
    pauses = _pauses()
    while True:
        try:
            return act()
        except Exception as error:
            pause = next(pauses)
            if time.monotonic() + pause > deadline or not may_pass(error):
                raise
            time.sleep(pause)


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE
    while True:
        # Workers that lost the same server do not come back in step.
        yield pause * random.uniform(0.8, 1.2)
        pause = min(2 * pause, LONGEST_PAUSE)
