"""One training loop: Muon for matrices, AdamW for the rest, a short warm-up, a linear decay."""

import random
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from merit_opt.files import write_bytes

WARM_UP_STEPS = 20
LOWEST = 0.05


@dataclass(frozen=True, eq=False, slots=True)
class Pupil:
    """Parameters that learn at one rate."""

    parameters: tuple[Parameter, ...]
    rate: float


@dataclass(frozen=True, eq=False, slots=True)
class Kept:
    """Where a long training is kept now and then, so that it can go on after a kill.

    Attributes:
        path: The file; whoever keeps what came of the training removes it.
        every: Steps between two writes.
        rng: What batches are drawn with; kept too.
    """

    path: Path
    every: int
    rng: random.Random


def train(
    pupils: Sequence[Pupil],
    *,
    steps: int,
    loss: Callable[[], Tensor],
    after: Callable[[int], bool],
    kept: Kept | None = None,
) -> int:
    """Minimise `loss` over the pupils; everything else stays as it is.

    Args:
        pupils: What learns.
        steps: Most steps.
        loss: Draws a batch and returns its loss, a scalar.
        after: Told how many steps are done; true ends the training.
        kept: Go on from there, if there is anything, with what an unbroken training would have.

    Returns:
        Steps taken.
    """
    learning = [p for pupil in pupils for p in pupil.parameters]
    optimizers = [optimizer for pupil in pupils for optimizer in _optimizers(pupil)]
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(o, lambda step: _share(step, steps)) for o in optimizers
    ]
    stateful = [*optimizers, *schedules]
    done = _go_on(kept, learning, stateful) if kept else 0
    with _open_to_change(learning):
        while done < steps:
            loss().backward()
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
            for stepped in stateful:
                stepped.step()
            for optimizer in optimizers:
                optimizer.zero_grad()
            done += 1
            if kept:
                _keep(kept, done, learning, stateful)
            if after(done):
                break
    return done


@contextmanager
def _open_to_change(parameters: Sequence[Parameter]) -> Generator[None]:
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)


def _keep(kept: Kept, done: int, learning: Sequence[Parameter], stateful: Sequence[Any]) -> None:
    if done % kept.every:
        return
    state = {
        "done": done,
        "learning": [parameter.detach() for parameter in learning],
        "stateful": [each.state_dict() for each in stateful],
        "rng": kept.rng.getstate(),
    }
    content = BytesIO()
    torch.save(state, content)
    write_bytes(kept.path, content.getvalue())


@torch.no_grad()
def _go_on(kept: Kept, learning: Sequence[Parameter], stateful: Sequence[Any]) -> int:
    """Steps that were done."""
    if not kept.path.exists():
        return 0
    state = torch.load(kept.path, weights_only=True)
    for parameter, value in zip(learning, state["learning"], strict=True):
        parameter.copy_(value)
    for each, own in zip(stateful, state["stateful"], strict=True):
        each.load_state_dict(own)
    kept.rng.setstate(state["rng"])
    return state["done"]


def _optimizers(pupil: Pupil) -> list[torch.optim.Optimizer]:
    matrices = [p for p in pupil.parameters if p.ndim == 2]
    vectors = [p for p in pupil.parameters if p.ndim != 2]
    return [
        torch.optim.Muon(
            matrices, lr=pupil.rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(vectors, lr=pupil.rate, weight_decay=0.0, betas=(0.9, 0.98)),
    ]


def _share(step: int, steps: int) -> float:
    """Share of the full rate at a step: up over the first steps, down over the second half."""
    rising = (step + 1) / WARM_UP_STEPS
    falling = max(LOWEST, 2 * (1 - step / steps))
    return min(1.0, rising) * min(1.0, falling)
