"""Attention within a pack, as an attention function of transformers' own interface."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv

NAME = "merit_opt_pack"


@dataclass(frozen=True, eq=False, slots=True)
class PackLayout:
    """Who sees whom in a pack.

    Attributes:
        prefix: Rows of the shared prefix; among themselves causal.
        longest: Rows of the longest question, the prefix among them.
        mask: bool [1, 1, suffix rows, rows], true where a suffix row sees a row.
    """

    prefix: int
    longest: int
    mask: Tensor


def pack_layout(
    prefix: int, suffixes: Sequence[int], device: torch.device, hidden: Tensor | None = None
) -> PackLayout:
    """Suffix rows see the whole prefix, and of the suffixes their own up to themselves.

    Args:
        prefix: Rows of the shared prefix.
        suffixes: Rows of each question alone.
        device: Where the mask goes.
        hidden: bool [prefix], rows that no suffix row sees after all; None: there are none.
    """
    owner = torch.tensor([i for i, n in enumerate(suffixes) for _ in range(n)], device=device)
    own = (owner[:, None] == owner[None]).tril()
    mask = torch.cat([own.new_ones(len(owner), prefix), own], dim=1)
    if hidden is not None:
        mask[:, :prefix] &= ~hidden.to(device)
    return PackLayout(prefix, prefix + max(suffixes), mask[None, None])


def pack_attention(  # noqa: PLR0913  transformers calls it so
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    pack_layout: PackLayout | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Causal in the prefix without a mask, masked in the suffixes.

    Args:
        module: The attention module that calls.
        query: [1, heads, rows, head size].
        key: [1, key/value heads, rows, head size].
        value: Of the shape of `key`.
        attention_mask: None; who sees whom is the layout's to say.
        scaling: Of the products.
        pack_layout: Who sees whom.
        options: What other attention functions take: dropout, position ids, sliding window.

    Returns:
        [1, rows, heads, head size], and no weights.

    Raises:
        RuntimeError: The layout is missing or does not fit, or a question is longer than the
            attention's window.
    """
    if pack_layout is None or attention_mask is not None:
        raise RuntimeError("attention in a pack needs its layout, and no other mask")
    _require_seen(pack_layout, options.get("sliding_window"))
    prefix = pack_layout.prefix
    _require_fit(pack_layout, rows=query.shape[2])
    shared = scaled_dot_product_attention(
        query[:, :, :prefix],
        key[:, :, :prefix],
        value[:, :, :prefix],
        is_causal=True,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    groups = query.shape[1] // key.shape[1]  # with a mask, GPUs have no kernel for grouped heads
    own = scaled_dot_product_attention(
        query[:, :, prefix:],
        repeat_kv(key, groups),
        repeat_kv(value, groups),
        attn_mask=pack_layout.mask,
        scale=scaling,
    )
    return torch.cat([shared, own], dim=2).transpose(1, 2).contiguous(), None


def _require_fit(layout: PackLayout, rows: int) -> None:
    if layout.mask.shape[-2:] != (rows - layout.prefix, rows):
        raise RuntimeError(
            f"the layout is for {list(layout.mask.shape[-2:])}, the pack has {rows} rows, "
            f"{layout.prefix} of them prefix"
        )


def _require_seen(layout: PackLayout, window: int | None) -> None:
    """A window that every question fits into changes nothing."""
    if window is not None and layout.longest > window:
        raise RuntimeError(
            f"this attention sees {window} tokens, a question has {layout.longest}, and it should "
            "have been left out"
        )


def smallest_window(decoder: Any) -> int | None:
    """Of the windows through which a language model's layers attend; None where all see all."""
    of_all = getattr(decoder.config, "sliding_window", None)
    windows = (getattr(layer.self_attn, "sliding_window", of_all) for layer in decoder.layers)
    return min((window for window in windows if window is not None), default=None)


AttentionInterface.register(NAME, pack_attention)


@contextmanager
def packed(decoder: Any) -> Generator[None]:
    """Inside the block the language model attends within packs."""
    config = decoder.config
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
