"""A recipe with one layer fewer, or one more."""

from dataclasses import dataclass

from merit_opt.attribution.anatomy import Anatomy
from merit_opt.attribution.effects import Place, Plan, compared, measured
from merit_opt.attribution.method import Bench, Found, models_bill
from merit_opt.attribution.neighbours import require_coefficients, with_layer, with_own
from merit_opt.attribution.ranking import ranked, shown_layers
from merit_opt.data.suite import Suite
from merit_opt.errors import UserError
from merit_opt.recipe.recipe import PARTS, LayerMerge, Part, Recipe
from merit_opt.recipe.rules import Rule

NAME = "leave_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveOut:
    """TR and TP of the recipe's neighbours, against the recipe.

    Attributes:
        add_at: Coefficient of a layer that is added, of the parts that the recipe merges
            anywhere; None adds none.
    """

    add_at: float | None

    def __post_init__(self) -> None:
        if self.add_at is not None:
            require_coefficients("method.add_at", [self.add_at])

    def require(self, recipe: Recipe, anatomy: Anatomy, suite: Suite) -> None:
        """See `Method.require`."""
        if not recipe.merged_layers:
            raise UserError(
                "the recipe merges no layer, so none can be left out; give another recipe, or "
                "method=scan to add layers to the unmerged VLM"
            )

    def bill(self, recipe: Recipe, anatomy: Anatomy, suite: Suite) -> str:
        """See `Method.bill`."""
        return models_bill(1 + len(self._neighbours(recipe)), suite)

    def run(self, bench: Bench) -> Found:
        """See `Method.run`."""
        neighbours = self._neighbours(bench.recipe)
        plans = {place: Plan(place.name, recipe) for place, recipe in neighbours.items()}
        whole = bench.engine.evaluate(bench.recipe, bench.suite)
        found = measured(bench, list(plans.values()), "leaving layers out")
        rows = compared(bench, plans, found, {"merged": whole})
        return Found(
            tables={NAME: rows},
            summary={"layers": ranked(rows)},
            shown=shown_layers("one layer left out or added, against the recipe", rows),
            evaluations=1 + len(plans),
            failed=found.failed,
            left_out=whole.left_out,
        )

    def _neighbours(self, recipe: Recipe) -> dict[Place, Recipe]:
        return {**_without_one(recipe), **self._with_one_more(recipe)}

    def _with_one_more(self, recipe: Recipe) -> dict[Place, Recipe]:
        if self.add_at is None:
            return {}
        parts: tuple[Part, ...] = tuple(
            p for p in PARTS if any(layer.rule(p) for layer in recipe.layers)
        )
        return {
            _place("add", i, parts, self.add_at): with_layer(recipe, i, parts, self.add_at)
            for i, layer in enumerate(recipe.layers)
            if not layer.is_merged
        }


def _without_one(recipe: Recipe) -> dict[Place, Recipe]:
    found: dict[Place, Recipe] = {}
    for i in recipe.merged_layers:
        merged: dict[Part, Rule] = {
            p: rule for p in PARTS if (rule := recipe.layers[i].rule(p)) is not None
        }
        coefficients = {rule.coefficient for rule in merged.values()}
        coefficient = coefficients.pop() if len(coefficients) == 1 else None
        found[_place("drop", i, tuple(merged), coefficient)] = with_own(recipe, i, LayerMerge())
    return found


def _place(variant: str, layer: int, parts: tuple[Part, ...], coefficient: float | None) -> Place:
    return Place(NAME, variant, "merged", layer, "+".join(parts), None, coefficient)
