"""Time taken, on the processor and on the wall, and ratios of it."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds of one measured call: of processor time, child processes included, and of wall."""

    cpu: float
    wall: float


def timed(act: Callable[[], T]) -> tuple[T, Taken]:
    """What `act` returns, and what it took."""
    cpu, wall = processor_seconds(), time.perf_counter()
    found = act()
    return found, Taken(processor_seconds() - cpu, time.perf_counter() - wall)


def processor_seconds() -> float:
    """Of this process, all of its threads, and its finished children."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, least, greatest and count."""
    return {
        "median": statistics.median(values),
        "least": min(values),
        "greatest": max(values),
        "count": len(values),
    }


def ratios(slow: Sequence[float], fast: Sequence[float]) -> list[float]:
    """Of neighbours in time."""
    return [a / b for a, b in zip(slow, fast, strict=True)]
