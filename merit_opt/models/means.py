"""What each module of the language model adds on average."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from merit_opt.models.alignment import decoder_layers
from merit_opt.models.forward import embed, run_layers
from merit_opt.models.masking import Means, Site
from merit_opt.models.pack import Pack
from merit_opt.models.pair import ModelPair

Sums = dict[tuple[int, Site], Tensor]


@torch.no_grad()
def module_means(pair: ModelPair, packs: Sequence[Pack]) -> Means:
    """Means over all tokens of the packs, each token counted once.

    Args:
        pair: With the live model, merged or not; nothing of it is masked.
        packs: At least one.

    Returns:
        Layer and site -> float32 [features] on the host.
    """
    sums: Sums = {}
    rows = 0
    with _summing(pair.model, sums):
        for pack in packs:
            run_layers(pair, pack, embed(pair, pack), 0, pair.n_layers)
            rows += pack.rows
    return {place: (total / rows).float().cpu() for place, total in sums.items()}


@contextmanager
def _summing(model: Any, sums: Sums) -> Generator[None]:
    with ExitStack() as stack:
        layers: Any = decoder_layers(model)
        for index, layer in enumerate(layers):
            attention, mlp = layer.self_attn, layer.mlp
            for hook in (
                attention.register_forward_hook(_of_output(sums, (index, "attention"))),
                attention.o_proj.register_forward_pre_hook(_of_input(sums, (index, "heads"))),
                mlp.register_forward_hook(_of_output(sums, (index, "mlp"))),
            ):
                stack.callback(hook.remove)
        yield


def _of_output(sums: Sums, place: tuple[int, Site]) -> Callable[[Any, Any, Any], None]:
    def add(_module: Any, _inputs: Any, output: Any) -> None:
        _add(sums, place, output[0] if isinstance(output, tuple) else output)

    return add


def _of_input(sums: Sums, place: tuple[int, Site]) -> Callable[[Any, tuple[Any, ...]], None]:
    def add(_module: Any, inputs: tuple[Any, ...]) -> None:
        _add(sums, place, inputs[0])

    return add


def _add(sums: Sums, place: tuple[int, Site], values: Tensor) -> None:
    """In float64, so that the order of a million tokens does not matter."""
    total = values.reshape(-1, values.shape[-1]).double().sum(0)
    sums[place] = sums[place] + total if place in sums else total
