"""A row for each benchmark: its layout written small, and what must be read from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """What the contract of benchmarks is tried on.

    Attributes:
        write: Writes a made-up copy in the official layout to a folder.
        samples: Variant -> ids of the samples in it, in order.
        left_out: Variant -> id -> a part of why.
        real: Variant -> the folder of `bench_data` that holds real annotations, and how many rows
            they have; a path that the official layout has elsewhere is laid there by `lay`.
        counts: Variant -> field -> value -> how many of the real rows have it, as published.
        lay: (folder of bench_data, empty folder) -> the official layout made of the first.
    """

    write: Callable[[Path], None]
    samples: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    real: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    lay: Callable[[Path, Path], None] | None = None
