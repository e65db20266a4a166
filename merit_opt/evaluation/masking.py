"""A masked model as something to be measured."""

from dataclasses import dataclass

from merit_opt.data.suite import Suite
from merit_opt.recipe.intervention import Intervention
from merit_opt.recipe.recipe import Recipe


@dataclass(frozen=True, eq=False, slots=True)
class Masking:
    """An intervention, with what its means are taken over.

    Attributes:
        intervention: What is masked.
        over: Over all tokens of whose samples a module's output is averaged, where it is replaced
            by its mean; of no consequence otherwise. The engine leaves out those that cannot be
            asked, so that `key` is of the samples that means are of.
    """

    intervention: Intervention
    over: Suite

    @property
    def needs_means(self) -> bool:
        """Whether outputs are replaced by their means."""
        return self.intervention.how == "mean"

    @property
    def key(self) -> tuple[str, ...]:
        """What it adds to the identity of an evaluation."""
        own = f"masked/1 {self.intervention.digest}"
        return (own, self.over.digest) if self.needs_means else (own,)


def subject(recipe: Recipe, masking: Masking | None) -> str:
    """What an evaluation is of, in digests."""
    return recipe.digest if masking is None else f"{recipe.digest} {' '.join(masking.key)}"


def masked_until(masking: Masking | None) -> int | None:
    """The first layer that is masked; what goes into it is what the recipe alone makes."""
    return None if masking is None else masking.intervention.layers[0]
