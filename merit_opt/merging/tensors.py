"""One rule applied to two tensors: the only merge arithmetic, for search and export alike."""

from functools import singledispatch

import torch
from torch import Tensor

from merit_opt.recipe.rules import Lerp


@singledispatch
def merge_tensor(rule: object, vlm: Tensor, backbone: Tensor) -> Tensor:
    """A new tensor of the VLM's shape and dtype.

    Args:
        rule: A rule of `merit_opt.recipe.rules`.
        vlm: Any floating dtype and shape.
        backbone: Of the same dtype and shape as `vlm`.

    Raises:
        TypeError: No arithmetic is registered for the rule.
        ValueError: Shapes or dtypes differ.
    """
    raise TypeError(f"no merge arithmetic for rule {type(rule).__name__}")


@merge_tensor.register
def _(rule: Lerp, vlm: Tensor, backbone: Tensor) -> Tensor:
    _same_kind(vlm, backbone)
    if rule.coefficient == 1.0:
        return backbone.clone()
    return torch.lerp(vlm, backbone, float(rule.coefficient))


def _same_kind(vlm: Tensor, backbone: Tensor) -> None:
    if vlm.shape != backbone.shape or vlm.dtype != backbone.dtype:
        raise ValueError(
            f"cannot merge {tuple(vlm.shape)} {vlm.dtype} with "
            f"{tuple(backbone.shape)} {backbone.dtype}; shapes and dtypes must be equal"
        )
