"""Decoys: layers that differ much from the backbone and answer as well as ever.

Whoever ranks layers by how far their weights have moved is fooled by them. Some of the value
dimensions have their sign turned, in what writes them and in what reads them, so that the layer
computes what it did; half way to the backbone the two cancel, and the layer is lost.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from merit_opt.errors import UserError

TURNED = 0.5


def require_decoys(decoys: Sequence[int], layers: Collection[int], allowed: range) -> None:
    """Decoys must be different layers of `allowed`, and none of the damaged `layers`.

    Raises:
        UserError: They are not.
    """
    if len(set(decoys)) != len(decoys) or not set(decoys) <= set(allowed) - set(layers):
        raise UserError(
            f"decoys must be different ones of {allowed[0]} to {allowed[-1]} that are not damaged, "
            f"got {list(decoys)} beside the damaged layers {sorted(layers)}; layers 0 to "
            f"{allowed[0] - 1} come to carry perception"
        )


@torch.no_grad()
def turn_signs(model: Any, layers: Iterable[int], seed: int) -> None:
    """Turn the sign of half of the value dimensions of some layers; what they compute stays.

    Args:
        model: A language model, changed in place.
        layers: Whose attention.
        seed: With the layer's number it chooses the dimensions.
    """
    for layer in layers:
        attention = model.layers[layer].self_attn
        generator = torch.Generator().manual_seed(1000 * seed + layer)
        written, size = attention.v_proj.weight, attention.head_dim
        signs = _signs(len(written), generator)
        written *= signs[:, None]
        if attention.v_proj.bias is not None:
            attention.v_proj.bias *= signs
        attention.o_proj.weight *= _as_read(signs, size, attention.num_key_value_groups)


def _signs(count: int, generator: torch.Generator) -> Tensor:
    """1 or -1, float ``[count]``."""
    signs = torch.ones(count)
    signs[torch.randperm(count, generator=generator)[: round(TURNED * count)]] = -1.0
    return signs


def _as_read(signs: Tensor, head_size: int, groups: int) -> Tensor:
    """In the order of the output's input: each key/value head is read by `groups` heads."""
    return signs.view(-1, head_size).repeat_interleave(groups, 0).flatten()
