"""Hidden states kept between layers, so that a forward begins where its recipe begins."""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from merit_opt.errors import UserError
from merit_opt.models.forward import embed, finish, run_layers
from merit_opt.models.pack import Pack
from merit_opt.models.pair import ModelPair
from merit_opt.recipe.recipe import LayerMerge, Recipe

Prefix = tuple[LayerMerge, ...]


@dataclass(frozen=True, slots=True)
class LevelBudget:
    """How much may be kept.

    Attributes:
        device: Bytes on the model's device; at least 0.
        host: Bytes in host memory once the device's are spent; at least 0.
        prefixes: Beginnings of merged recipes to keep beside the unmerged model's; at least 0.
            They pay where a sampler changes few layers of a recipe it knows, and nowhere else.
    """

    device: int
    host: int
    prefixes: int

    def __post_init__(self) -> None:
        if min(self.device, self.host, self.prefixes) < 0:
            raise UserError(f"what is kept between layers is 0 or more, got {self}")


def choose_levels(starts: Mapping[int, float], most: int) -> tuple[int, ...]:
    """Which at most `most` levels leave the fewest layers to compute.

    A recipe whose first merged layer is f starts at the greatest kept level that is at most f, or
    at 0: the levels minimise the expected number of layers between the two.

    Args:
        starts: First merged layer -> how often; layers that never come first may be left out.
        most: At least 0.

    Returns:
        Ascending, without level 0, which costs nothing to make.
    """
    useful = sorted(f for f, share in starts.items() if f > 0 and share > 0)

    @cache
    def best(level: int, left: int) -> tuple[float, tuple[int, ...]]:
        """Least cost of the layers from `level` on with `left` more levels, and those levels."""
        choices: list[tuple[float, tuple[int, ...]]] = [(_cost(starts, level, math.inf), ())]
        if left:
            for following in (f for f in useful if f > level):
                cost, rest = best(following, left - 1)
                choices.append((_cost(starts, level, following) + cost, (following, *rest)))
        return min(choices, key=lambda choice: (choice[0], len(choice[1])))

    return best(0, most)[1]


def _cost(starts: Mapping[int, float], level: int, following: float) -> float:
    return math.fsum(share * (f - level) for f, share in starts.items() if level <= f < following)


class HiddenLevels:
    """Hidden states of packs at chosen levels, by the merged layers below them.

    States of the unmerged model stay; those of merged beginnings give way to newer ones.
    """

    def __init__(self, levels: tuple[int, ...], budget: LevelBudget) -> None:
        self._levels = levels
        self._budget = budget
        self._base: dict[tuple[int, Pack], Tensor] = {}
        self._merged: OrderedDict[Prefix, dict[Pack, Tensor]] = OrderedDict()
        self._device_bytes = 0
        self._host_bytes = 0
        self._is_full = False

    def begin(self, pair: ModelPair, pack: Pack, recipe: Recipe) -> tuple[int, Tensor]:
        """The last layer whose input is known under `recipe`, and that input."""
        for level in reversed(self._levels):
            if (kept := self._find(pack, recipe.layers[:level])) is not None:
                return level, kept.to(pair.device, non_blocking=True)
        return 0, embed(pair, pack)

    def finish(
        self, pair: ModelPair, pack: Pack, recipe: Recipe, start: int, hidden: Tensor
    ) -> Tensor:
        """What the last layer makes of the rows that are read; see `forward.finish`.

        `hidden` is the input of layer `start`. The live model must already be what `recipe` says.
        """
        for level in (k for k in self._levels if k > start):
            below = recipe.layers[:level]
            if self._is_wanted(pack, below):
                hidden = run_layers(pair, pack, hidden, start, level)
                self._keep(pack, below, hidden)
                start = level
        return finish(pair, pack, hidden, start)

    def _find(self, pack: Pack, below: Prefix) -> Tensor | None:
        if _is_base(below):
            return self._base.get((len(below), pack))
        if below in self._merged:
            self._merged.move_to_end(below)
            return self._merged[below].get(pack)
        return None

    def _is_wanted(self, pack: Pack, below: Prefix) -> bool:
        if not _is_base(below):
            return self._budget.prefixes > 0
        return (len(below), pack) not in self._base and not self._is_full

    def _keep(self, pack: Pack, below: Prefix, hidden: Tensor) -> None:
        if not _is_base(below):
            self._merged.setdefault(below, {})[pack] = hidden
            while len(self._merged) > self._budget.prefixes:
                self._merged.popitem(last=False)
        elif (placed := self._placed(hidden)) is not None:
            self._base[len(below), pack] = placed

    def _placed(self, hidden: Tensor) -> Tensor | None:
        size = hidden.numel() * hidden.element_size()
        if self._device_bytes + size <= self._budget.device:
            self._device_bytes += size
            return hidden
        if self._host_bytes + size <= self._budget.host:
            self._host_bytes += size
            host = hidden.cpu()
            return host.pin_memory() if torch.cuda.is_available() else host
        self._is_full = True
        return None


def _is_base(below: Prefix) -> bool:
    return not any(layer.is_merged for layer in below)
