"""What searches are tried on: recipes can be measured, and the right answer is known."""

from typing import Protocol

from merit_opt.data.suite import Suite
from merit_opt.evaluation.evaluation import Evaluation
from merit_opt.recipe.recipe import Recipe
from merit_opt.search.priors import Prior, Source


class Testbed(Protocol):
    """One pair whose useful layers are known."""

    @property
    def name(self) -> str:
        """`surrogate`, `and_pairs`, `planted`, or another law's name."""
        ...

    @property
    def pair(self) -> str:
        """Which one of its kind, as runs.csv names it."""
        ...

    @property
    def n_layers(self) -> int:
        """Decoder layers."""
        ...

    @property
    def suite(self) -> Suite:
        """The search samples, with their roles; no held-out ones."""
        ...

    @property
    def oracle(self) -> Recipe:
        """The recipe that undoes what was done to the pair."""
        ...

    @property
    def useful(self) -> frozenset[int]:
        """Layers that a good recipe names."""
        ...

    @property
    def decoys(self) -> frozenset[int]:
        """Layers that differ much and change nothing; none where the law has no such thing."""
        ...

    def measure(self, recipe: Recipe) -> Evaluation:
        """Answers on `suite`, in its order, log-probabilities included; the same each time."""
        ...

    def held_out(self, recipe: Recipe) -> tuple[float, float]:
        """Accuracy of TR and of TP on questions that no search sees."""
        ...

    def prior(self, source: Source) -> Prior:
        """What the method says before the search, and its bill."""
        ...
