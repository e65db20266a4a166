"""Adds up what an evaluation costs while it goes on."""

import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch

from merit_opt.evaluation.cost import Cost

Stage = Literal["switch", "load", "forward", "score"]


@dataclass
class Meter:
    """The cost so far; `total` says it."""

    devices: Sequence[torch.device]
    seconds: dict[Stage, float] = field(default_factory=dict)
    questions: int = 0
    tokens: int = 0
    row_layers: int = 0
    row_layers_skipped: int = 0
    flops: float = 0.0
    halved: int = 0

    def __post_init__(self) -> None:
        for device in self.devices:
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)

    @contextmanager
    def stage(self, name: Stage) -> Generator[None]:
        """Count the block's time as `name`'s."""
        started = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + elapsed

    def total(self, *, asked: int, matrix_rate: float) -> Cost:
        """The cost so far, of an evaluation that was asked `asked` questions."""
        return Cost(
            switch=self.seconds.get("switch", 0.0),
            load=self.seconds.get("load", 0.0),
            forward=self.seconds.get("forward", 0.0),
            score=self.seconds.get("score", 0.0),
            questions=self.questions,
            questions_saved=asked - self.questions,
            tokens=self.tokens,
            layers_skipped=self.row_layers_skipped / max(1, self.row_layers),
            flops=self.flops,
            matrix_rate=matrix_rate,
            peak_bytes=_peak_bytes(self.devices),
            halved=self.halved,
        )


def _peak_bytes(devices: Sequence[torch.device]) -> int | None:
    if cuda := [device for device in devices if device.type == "cuda"]:
        return max(torch.cuda.max_memory_allocated(device) for device in cuda)
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
