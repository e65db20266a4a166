"""Per layer a mask and a coefficient: the continuous space."""

from dataclasses import dataclass

from optuna.distributions import BaseDistribution
from optuna.trial import BaseTrial

from merit_opt.recipe.recipe import Part, Recipe
from merit_opt.search.spaces.limits import ANYTHING, LayerSpan, Limits, limits
from merit_opt.search.spaces.masked import Masked
from merit_opt.search.spaces.space import Params, Switch, require_range


@dataclass(frozen=True, slots=True)
class Layerwise:
    """Per layer an inclusion mask and a coefficient.

    Both are always suggested, the coefficient ignored where the mask is 0: samplers that model
    parameters jointly would otherwise fall back to random values for it.

    Attributes:
        n_layers: Decoder layers, at least 1.
        low: Least coefficient of an included layer, in [0, high).
        high: Largest coefficient, at most 1.
        limits: Which layers and parts, how many, and by which rule.

    Raises:
        UserError: The range is empty or leaves [0, 1], or a layer is none of the model's.
    """

    n_layers: int
    low: float
    high: float
    limits: Limits = ANYTHING

    def __post_init__(self) -> None:
        require_range(self.low, self.high)
        self.limits.allowed(self.n_layers)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """See `SearchSpace`."""
        return self._masked.distributions

    @property
    def switches(self) -> tuple[Switch, ...]:
        """See `SearchSpace`."""
        return tuple(self._masked.switch(layer, (layer,)) for layer in self._masked.units)

    def suggest(self, trial: BaseTrial) -> Recipe:
        """See `SearchSpace`."""
        return self._recipe(self._masked.suggest(trial))

    def params(self, recipe: Recipe) -> Params | None:
        """See `SearchSpace`."""
        own = self.limits.coefficients(self.n_layers, recipe)
        if own is None or not all(self.low <= c <= self.high for c in own.values()):
            return None
        return self._masked.params(own) if self._recipe(own) == recipe else None

    @property
    def _masked(self) -> Masked:
        return Masked("L", self.limits.allowed(self.n_layers), self.low, self.high)

    def _recipe(self, on: dict[int, float]) -> Recipe:
        return self.limits.recipe(self.n_layers, self.limits.kept(on))


def layerwise(
    *,
    n_layers: int,
    low: float,
    high: float,
    layers: tuple[LayerSpan, ...] | None,
    max_layers: int | None,
    parts: tuple[Part, ...],
    rule: str,
) -> Layerwise:
    """As the option file gives it.

    Raises:
        UserError: See `Layerwise` and `Limits`.
    """
    within = limits(layers=layers, max_layers=max_layers, parts=parts, rule=rule)
    return Layerwise(n_layers, low, high, within)
