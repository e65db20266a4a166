"""A mask and a coefficient for each of several units: layers, or blocks of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial

from merit_opt.search.spaces.space import Params, Switch, milder


@dataclass(frozen=True, slots=True)
class Masked:
    """What spaces of units that are on or off share.

    Attributes:
        letter: Names begin with it, and a unit's number follows.
        units: Numbers, by depth.
        low: Least coefficient of a unit that is on.
        high: Largest.
    """

    letter: str
    units: Collection[int]
    low: float
    high: float

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Mask and coefficient of each unit."""
        found: dict[str, BaseDistribution] = {}
        for unit in self.units:
            found[self._mask(unit)] = IntDistribution(0, 1)
            found[self._coefficient(unit)] = FloatDistribution(self.low, self.high)
        return found

    def switch(self, unit: int, layers: tuple[int, ...]) -> Switch:
        """The unit, which is of these layers, off and on."""

        def at(mask: int, coefficient: float) -> Params:
            return {self._mask(unit): mask, self._coefficient(unit): coefficient}

        between = tuple(at(1, c) for c in milder(self.low, self.high))
        return Switch(layers, at(0, self.low), at(1, self.high), between)

    def suggest(self, trial: BaseTrial) -> dict[int, float]:
        """Unit -> coefficient, of those that are on; both are drawn for every unit."""
        on: dict[int, float] = {}
        for unit in self.units:
            mask = trial.suggest_int(self._mask(unit), 0, 1)
            coefficient = trial.suggest_float(self._coefficient(unit), self.low, self.high)
            if mask and coefficient:
                on[unit] = coefficient
        return on

    def params(self, on: Mapping[int, float]) -> Params:
        """The canonical parameters that give `on`."""
        found: dict[str, int | float] = {}
        for unit in self.units:
            found[self._mask(unit)] = int(unit in on)
            found[self._coefficient(unit)] = on.get(unit, self.low)
        return found

    def _mask(self, unit: int) -> str:
        return f"{self.letter}{unit:02d}.mask"

    def _coefficient(self, unit: int) -> str:
        return f"{self.letter}{unit:02d}.coefficient"
