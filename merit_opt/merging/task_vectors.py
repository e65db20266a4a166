"""What two models have learned since their base, trimmed or thinned, combined and put back."""

import hashlib

import torch
from torch import Tensor

from merit_opt.errors import UserError
from merit_opt.merging.operands import Operands
from merit_opt.recipe.rules import (
    DareLinear,
    DareTies,
    TaskArithmetic,
    TaskVectorRule,
    Ties,
    TiesByCount,
)


def merge_task_vectors(rule: TaskVectorRule, operands: Operands, base: Tensor) -> Tensor:
    """``base + scale * combined``, where combined is what the rule makes of the task vectors.

    Args:
        rule: At coefficient 1, scale 1 and every entry kept the result is the backbone's tensor
            bit for bit.
        operands: The tensor as VLM and backbone have it.
        base: The tensor they grew from.

    Returns:
        A new tensor of the VLM's shape and dtype, computed in float32.

    Raises:
        UserError: A model holds NaN or infinities, which trimming and voting would hide.
    """
    density = 1.0 if isinstance(rule, TaskArithmetic) else rule.density
    if rule.coefficient == rule.scale == density == 1.0:
        return operands.backbone.clone()
    _require_finite(operands, base)
    start = base.float()
    combined = _combined(
        rule,
        _kept(rule, operands.vlm.float() - start, f"vlm/{operands.name}"),
        _kept(rule, operands.backbone.float() - start, f"backbone/{operands.name}"),
    )
    return (start + rule.scale * combined).to(operands.vlm.dtype)


def _require_finite(operands: Operands, base: Tensor) -> None:
    models = {"VLM": operands.vlm, "backbone": operands.backbone, "base": base}
    damaged = [name for name, tensor in models.items() if not torch.isfinite(tensor).all()]
    if damaged:
        raise UserError(
            f"{operands.name} of the {' and the '.join(damaged)} holds NaN or infinities, of which "
            "no task vector can be made; give a sound checkpoint"
        )


def largest(vector: Tensor, density: float) -> Tensor:
    """Where the largest entries by magnitude lie; of equal ones the first.

    Args:
        vector: Any shape.
        density: In (0, 1]; ``int(density * entries)`` of them are kept, and at least one.

    Returns:
        A boolean tensor of the vector's shape.
    """
    sizes = vector.abs().reshape(-1)
    count = max(1, int(density * len(sizes)))
    if count >= len(sizes):
        return torch.ones_like(vector, dtype=torch.bool)
    level = sizes.kthvalue(len(sizes) - count + 1).values
    above, at = sizes > level, sizes == level
    in_order = at.cumsum(0, dtype=torch.int32)
    return (above | (at & (in_order <= count - above.sum()))).reshape(vector.shape)


def random_mask(shape: torch.Size, density: float, key: str) -> Tensor:
    """Each entry True with probability `density`; the same for the same key, on every machine.

    Returns:
        A boolean tensor on the CPU.
    """
    digest = hashlib.sha256(key.encode()).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "big"))
    return torch.rand(shape, generator=generator, dtype=torch.float32, device="cpu") < density


def _kept(rule: TaskVectorRule, vector: Tensor, key: str) -> Tensor:
    """What of a model's task vector goes into the merge."""
    match rule:
        case TaskArithmetic():
            return vector
        case Ties() | TiesByCount():
            return vector.masked_fill(~largest(vector, rule.density), 0.0)
        case DareLinear() | DareTies():
            mask = random_mask(vector.shape, rule.density, f"{rule.seed}/{key}")
            return vector.masked_fill(~mask.to(vector.device), 0.0) / rule.density


def _combined(rule: TaskVectorRule, vlm: Tensor, backbone: Tensor) -> Tensor:
    weighed = [(1.0 - rule.coefficient, vlm), (rule.coefficient, backbone)]
    match rule:
        case TaskArithmetic() | DareLinear():
            return sum((weight * vector for weight, vector in weighed), torch.zeros_like(vlm))
        case Ties() | DareTies():
            return _agreed([(weight, weight, vector) for weight, vector in weighed])
        case TiesByCount():
            return _agreed([(float(weight > 0.0), weight, vector) for weight, vector in weighed])


def _agreed(ballots: list[tuple[float, float, Tensor]]) -> Tensor:
    """The mean of the vectors that have the elected sign, entry by entry.

    Args:
        ballots: Per vector its vote, in electing the sign and as a share of the mean, its weight
            in the sum, and itself. Without a vote its weight must be zero.
    """
    total, share = torch.zeros_like(ballots[0][2]), torch.zeros_like(ballots[0][2])
    elected = sum((vote * vector for vote, _, vector in ballots), total)
    # A tie elects plus, as in TIES's own code.
    sign = torch.where(elected >= 0.0, 1.0, -1.0)
    for vote, weight, vector in ballots:
        agrees = vector.sign() == sign
        total += weight * vector.masked_fill(~agrees, 0.0)
        share += vote * agrees
    return total / share.masked_fill(share == 0.0, 1.0)
