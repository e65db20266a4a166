"""What each module of the language model adds on average."""

from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from merit_opt.models.alignment import decoder_layers
from merit_opt.models.forward import embed, run_layers
from merit_opt.models.masking import Means, Site
from merit_opt.models.pack import Pack
from merit_opt.models.pair import ModelPair

Place = tuple[int, Site]
Sums = dict[Place, Tensor]
Add = Callable[[Place, Tensor], None]


@dataclass(frozen=True, eq=False, slots=True)
class Summed:
    """Over some tokens.

    Attributes:
        sums: Layer and site -> float64 [features] on the layer's device.
        rows: How many tokens.
    """

    sums: Sums
    rows: int


@torch.no_grad()
def module_sums(pair: ModelPair, pack: Pack, skipped: int) -> Summed:
    """Over all tokens of a pack but its first `skipped`.

    Args:
        pair: With the live model, merged or not; nothing of it is masked.
        pack: What goes through it.
        skipped: Rows that are counted elsewhere.
    """
    sums: Sums = {}
    with _summing(pair.model, sums, skipped):
        run_layers(pair, pack, embed(pair, pack), 0, pair.n_layers)
    return Summed(sums, pack.rows - skipped)


def means_of(parts: Iterable[Summed]) -> Means:
    """Means over the tokens of all parts, at least one.

    Returns:
        Layer and site -> float32 [features] on the host.
    """
    sums: Sums = {}
    rows = 0
    for part in parts:
        rows += part.rows
        for place, own in part.sums.items():
            sums[place] = sums[place] + own if place in sums else own
    return {place: (total / rows).float().cpu() for place, total in sums.items()}


@contextmanager
def _summing(model: Any, sums: Sums, skipped: int) -> Generator[None]:
    def add(place: Place, values: Tensor) -> None:
        """In float64, so that the order of a million tokens does not matter."""
        sums[place] = values.reshape(-1, values.shape[-1])[skipped:].double().sum(0)

    with ExitStack() as stack:
        layers: Any = decoder_layers(model)
        for index, layer in enumerate(layers):
            attention, mlp = layer.self_attn, layer.mlp
            for hook in (
                attention.register_forward_hook(_of_output(add, (index, "attention"))),
                attention.o_proj.register_forward_pre_hook(_of_input(add, (index, "heads"))),
                mlp.register_forward_hook(_of_output(add, (index, "mlp"))),
            ):
                stack.callback(hook.remove)
        yield


def _of_output(add: Add, place: Place) -> Callable[[Any, Any, Any], None]:
    def told(_module: Any, _inputs: Any, output: Any) -> None:
        add(place, output[0] if isinstance(output, tuple) else output)

    return told


def _of_input(add: Add, place: Place) -> Callable[[Any, tuple[Any, ...]], None]:
    def told(_module: Any, inputs: tuple[Any, ...]) -> None:
        add(place, inputs[0])

    return told
