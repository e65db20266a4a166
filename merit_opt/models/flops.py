"""Arithmetic of a forward, and the rate at which a device multiplies matrices."""

import time
from functools import cache

import torch

from merit_opt.models.pack import Pack
from merit_opt.models.pair import ModelPair

SIDE = {"cpu": 1024, "cuda": 8192}
REPEATS = 5


def forward_flops(pair: ModelPair, pack: Pack, start: int) -> float:
    """Floating-point operations of the decoder's matrix products from layer `start` on.

    A multiply and an add are two. Attention counts the pairs a row really sees; norms,
    activations, RoPE and the few rows of the head are left out.
    """
    config = pair.model.get_decoder().config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    attention = 4.0 * config.num_attention_heads * width * pack.attended
    layers = pair.matrix_weights
    every = sum(2.0 * pack.rows * (own + mlp) + attention for own, mlp in layers[start:-1])
    own, mlp = layers[-1]
    return every + 2.0 * (pack.rows * own + len(pack.read_rows) * mlp) + attention


@cache
def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large product of random square matrices, the best of five after a first one."""
    side = SIDE[device.type]
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(side, side, generator=generator).to(device, dtype)
    _seconds(one)
    fastest = min(_seconds(one) for _ in range(REPEATS))
    return 2.0 * side**3 / fastest


def _seconds(matrix: torch.Tensor) -> float:
    started = time.perf_counter()
    product = matrix @ matrix
    product[0, 0].item()
    return time.perf_counter() - started
