"""Per layer a mask and a coefficient: the continuous space."""

from dataclasses import dataclass

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial

from merit_opt.recipe.recipe import Part, Recipe
from merit_opt.search.spaces.limits import ANYTHING, LayerSpan, Limits, limits
from merit_opt.search.spaces.space import Params, Switch, milder, require_range


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
        found: dict[str, BaseDistribution] = {}
        for layer in self._allowed:
            found[_mask(layer)] = IntDistribution(0, 1)
            found[_coefficient(layer)] = FloatDistribution(self.low, self.high)
        return found

    @property
    def switches(self) -> tuple[Switch, ...]:
        """See `SearchSpace`."""
        return tuple(self._switch(layer) for layer in self._allowed)

    def _switch(self, layer: int) -> Switch:
        def at(mask: int, coefficient: float) -> Params:
            return {_mask(layer): mask, _coefficient(layer): coefficient}

        between = tuple(at(1, c) for c in milder(self.low, self.high))
        return Switch((layer,), at(0, self.low), at(1, self.high), between)

    def suggest(self, trial: BaseTrial) -> Recipe:
        """See `SearchSpace`."""
        chosen: dict[int, float] = {}
        for layer in self._allowed:
            mask = trial.suggest_int(_mask(layer), 0, 1)
            coefficient = trial.suggest_float(_coefficient(layer), self.low, self.high)
            if mask and coefficient:
                chosen[layer] = coefficient
        return self._recipe(chosen)

    def params(self, recipe: Recipe) -> Params | None:
        """See `SearchSpace`."""
        own = self.limits.coefficients(self.n_layers, recipe)
        if own is None or not all(self.low <= c <= self.high for c in own.values()):
            return None
        found: dict[str, int | float] = {}
        for layer in self._allowed:
            found[_mask(layer)] = int(layer in own)
            found[_coefficient(layer)] = own.get(layer, self.low)
        return found if self._recipe(own) == recipe else None

    @property
    def _allowed(self) -> tuple[int, ...]:
        return self.limits.allowed(self.n_layers)

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


def _mask(layer: int) -> str:
    return f"L{layer:02d}.mask"


def _coefficient(layer: int) -> str:
    return f"L{layer:02d}.coefficient"
