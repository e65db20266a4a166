"""One coefficient for all layers."""

from dataclasses import dataclass

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import BaseTrial

from merit_opt.recipe.recipe import Part, Recipe
from merit_opt.search.spaces.limits import ANYTHING, LayerSpan, Limits, limits
from merit_opt.search.spaces.space import Params, Switch, milder, require_range

COEFFICIENT = "coefficient"


@dataclass(frozen=True, slots=True)
class Uniform:
    """One coefficient for all layers that may be merged.

    Attributes:
        n_layers: Decoder layers, at least 1.
        low: Least coefficient, in [0, high).
        high: Largest coefficient, at most 1.
        limits: Which layers and parts, how many (being equal, the deepest), and by which rule.

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
        return {COEFFICIENT: FloatDistribution(self.low, self.high)}

    @property
    def switches(self) -> tuple[Switch, ...]:
        """See `SearchSpace`; there is one."""
        between = tuple({COEFFICIENT: c} for c in milder(self.low, self.high))
        layers = tuple(sorted(self._at(self.high)))
        return (Switch(layers, {COEFFICIENT: self.low}, {COEFFICIENT: self.high}, between),)

    def suggest(self, trial: BaseTrial) -> Recipe:
        """See `SearchSpace`."""
        return self._recipe(trial.suggest_float(COEFFICIENT, self.low, self.high))

    def params(self, recipe: Recipe) -> Params | None:
        """See `SearchSpace`."""
        own = self.limits.coefficients(self.n_layers, recipe)
        if own is None:
            return None
        coefficient = next(iter(own.values()), 0.0)
        inside = self.low <= coefficient <= self.high and self._recipe(coefficient) == recipe
        return {COEFFICIENT: coefficient} if inside else None

    def _at(self, coefficient: float) -> dict[int, float]:
        allowed = self.limits.allowed(self.n_layers)
        return self.limits.kept(dict.fromkeys(allowed, coefficient))

    def _recipe(self, coefficient: float) -> Recipe:
        return self.limits.recipe(self.n_layers, self._at(coefficient))


def uniform(
    *,
    n_layers: int,
    low: float,
    high: float,
    layers: tuple[LayerSpan, ...] | None,
    max_layers: int | None,
    parts: tuple[Part, ...],
    rule: str,
) -> Uniform:
    """As the option file gives it.

    Raises:
        UserError: See `Uniform` and `Limits`.
    """
    within = limits(layers=layers, max_layers=max_layers, parts=parts, rule=rule)
    return Uniform(n_layers, low, high, within)
