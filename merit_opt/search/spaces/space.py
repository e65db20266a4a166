"""What a search space is: `suggest` and `params` undo each other, so a control can be a trial."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.trial import BaseTrial, FixedTrial

from merit_opt.errors import UserError
from merit_opt.recipe.recipe import LayerMerge, Recipe

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
    """Recipes as trial parameters.

    Many parameters may give one recipe; `params` names the canonical ones.
    """

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


def turned_on(space: SearchSpace, on: Collection[Switch]) -> Recipe:
    """These switches on and all others off."""
    chosen = (switch.on if switch in on else switch.off for switch in space.switches)
    return space.suggest(FixedTrial({k: v for params in chosen for k, v in params.items()}))


def all_on(space: SearchSpace) -> Recipe:
    """Each layer as its switch alone makes it: all parts and rules that recipes may have.

    Not itself of a space that limits how many layers a recipe merges.
    """
    alone = [turned_on(space, [switch]) for switch in space.switches]
    layers = zip(*(recipe.layers for recipe in alone), strict=True)
    return Recipe(tuple(next((x for x in own if x.is_merged), LayerMerge()) for own in layers))


def switched_on(space: SearchSpace, recipe: Recipe) -> int:
    """How many switches a recipe has turned on; none of one outside the space."""
    params = space.params(recipe)
    if params is None:
        return 0
    return sum(any(params[k] != v for k, v in switch.off.items()) for switch in space.switches)


def require_range(low: float, high: float) -> None:
    """Of the coefficients of a space.

    Raises:
        UserError: It is empty or leaves [0, 1].
    """
    if not 0.0 <= low < high <= 1.0:
        raise UserError(f"expected 0 <= space.low < space.high <= 1, got {low} and {high}")


def milder(low: float, high: float) -> list[float]:
    """Coefficients between the greatest and none, the greatest first."""
    return [share * high for share in MILDER if low <= share * high]
