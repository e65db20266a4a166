"""What of a pair a search space may merge, and how: the settings that all spaces share."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NewType

from merit_opt.errors import UserError
from merit_opt.recipe.constructors import per_layer
from merit_opt.recipe.recipe import PARTS, Part, Recipe
from merit_opt.recipe.rules import rule_from

LayerSpan = NewType("LayerSpan", range)
"""Layers from one to another, both included; an option file says 3 or 8..27."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Neutral as it is: every layer may be merged, by its attention, linearly.

    Where a proposal turns on more than `max_layers`, units with the largest coefficients are
    kept, the deeper first among equals, each as long as it still fits; a unit is what the space
    turns on as one. That rule is ours.

    Attributes:
        layers: Layers that may be merged, ascending; None allows all.
        max_layers: Most layers turned on, at least 1; None allows all.
        parts: What is merged of a layer, at one coefficient, in the order of `PARTS`.
        rule: How, as a recipe's name has it after its coefficient, such as `ties:1:0.2`.

    Raises:
        UserError: No part, no layer, fewer than one layer on, or no such rule.
    """

    layers: tuple[int, ...] | None = None
    max_layers: int | None = None
    parts: tuple[Part, ...] = ("attention",)
    rule: str = "lerp"

    def __post_init__(self) -> None:
        if not self.parts or self.layers == ():
            raise UserError("space.parts and space.layers name at least one each, got none")
        if self.max_layers is not None and self.max_layers < 1:
            raise UserError(f"space.max_layers is 1 or more, or null, got {self.max_layers}")
        try:
            rule_from(self.rule)
        except UserError as error:
            raise UserError(f"space.rule={self.rule}: {error}") from None

    def allowed(self, n_layers: int) -> tuple[int, ...]:
        """The layers that may be merged, ascending.

        Raises:
            UserError: The model has no such layer.
        """
        if self.layers is None:
            return tuple(range(n_layers))
        if outside := [layer for layer in self.layers if layer not in range(n_layers)]:
            raise UserError(
                f"space.layers: this model's layers run from 0 to {n_layers - 1}; got {outside}"
            )
        return self.layers

    def require_room(self, units: Sequence[Collection[int]], name: str) -> None:
        """Any single unit of a space may be on.

        Raises:
            UserError: One has more layers than may be.
        """
        largest = max(map(len, units))
        if self.max_layers is not None and self.max_layers < largest:
            raise UserError(
                f"space.max_layers={self.max_layers} is less than the {largest} layers that "
                f"{name} turns on"
            )

    def kept(
        self, on: Mapping[int, float], layers: Callable[[int], Collection[int]] = lambda u: (u,)
    ) -> dict[int, float]:
        """Those units that `max_layers` leaves on.

        Args:
            on: Unit, numbered by depth -> its coefficient.
            layers: The layers that a unit turns on; a unit is a layer unless told.
        """
        if self.max_layers is None:
            return dict(on)
        found: dict[int, float] = {}
        spent = frozenset[int]()
        for unit in sorted(on, key=lambda unit: (on[unit], unit), reverse=True):
            if len(wanted := spent.union(layers(unit))) <= self.max_layers:
                found[unit], spent = on[unit], wanted
        return found

    def recipe(self, n_layers: int, coefficients: Mapping[int, float]) -> Recipe:
        """From layer -> coefficient; layers not named keep the VLM's."""
        return per_layer(n_layers, coefficients, rule_from(self.rule), parts=self.parts)

    def coefficients(self, n_layers: int, recipe: Recipe) -> dict[int, float] | None:
        """What `recipe` was made from, or None where it merges something else or otherwise."""
        own = recipe.coefficients(self.parts[0])
        if len(recipe.layers) != n_layers or not own.keys() <= set(self.allowed(n_layers)):
            return None
        return own if self.recipe(n_layers, own) == recipe else None


ANYTHING = Limits()


def limits(
    *,
    layers: tuple[LayerSpan, ...] | None,
    max_layers: int | None,
    parts: tuple[Part, ...],
    rule: str,
) -> Limits:
    """As an option file gives them.

    Raises:
        UserError: See `Limits`.
    """
    named = None if layers is None else sorted({layer for span in layers for layer in span})
    return Limits(
        layers=None if named is None else tuple(named),
        max_layers=max_layers,
        parts=tuple(part for part in PARTS if part in parts),
        rule=rule,
    )
