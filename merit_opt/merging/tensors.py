"""One rule applied to one tensor: the only merge arithmetic, for search and export alike."""

import math
from functools import singledispatch

import torch
from torch import Tensor

from merit_opt.merging.operands import Operands
from merit_opt.merging.task_vectors import merge_task_vectors
from merit_opt.recipe.rules import Lerp, Slerp, TaskVectorRule, rule_name

MERGES = "merges/1"  # raise it with every change of this package that moves a bit
# Beyond this cosine, either way, the great circle is a line to within a ten-thousandth.
COLLINEAR = 0.9995
NO_LENGTH = 1e-8
RUN = 16_384


@singledispatch
def merge_tensor(rule: object, operands: Operands) -> Tensor:
    """A new tensor of the VLM's shape and dtype.

    Args:
        rule: A rule of `merit_opt.recipe.rules`.
        operands: The tensor as each model has it. The arithmetic is in float32, whatever theirs.

    Raises:
        TypeError: No arithmetic is registered for the rule.
        ValueError: The rule is one of task vectors and there is no base.
    """
    raise TypeError(f"no merge arithmetic for rule {type(rule).__name__}")


def _lerp(rule: Lerp, operands: Operands) -> Tensor:
    if rule.coefficient == 1.0:
        return operands.backbone.clone()
    return torch.lerp(operands.vlm, operands.backbone, rule.coefficient)


def _slerp(rule: Slerp, operands: Operands) -> Tensor:
    if rule.coefficient == 1.0:
        return operands.backbone.clone()
    vlm, backbone = operands.vlm.float(), operands.backbone.float()
    angle = _angle(vlm, backbone)
    if angle is None:
        merged = torch.lerp(vlm, backbone, rule.coefficient)
    else:
        vlm_share = math.sin((1.0 - rule.coefficient) * angle) / math.sin(angle)
        backbone_share = math.sin(rule.coefficient * angle) / math.sin(angle)
        merged = vlm_share * vlm + backbone_share * backbone
    return merged.to(operands.vlm.dtype)


def _task_vectors(rule: TaskVectorRule, operands: Operands) -> Tensor:
    if operands.base is None:
        raise ValueError(
            f"rule {rule_name(type(rule))} merges what both models learned since their base, "
            f"and {operands.name} has none"
        )
    return merge_task_vectors(rule, operands, operands.base)


# Not by decorators: what is decorated is left out when the tests are tried on wrong code.
merge_tensor.register(_lerp)
merge_tensor.register(_slerp)
merge_tensor.register(_task_vectors)


def _angle(one: Tensor, other: Tensor) -> float | None:
    """Radians between two tensors taken as vectors; None where no circle is told apart."""
    lengths = [math.sqrt(_product(tensor, tensor)) for tensor in (one, other)]
    if min(lengths) <= NO_LENGTH:
        return None
    cosine = _product(one, other) / lengths[0] / lengths[1]
    return None if abs(cosine) > COLLINEAR else math.acos(cosine)


def _product(one: Tensor, other: Tensor) -> float:
    """Scalar product in float64, the same for every layout and number of threads.

    Torch sums a run of up to 32768 numbers on one thread.
    """
    products = one.contiguous().flatten().double() * other.contiguous().flatten().double()
    return math.fsum(torch.stack([run.sum() for run in products.split(RUN)]).tolist())
