"""A coefficient that changes evenly with depth, between a few control points."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import BaseTrial

from merit_opt.errors import UserError
from merit_opt.recipe.recipe import Part, Recipe
from merit_opt.search.spaces.limits import ANYTHING, LayerSpan, Limits, limits
from merit_opt.search.spaces.space import Params, Switch, milder


@dataclass(frozen=True, slots=True)
class Smooth:
    """A coefficient at each control point, piecewise linear over depth between them.

    The points sit on layers, evenly over those that may be merged, the first and the last among
    them: a recipe shows its own coefficients there, and so can be read back.

    Attributes:
        n_layers: Decoder layers, at least 2.
        points: Control points, at least 2, at most the layers that may be merged.
        high: Largest coefficient, in (0, 1]; the least is 0.
        limits: Which layers and parts, how many, and by which rule. A point above 0 turns on the
            layers up to its neighbours; where `max_layers` does not keep it, it is 0.

    Raises:
        UserError: `high` leaves (0, 1], a layer is none of the model's, there are more points
            than layers, or one of them turns on more than may be.
    """

    n_layers: int
    points: int
    high: float
    limits: Limits = ANYTHING

    def __post_init__(self) -> None:
        if not 0.0 < self.high <= 1.0:
            raise UserError(f"expected 0 < space.high <= 1, got {self.high}")
        layers = len(self.limits.allowed(self.n_layers))
        if not 2 <= self.points <= layers:
            raise UserError(
                f"space.points is 2 to {layers}, the layers that may be merged; got {self.points}"
            )
        self.limits.require_room(list(self._reach.values()), "one of space.points")

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """See `SearchSpace`."""
        return {_coefficient(point): FloatDistribution(0.0, self.high) for point in self._points}

    @property
    def switches(self) -> tuple[Switch, ...]:
        """See `SearchSpace`; neighbours share the layers between them."""
        return tuple(self._switch(point, layers) for point, layers in self._reach.items())

    def _switch(self, point: int, layers: tuple[int, ...]) -> Switch:
        def at(coefficient: float) -> Params:
            return {_coefficient(point): coefficient}

        between = tuple(at(c) for c in milder(0.0, self.high))
        return Switch(layers, at(0.0), at(self.high), between)

    def suggest(self, trial: BaseTrial) -> Recipe:
        """See `SearchSpace`."""
        return self._recipe(
            {p: trial.suggest_float(_coefficient(p), 0.0, self.high) for p in self._points}
        )

    def params(self, recipe: Recipe) -> Params | None:
        """See `SearchSpace`."""
        own = self.limits.coefficients(self.n_layers, recipe)
        if own is None or not all(c <= self.high for c in own.values()):
            return None
        at = {point: own.get(point, 0.0) for point in self._points}
        return {_coefficient(p): c for p, c in at.items()} if self._recipe(at) == recipe else None

    @property
    def _points(self) -> tuple[int, ...]:
        """The layers that the control points sit on."""
        allowed = self.limits.allowed(self.n_layers)
        last = self.points - 1
        return tuple(allowed[i * (len(allowed) - 1) // last] for i in range(self.points))

    @property
    def _reach(self) -> dict[int, tuple[int, ...]]:
        """Point -> the layers that it turns on: those between the points beside it."""
        allowed = self.limits.allowed(self.n_layers)
        around = (-1, *self._points, self.n_layers)
        return {
            point: tuple(layer for layer in allowed if before < layer < after)
            for before, point, after in zip(around, around[1:], around[2:], strict=False)
        }

    def _recipe(self, at: Mapping[int, float]) -> Recipe:
        reach = self._reach
        on = {point: c for point, c in at.items() if c}
        kept = dict.fromkeys(at, 0.0) | self.limits.kept(on, lambda point: reach[point])
        between = (_between(one, other) for one, other in pairwise(kept.items()))
        curve = dict(pair for line in between for pair in line)
        allowed = self.limits.allowed(self.n_layers)
        return self.limits.recipe(self.n_layers, {layer: curve[layer] for layer in allowed})


def smooth(
    *,
    n_layers: int,
    points: int,
    high: float,
    layers: tuple[LayerSpan, ...] | None,
    max_layers: int | None,
    parts: tuple[Part, ...],
    rule: str,
) -> Smooth:
    """As the option file gives it.

    Raises:
        UserError: See `Smooth` and `Limits`.
    """
    within = limits(layers=layers, max_layers=max_layers, parts=parts, rule=rule)
    return Smooth(n_layers, points, high, within)


def _between(one: tuple[int, float], other: tuple[int, float]) -> list[tuple[int, float]]:
    """Layer -> coefficient from one point to the other, both included and exact."""
    (a, low), (b, high) = one, other
    inner = [(x, low + (high - low) * (x - a) / (b - a)) for x in range(a + 1, b)]
    least, most = min(low, high), max(low, high)
    return [one, *((x, min(max(c, least), most)) for x, c in inner), other]


def _coefficient(point: int) -> str:
    return f"L{point:02d}.coefficient"
