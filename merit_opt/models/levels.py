"""Hidden states kept between layers, so that a forward begins where its recipe begins."""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from torch import Tensor

from merit_opt.errors import UserError
from merit_opt.models.forward import embed, finish, run_layers
from merit_opt.models.pack import Pack
from merit_opt.models.pair import ModelPair
from merit_opt.recipe.recipe import LayerMerge, Recipe

Prefix = tuple[LayerMerge, ...]


@dataclass(frozen=True, eq=False, slots=True)
class _Kept:
    """[1, rows, hidden] and where it lies."""

    hidden: Tensor
    is_on_host: bool


States = dict[tuple[int, Pack], _Kept]
"""By level and pack."""


@dataclass(frozen=True, slots=True)
class LevelBudget:
    """How much may be kept.

    Attributes:
        device: Bytes on the model's device, or on all of them together; at least 0.
        host: Bytes in host memory once the device's are spent; at least 0.
        prefixes: Merged recipes whose states are kept beside the unmerged model's, within the same
            bytes; at least 0. They pay where a sampler changes few layers of a recipe it knows,
            and nowhere else.
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

    States of the unmerged model stay; those of merged recipes give way to newer recipes'.
    """

    def __init__(self, levels: tuple[int, ...], budget: LevelBudget) -> None:
        self._levels = levels
        self._budget = budget
        self._base: States = {}
        self._merged: OrderedDict[Recipe, States] = OrderedDict()
        self._device_bytes = 0
        self._host_bytes = 0
        self._is_full = False

    def begin(
        self, pair: ModelPair, pack: Pack, recipe: Recipe, *, until: int | None = None
    ) -> tuple[int, Tensor]:
        """The last layer, at most `until`, whose input is known under `recipe`, and that input."""
        for level in reversed(self._up_to(until)):
            if (kept := self._find(pack, recipe.layers[:level])) is not None:
                return level, kept.to(pair.layer_device(level), non_blocking=True)
        return 0, embed(pair, pack)

    def finish(
        self,
        pair: ModelPair,
        pack: Pack,
        recipe: Recipe,
        start: int,
        hidden: Tensor,
        *,
        until: int | None = None,
    ) -> Tensor:
        """What the last layer makes of the rows that are read; see `forward.finish`.

        Args:
            pair: With the live model, already what `recipe` says.
            pack: What is asked.
            recipe: Under which inputs are kept.
            start: Layer to begin with.
            hidden: Its input.
            until: The first layer that is not what `recipe` says, as it is masked: inputs of
                later ones are not kept. None: there is no such layer.
        """
        for level in (k for k in self._up_to(until) if k > start):
            below = recipe.layers[:level]
            if self._is_wanted(pack, below):
                hidden = run_layers(pair, pack, hidden, start, level)
                self._keep(pack, recipe, level, hidden)
                start = level
        return finish(pair, pack, hidden, start)

    def _up_to(self, until: int | None) -> tuple[int, ...]:
        return tuple(k for k in self._levels if until is None or k <= until)

    def forget(self, pack: Pack) -> None:
        """Let go of all that is kept of a pack."""
        for key in [key for key in self._base if key[1] is pack]:
            self._release(self._base.pop(key))
        for states in self._merged.values():
            for key in [key for key in states if key[1] is pack]:
                self._release(states.pop(key))

    def _find(self, pack: Pack, below: Prefix) -> Tensor | None:
        key = len(below), pack
        if _is_base(below):
            return self._base[key].hidden if key in self._base else None
        for recipe, states in self._merged.items():
            if key in states and recipe.layers[: len(below)] == below:
                self._merged.move_to_end(recipe)
                return states[key].hidden
        return None

    def _is_wanted(self, pack: Pack, below: Prefix) -> bool:
        if not _is_base(below):
            return self._budget.prefixes > 0
        return (len(below), pack) not in self._base and not self._is_full

    def _keep(self, pack: Pack, recipe: Recipe, level: int, hidden: Tensor) -> None:
        if _is_base(recipe.layers[:level]):
            states = self._base
        else:
            states = self._merged.setdefault(recipe, {})
            while len(self._merged) > self._budget.prefixes:
                _, oldest = self._merged.popitem(last=False)
                for kept in oldest.values():
                    self._release(kept)
        if (placed := self._placed(hidden)) is not None:
            states[level, pack] = placed

    def _placed(self, hidden: Tensor) -> _Kept | None:
        if self._device_bytes + hidden.nbytes <= self._budget.device:
            self._device_bytes += hidden.nbytes
            return _Kept(hidden, is_on_host=False)
        if self._host_bytes + hidden.nbytes <= self._budget.host:
            self._host_bytes += hidden.nbytes
            host = hidden.cpu()
            pinned = host.pin_memory() if hidden.device.type == "cuda" else host
            return _Kept(pinned, is_on_host=True)
        self._is_full = True
        return None

    def _release(self, kept: _Kept) -> None:
        self._is_full = False
        if kept.is_on_host:
            self._host_bytes -= kept.hidden.nbytes
        else:
            self._device_bytes -= kept.hidden.nbytes


def _is_base(below: Prefix) -> bool:
    return not any(layer.is_merged for layer in below)
