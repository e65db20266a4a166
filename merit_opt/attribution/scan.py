"""Each layer alone: what merging it does to the VLM."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from merit_opt.attribution.anatomy import Anatomy
from merit_opt.attribution.effects import Place, Plan, compared, measured
from merit_opt.attribution.method import Bench, Found, models_bill
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

    def bill(self, recipe: Recipe, anatomy: Anatomy, suite: Suite) -> str:
        """See `Method.bill`."""
        layers = anatomy.chosen(self.layers)
        return models_bill(1 + len(self.parts) * len(self.coefficients) * len(layers), suite)

    def run(self, bench: Bench) -> Found:
        """See `Method.run`."""
        plans = dict(self._plans(bench))
        base = bench.engine.evaluate(bench.of("base"), bench.suite)
        found = measured(bench, list(plans.values()), "scanning layers")
        rows = compared(bench, plans, found, {"base": base})
        return Found(
            tables={NAME: rows},
            summary={"layers": ranked(rows)},
            shown=shown_layers("each layer alone, against the unmerged VLM", rows),
            evaluations=1 + len(plans),
            failed=found.failed,
            left_out=base.left_out,
        )

    def _plans(self, bench: Bench) -> Iterator[tuple[Place, Plan]]:
        layers = bench.anatomy.chosen(self.layers)
        for part, coefficient, layer in product(self.parts, self.coefficients, layers):
            place = Place(NAME, "merge", "base", layer, part, None, coefficient)
            yield place, Plan(place.name, with_layer(bench.of("base"), layer, [part], coefficient))
