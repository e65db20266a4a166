"""How far a text model is from the VLM, layer by layer; read from disk, no model is loaded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median

import torch

from merit_opt.errors import UserError
from merit_opt.models.alignment import AlignedTensor
from merit_opt.models.stored import StoredTensor
from merit_opt.recipe.recipe import Part

UNRELATED = 1.0
Stored = Mapping[AlignedTensor, StoredTensor]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Distance:
    """Of one part of one layer.

    Attributes:
        layer: Decoder layer.
        part: Part of it.
        relative: ``||other - vlm|| / ||vlm||`` over all its tensors as one vector; unrelated
            weights of one size come to about 1.4.
    """

    layer: int
    part: Part
    relative: float


def distances(vlm: Stored, other: Stored, progress: Progress) -> tuple[Distance, ...]:
    """The distance of every layer and part, in the order of `vlm`.

    Args:
        vlm: The VLM's mergeable tensors.
        other: Of a text model.
        progress: Called with tensors read and tensors in all.

    Raises:
        UserError: Weights are not finite, not plain floating-point numbers, or cannot be read.
    """
    squares: dict[tuple[int, Part], tuple[float, float]] = {}
    for done, (tensor, stored) in enumerate(vlm.items(), start=1):
        ours, theirs = _finite(stored), _finite(other[tensor])
        apart, own = squares.get((tensor.layer, tensor.part), (0.0, 0.0))
        key = (tensor.layer, tensor.part)
        squares[key] = (apart + _square(theirs - ours), own + _square(ours))
        progress(done, len(vlm))
    return tuple(
        Distance(layer, part, _relative(apart, own))
        for (layer, part), (apart, own) in squares.items()
    )


def looks_unrelated(found: Sequence[Distance]) -> bool:
    """Whether half of the attention layers are farther from the VLM's than those are long."""
    return median(d.relative for d in found if d.part == "attention") > UNRELATED


def _finite(stored: StoredTensor) -> torch.Tensor:
    values = stored.read().float()
    if not torch.isfinite(values).all():
        raise UserError(f"{stored.name} in {stored.file} holds NaN or infinities")
    return values


def _relative(apart: float, own: float) -> float:
    if own:
        return sqrt(apart / own)
    return float("inf") if apart else 0.0


def _square(values: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(values)) ** 2
