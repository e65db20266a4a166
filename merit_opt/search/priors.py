"""What is known of layers before the search: which are worth merging, and at what risk."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

PRIOR = "prior"  # the study's attribute that keeps it

Source = Literal["gradient", "scan"]


@dataclass(frozen=True, slots=True)
class Prior:
    """How much each layer promises, by a method that costs less than the search.

    Attributes:
        source: The method.
        reasoning: Expected change of the score of TR samples, by layer.
        perception: Expected change of the score of TP samples, by layer.
        bill: What it cost, in evaluations of the search samples.
    """

    source: Source
    reasoning: tuple[float, ...]
    perception: tuple[float, ...]
    bill: float

    def gains(self, penalty: float) -> tuple[float, ...]:
        """By layer, what the objective promises: TR gain minus `penalty` times TP loss."""
        pairs = zip(self.reasoning, self.perception, strict=True)
        return tuple(tr - penalty * max(0.0, -tp) for tr, tp in pairs)

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Self:
        """What `to_dict` gave."""
        return cls(
            kept["source"], tuple(kept["reasoning"]), tuple(kept["perception"]), kept["bill"]
        )
