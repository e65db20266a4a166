"""Search spaces: `suggest` and `params` undo each other, so a control can be a trial."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.trial import BaseTrial

from merit_opt.errors import UserError
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe

DRAWS = 200
MILDER = (0.75, 0.5)  # of the greatest coefficient; ours

Params = Mapping[str, int | float]


@dataclass(frozen=True, slots=True)
class Switch:
    """What a coordinate search turns on and off as one.

    Attributes:
        layers: The layers it is about, ascending.
        off: Parameters that leave them as near to the VLM's as the space can.
        on: Parameters that take as much of the backbone's as the space can.
        milder: Parameters between the two, the strongest first; empty where the space has none.
    """

    layers: tuple[int, ...]
    off: Params
    on: Params
    milder: tuple[Params, ...]


class SearchSpace(Protocol):
    """Recipes as trial parameters."""

    @property
    def n_layers(self) -> int:
        """Decoder layers of the pair."""
        ...

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Every parameter a proposal suggests, in order."""
        ...

    @property
    def switches(self) -> tuple[Switch, ...]:
        """By depth; together they set every parameter once."""
        ...

    def suggest(self, trial: BaseTrial) -> Recipe:
        """The recipe the trial proposes."""
        ...

    def params(self, recipe: Recipe) -> Params | None:
        """Parameters whose `suggest` gives `recipe`, or None when it lies outside."""
        ...


def first_layers(space: SearchSpace) -> dict[int, float]:
    """First merged layer -> its share among random recipes of the space."""
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    drawn = [space.suggest(study.ask(space.distributions)) for _ in range(DRAWS)]
    counts = Counter(recipe.merged_layers[0] for recipe in drawn if recipe.merged_layers)
    return {layer: n / counts.total() for layer, n in sorted(counts.items())}


@dataclass(frozen=True, slots=True)
class Layerwise:
    """Per layer an inclusion mask and an attention coefficient.

    Both are always suggested, the coefficient ignored where the mask is 0: samplers that model
    parameters jointly would otherwise fall back to random values for it.

    Attributes:
        n_layers: Decoder layers, at least 1.
        low: Least coefficient of an included layer, in [0, high).
        high: Largest coefficient, at most 1.

    Raises:
        UserError: The range is empty or leaves [0, 1].
    """

    n_layers: int
    low: float
    high: float

    def __post_init__(self) -> None:
        _require_range(self.low, self.high, "space.low", "space.high")

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """See `SearchSpace`."""
        found: dict[str, BaseDistribution] = {}
        for layer in range(self.n_layers):
            found[_mask(layer)] = IntDistribution(0, 1)
            found[_coefficient(layer)] = FloatDistribution(self.low, self.high)
        return found

    @property
    def switches(self) -> tuple[Switch, ...]:
        """See `SearchSpace`."""
        return tuple(self._switch(layer) for layer in range(self.n_layers))

    def _switch(self, layer: int) -> Switch:
        def at(mask: int, coefficient: float) -> Params:
            return {_mask(layer): mask, _coefficient(layer): coefficient}

        milder = [share * self.high for share in MILDER if self.low <= share * self.high]
        return Switch((layer,), at(0, self.low), at(1, self.high), tuple(at(1, c) for c in milder))

    def suggest(self, trial: BaseTrial) -> Recipe:
        """See `SearchSpace`."""
        chosen: dict[int, float] = {}
        for layer in range(self.n_layers):
            mask = trial.suggest_int(_mask(layer), 0, 1)
            coefficient = trial.suggest_float(_coefficient(layer), self.low, self.high)
            if mask:
                chosen[layer] = coefficient
        return constructors.attention(self.n_layers, chosen)

    def params(self, recipe: Recipe) -> Params | None:
        """See `SearchSpace`."""
        own = _attention_only(recipe, self.n_layers)
        if own is None or not all(self.low <= c <= self.high for c in own.values()):
            return None
        found: dict[str, int | float] = {}
        for layer in range(self.n_layers):
            found[_mask(layer)] = int(layer in own)
            found[_coefficient(layer)] = own.get(layer, self.low)
        return found


@dataclass(frozen=True, slots=True)
class Merit:
    """Per layer one of two attention coefficients, as in MERIT: VLM- or LLM-dominant.

    The paper names the two states but not their coefficients: the values are ours.

    Attributes:
        n_layers: Decoder layers, at least 1.
        vlm_dominant: Coefficient of state 0, in [0, 0.5).
        llm_dominant: Coefficient of state 1, in (0.5, 1].

    Raises:
        UserError: A coefficient lies on the wrong side of 0.5.
    """

    n_layers: int
    vlm_dominant: float
    llm_dominant: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.vlm_dominant < 0.5 < self.llm_dominant <= 1.0:
            raise UserError(
                "expected 0 <= space.vlm_dominant < 0.5 < space.llm_dominant <= 1, "
                f"got {self.vlm_dominant} and {self.llm_dominant}"
            )

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """See `SearchSpace`."""
        return {_state(layer): IntDistribution(0, 1) for layer in range(self.n_layers)}

    @property
    def switches(self) -> tuple[Switch, ...]:
        """See `SearchSpace`."""
        return tuple(
            Switch((layer,), {_state(layer): 0}, {_state(layer): 1}, ())
            for layer in range(self.n_layers)
        )

    def suggest(self, trial: BaseTrial) -> Recipe:
        """See `SearchSpace`."""
        coefficients = (self.vlm_dominant, self.llm_dominant)
        states = [trial.suggest_int(_state(layer), 0, 1) for layer in range(self.n_layers)]
        return constructors.attention(
            self.n_layers, {layer: coefficients[state] for layer, state in enumerate(states)}
        )

    def params(self, recipe: Recipe) -> Params | None:
        """See `SearchSpace`."""
        own = _attention_only(recipe, self.n_layers)
        states = {self.vlm_dominant: 0, self.llm_dominant: 1}
        if own is None:
            return None
        found = {_state(i): states.get(own.get(i, 0.0)) for i in range(self.n_layers)}
        return (
            {k: v for k, v in found.items() if v is not None}
            if None not in found.values()
            else None
        )


def _attention_only(recipe: Recipe, n_layers: int) -> dict[int, float] | None:
    own = recipe.coefficients()
    same = len(recipe.layers) == n_layers and constructors.attention(n_layers, own) == recipe
    return own if same else None


def _require_range(low: float, high: float, low_name: str, high_name: str) -> None:
    if not 0.0 <= low < high <= 1.0:
        raise UserError(f"expected 0 <= {low_name} < {high_name} <= 1, got {low} and {high}")


def _mask(layer: int) -> str:
    return f"L{layer:02d}.mask"


def _coefficient(layer: int) -> str:
    return f"L{layer:02d}.coefficient"


def _state(layer: int) -> str:
    return f"L{layer:02d}.state"
