"""Per block of neighbouring layers a mask and a coefficient."""

from dataclasses import dataclass
from itertools import pairwise

from optuna.distributions import BaseDistribution
from optuna.trial import BaseTrial

from merit_opt.errors import UserError
from merit_opt.recipe.recipe import Part, Recipe
from merit_opt.search.spaces.limits import ANYTHING, LayerSpan, Limits, limits
from merit_opt.search.spaces.masked import Masked
from merit_opt.search.spaces.space import Params, Switch, require_range


@dataclass(frozen=True, slots=True)
class Grouped:
    """As `Layerwise`, with blocks in place of layers: the layers of one share both parameters.

    The layers that may be merged are cut by depth into blocks whose sizes differ by one at most,
    the larger ones deeper.

    Attributes:
        n_layers: Decoder layers, at least 1.
        blocks: At least 1, at most the layers that may be merged.
        low: Least coefficient of an included block, in [0, high).
        high: Largest coefficient, at most 1.
        limits: Which layers and parts, how many (a block is kept whole or not at all), and by
            which rule.

    Raises:
        UserError: The range is empty or leaves [0, 1], a layer is none of the model's, there are
            more blocks than layers, or a block is larger than may be on.
    """

    n_layers: int
    blocks: int
    low: float
    high: float
    limits: Limits = ANYTHING

    def __post_init__(self) -> None:
        require_range(self.low, self.high)
        layers = len(self.limits.allowed(self.n_layers))
        if not 1 <= self.blocks <= layers:
            raise UserError(
                f"space.blocks is 1 to {layers}, the layers that may be merged; got {self.blocks}"
            )
        self.limits.require_room(self._layers, "one of space.blocks")

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """See `SearchSpace`."""
        return self._masked.distributions

    @property
    def switches(self) -> tuple[Switch, ...]:
        """See `SearchSpace`."""
        return tuple(self._masked.switch(*block) for block in enumerate(self._layers))

    def suggest(self, trial: BaseTrial) -> Recipe:
        """See `SearchSpace`."""
        return self._recipe(self._masked.suggest(trial))

    def params(self, recipe: Recipe) -> Params | None:
        """See `SearchSpace`."""
        own = self.limits.coefficients(self.n_layers, recipe)
        if own is None or not all(self.low <= c <= self.high for c in own.values()):
            return None
        firsts = [layers[0] for layers in self._layers]
        on = {block: own[first] for block, first in enumerate(firsts) if first in own}
        return self._masked.params(on) if self._recipe(on) == recipe else None

    @property
    def _masked(self) -> Masked:
        return Masked("B", range(self.blocks), self.low, self.high)

    @property
    def _layers(self) -> tuple[tuple[int, ...], ...]:
        """Of each block."""
        allowed = self.limits.allowed(self.n_layers)
        cuts = [i * len(allowed) // self.blocks for i in range(self.blocks + 1)]
        return tuple(allowed[a:b] for a, b in pairwise(cuts))

    def _recipe(self, on: dict[int, float]) -> Recipe:
        blocks = self._layers
        kept = self.limits.kept(on, lambda block: blocks[block])
        return self.limits.recipe(
            self.n_layers, {layer: c for block, c in kept.items() for layer in blocks[block]}
        )


def grouped(
    *,
    n_layers: int,
    blocks: int,
    low: float,
    high: float,
    layers: tuple[LayerSpan, ...] | None,
    max_layers: int | None,
    parts: tuple[Part, ...],
    rule: str,
) -> Grouped:
    """As the option file gives it.

    Raises:
        UserError: See `Grouped` and `Limits`.
    """
    within = limits(layers=layers, max_layers=max_layers, parts=parts, rule=rule)
    return Grouped(n_layers, blocks, low, high, within)
