"""Per layer one of two coefficients: the space of MERIT."""

from dataclasses import dataclass

from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import BaseTrial

from merit_opt.errors import UserError
from merit_opt.recipe.recipe import Part, Recipe
from merit_opt.search.spaces.limits import ANYTHING, LayerSpan, Limits, limits
from merit_opt.search.spaces.space import Params, Switch


@dataclass(frozen=True, slots=True)
class Merit:
    """Per layer one of two coefficients, as in MERIT: VLM- or LLM-dominant.

    The paper names the two states but not their coefficients: the values are ours.

    Attributes:
        n_layers: Decoder layers, at least 1.
        vlm_dominant: Coefficient of state 0, in [0, 0.5).
        llm_dominant: Coefficient of state 1, in (0.5, 1].
        limits: Which layers and parts, and by which rule; `max_layers` counts those in state 1,
            and those beyond it fall to state 0.

    Raises:
        UserError: A coefficient lies on the wrong side of 0.5, or a layer is none of the model's.
    """

    n_layers: int
    vlm_dominant: float
    llm_dominant: float
    limits: Limits = ANYTHING

    def __post_init__(self) -> None:
        if not 0.0 <= self.vlm_dominant < 0.5 < self.llm_dominant <= 1.0:
            raise UserError(
                "expected 0 <= space.vlm_dominant < 0.5 < space.llm_dominant <= 1, "
                f"got {self.vlm_dominant} and {self.llm_dominant}"
            )
        self.limits.allowed(self.n_layers)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """See `SearchSpace`."""
        return {_state(layer): IntDistribution(0, 1) for layer in self._allowed}

    @property
    def switches(self) -> tuple[Switch, ...]:
        """See `SearchSpace`."""
        return tuple(
            Switch((layer,), {_state(layer): 0}, {_state(layer): 1}, ()) for layer in self._allowed
        )

    def suggest(self, trial: BaseTrial) -> Recipe:
        """See `SearchSpace`."""
        states = {layer: trial.suggest_int(_state(layer), 0, 1) for layer in self._allowed}
        return self._recipe([layer for layer, state in states.items() if state])

    def params(self, recipe: Recipe) -> Params | None:
        """See `SearchSpace`."""
        own = self.limits.coefficients(self.n_layers, recipe)
        if own is None:
            return None
        on = [layer for layer, coefficient in own.items() if coefficient == self.llm_dominant]
        found = {_state(layer): int(layer in on) for layer in self._allowed}
        return found if self._recipe(on) == recipe else None

    @property
    def _allowed(self) -> tuple[int, ...]:
        return self.limits.allowed(self.n_layers)

    def _recipe(self, on: list[int]) -> Recipe:
        below = dict.fromkeys(self._allowed, self.vlm_dominant)
        kept = self.limits.kept(dict.fromkeys(on, self.llm_dominant))
        return self.limits.recipe(self.n_layers, below | kept)


def merit(
    *,
    n_layers: int,
    vlm_dominant: float,
    llm_dominant: float,
    layers: tuple[LayerSpan, ...] | None,
    max_layers: int | None,
    parts: tuple[Part, ...],
    rule: str,
) -> Merit:
    """As the option file gives it.

    Raises:
        UserError: See `Merit` and `Limits`.
    """
    within = limits(layers=layers, max_layers=max_layers, parts=parts, rule=rule)
    return Merit(n_layers, vlm_dominant, llm_dominant, within)


def _state(layer: int) -> str:
    return f"L{layer:02d}.state"
