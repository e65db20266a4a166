"""What a little of the backbone would do, layer by layer: the first-order screen as a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from merit_opt.attribution.anatomy import Anatomy
from merit_opt.attribution.effects import ROLES, Change, Place, row
from merit_opt.attribution.method import Bench, Found, Model, Shown
from merit_opt.data.suite import Suite
from merit_opt.errors import UserError
from merit_opt.evaluation.margins import require_margins
from merit_opt.evaluation.screen import Screen
from merit_opt.recipe.recipe import Part, Recipe

NAME = "gradient"
UNIT = "per coefficient"
SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """Derivatives of mean margins with respect to each part's coefficient in each layer.

    At the unmerged VLM and where the recipe has led; towards the backbone in a straight line,
    whatever the recipe's rules.

    Attributes:
        models: Where they are taken.
        parts: Each alone.
    """

    models: tuple[Model, ...]
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if not self.models:
            raise UserError("method.models are base, merged or both; got none")

    def require(self, recipe: Recipe, anatomy: Anatomy, suite: Suite) -> None:
        """See `Method.require`."""
        anatomy.require_parts(self.parts)
        require_margins(suite, "method=gradient")

    def bill(self, recipe: Recipe, anatomy: Anatomy, suite: Suite) -> str:
        """See `Method.bill`."""
        models = len(self._models(recipe))
        return (
            f"slopes of {models} models, each as dear as 5 of {len(suite.samples)} questions each"
        )

    def run(self, bench: Bench) -> Found:
        """See `Method.run`."""
        screens: dict[Model, Screen] = {
            model: bench.engine.screen(bench.of(model), bench.suite, self.parts)
            for model in self._models(bench.recipe)
        }
        rows = [
            row(Place(NAME, "margin", model, layer, part), change)
            for model, screen in screens.items()
            for part in self.parts
            for layer in range(bench.anatomy.n_layers)
            for change in _slopes(screen, layer, part)
        ]
        summary = {
            model: {"margins": dict(s.margins), "bill": round(s.bill, 2)}
            for model, s in screens.items()
        }
        lost = bench.engine.left_out(bench.suite)
        return Found({NAME: rows}, summary, _shown(rows), len(screens), left_out=lost)

    def _models(self, recipe: Recipe) -> list[Model]:
        return [model for model in self.models if model == "base" or recipe.merged_layers]


def _slopes(screen: Screen, layer: int, part: Part) -> list[Change]:
    return [
        Change(
            role=role,
            n=screen.samples[role],
            reference=screen.margins[role],
            score=screen.margins[role] + slope,
            difference=slope,
            low=None,
            high=None,
            p=None,
            unit=UNIT,
        )
        for role in ROLES
        if role in screen.slopes
        for slope in [screen.of(role, layer, [part])]
    ]


def _shown(rows: list[dict[str, Any]]) -> Shown:
    places: dict[tuple[Any, ...], dict[str, Mapping[str, Any]]] = {}
    for one in rows:
        places.setdefault((one["model"], one["part"], one["layer"]), {})[one["role"]] = one
    order = sorted(places.items(), key=lambda item: -abs(item[1]["TR"]["difference"]))
    told = tuple(
        (model, part, str(layer), *(f"{own[role]['difference']:+.3f}" for role in ROLES))
        for (model, part, layer), own in order[:SHOWN]
    )
    return Shown(
        "slope of the mean margin, per coefficient",
        ("model", "part", "layer", "TR", "TP"),
        told,
        ("a slope promises what a small step towards the backbone gives; no interval is known",),
    )
