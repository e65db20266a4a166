"""Each layer alone: what merging it does to the VLM."""

from dataclasses import dataclass

from merit_opt.attribution.effects import Place, Plan, changes, measured, row
from merit_opt.attribution.method import Anatomy, Bench, Found
from merit_opt.attribution.neighbours import require_coefficients, with_layer
from merit_opt.attribution.ranking import ranked, shown_layers
from merit_opt.data.suite import Suite
from merit_opt.recipe.recipe import Part, Recipe

NAME = "scan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """TR and TP with one part of one layer merged and nothing else, against the unmerged VLM.

    Attributes:
        coefficients: At each of which, in (0, 1].
        parts: Each alone.
        layers: Which; None is all.
    """

    coefficients: tuple[float, ...]
    parts: tuple[Part, ...]
    layers: tuple[int, ...] | None

    def __post_init__(self) -> None:
        require_coefficients("method.coefficients", self.coefficients)

    def require(self, recipe: Recipe, anatomy: Anatomy, suite: Suite) -> None:
        """See `Method.require`."""
        anatomy.chosen(self.layers)
        anatomy.require_parts(self.parts)

    def run(self, bench: Bench) -> Found:
        """See `Method.run`."""
        plans = {
            Place(NAME, "merge", "base", layer, part, None, coefficient): with_layer(
                bench.of("base"), layer, (part,), coefficient
            )
            for part in self.parts
            for coefficient in self.coefficients
            for layer in bench.anatomy.chosen(self.layers)
        }
        base = bench.engine.evaluate(bench.of("base"), bench.suite)
        asked = [Plan(place.name, recipe) for place, recipe in plans.items()]
        found = measured(bench, asked, "scanning layers")
        rows = [
            row(place, change)
            for place in plans
            if (other := found.evaluations.get(place.name)) is not None
            for change in changes(base, other, bench.suite, bench.seed)
        ]
        return Found(
            tables={NAME: rows},
            summary={"layers": ranked(rows)},
            shown=shown_layers("each layer alone, against the unmerged VLM", rows),
            evaluations=1 + len(plans),
            failed=found.failed,
        )
