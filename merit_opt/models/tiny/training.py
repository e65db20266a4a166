"""One training loop: Muon for matrices, AdamW for the rest, a short warm-up, a linear decay."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter

WARM_UP_STEPS = 20
LOWEST = 0.05


@dataclass(frozen=True, eq=False, slots=True)
class Pupil:
    """Parameters that learn at one rate."""

    parameters: tuple[Parameter, ...]
    rate: float


def train(
    pupils: Sequence[Pupil],
    *,
    steps: int,
    loss: Callable[[], Tensor],
    after: Callable[[int], bool],
) -> int:
    """Minimise `loss` over the pupils; everything else stays as it is.

    Args:
        pupils: What learns.
        steps: Most steps.
        loss: Draws a batch and returns its loss, a scalar.
        after: Told how many steps are done; true ends the training.

    Returns:
        Steps taken.
    """
    learning = [p for pupil in pupils for p in pupil.parameters]
    optimizers = [optimizer for pupil in pupils for optimizer in _optimizers(pupil)]
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(o, lambda step: _share(step, steps)) for o in optimizers
    ]
    for parameter in learning:
        parameter.requires_grad_(True)
    done = 0
    try:
        while done < steps:
            loss().backward()
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
            for stepped in (*optimizers, *schedules):
                stepped.step()
            for optimizer in optimizers:
                optimizer.zero_grad()
            done += 1
            if after(done):
                break
    finally:
        for parameter in learning:
            parameter.requires_grad_(False)
    return done


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
