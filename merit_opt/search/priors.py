"""What is known of layers before the search: which are worth merging, and at what risk."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from merit_opt.data.suite import Role
from merit_opt.evaluation.screen import Screen
from merit_opt.recipe.recipe import PARTS, Recipe

PRIOR = "prior"  # the study's attribute that keeps it
PRICE = "price"  # of a point of TP in points of TR, as the study's objective has it; kept beside
SEED = "seed"  # the attribute of a trial that a warm start put first: its name
SCANNED = "layer:"  # how the names of a scan's trials begin

Source = Literal["gradient", "scan"]


@dataclass(frozen=True, slots=True)
class Prior:
    """How much each layer promises, by a method that costs less than the search.

    Attributes:
        source: The method. `gradient`: derivatives of mean margins with respect to the layer's
            coefficient. `scan`: changes of mean scores with the layer alone merged.
        reasoning: Expected change of the score of TR samples, by layer.
        perception: Expected change of the score of TP samples, by layer.
        bill: What it cost, in full evaluations of the search samples; those of a scan are trials
            of the study, and counted there.
    """

    source: Source
    reasoning: tuple[float, ...]
    perception: tuple[float, ...]
    bill: float

    def of(self, layers: Iterable[int]) -> tuple[float, float]:
        """TR and TP of moving several layers together, were there nothing between them."""
        chosen = list(layers)
        return (
            math.fsum(self.reasoning[layer] for layer in chosen),
            math.fsum(self.perception[layer] for layer in chosen),
        )

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


def is_scan(trial: object) -> bool:
    """Whether a trial (running or frozen) is a scan's, to be measured in full."""
    return trial.user_attrs.get(SEED, "").startswith(SCANNED)  # type: ignore[attr-defined]


def prior_of_screen(screen: Screen, greatest: Recipe) -> Prior:
    """What the derivatives promise, of the parts that recipes of a space merge.

    They are those of the straight line to the backbone, whatever the space's rules.

    Args:
        screen: At the unmerged VLM.
        greatest: Every layer as far from the VLM as the space goes.
    """

    def by_layer(role: Role) -> tuple[float, ...]:
        return tuple(
            screen.of(role, i, [part for part in PARTS if layer.rule(part) is not None])
            for i, layer in enumerate(greatest.layers)
        )

    return Prior("gradient", by_layer("TR"), by_layer("TP"), screen.bill)


def prior_of_scan(
    n_layers: int, found: Sequence[tuple[Sequence[int], tuple[float, float]]]
) -> Prior:
    """What trials of single layers promise.

    Args:
        n_layers: Decoder layers.
        found: Of each trial: its layers, and its change of TR and of TP, which several layers
            share evenly.
    """
    by_role: tuple[list[float], list[float]] = ([0.0] * n_layers, [0.0] * n_layers)
    for layers, changes in found:
        for layer in layers:
            for role, change in zip(by_role, changes, strict=True):
                role[layer] += change / len(layers)
    return Prior("scan", tuple(by_role[0]), tuple(by_role[1]), float(len(found)))
