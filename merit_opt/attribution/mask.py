"""Layers put out of action, one by one and as sets, in the unmerged and in the merged model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

from merit_opt.attribution.anatomy import Anatomy
from merit_opt.attribution.contribution import contributions
from merit_opt.attribution.effects import (
    Measured,
    Place,
    Plan,
    compared,
    measured,
    plain_changes,
)
from merit_opt.attribution.layer_sets import (
    FEWEST,
    Layers,
    LayerSets,
    contrasts,
    draw_sets,
    require_draws,
)
from merit_opt.attribution.method import Bench, Found, Model, models_bill
from merit_opt.attribution.ranking import ranked, shown_layers
from merit_opt.data.suite import Suite
from merit_opt.errors import UserError
from merit_opt.evaluation.evaluation import Evaluation
from merit_opt.evaluation.masking import Masking
from merit_opt.recipe.intervention import How, Intervention, MaskedPart
from merit_opt.recipe.recipe import Recipe

NAME, SETS = "mask", "mask_sets"
AGAINST = (("random", "random sets"), ("unselected", "sets of unmerged layers"))

References = Mapping[Model, Evaluation]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """TR and TP with a module of some layers masked, against the same model unmasked.

    Attributes:
        variants: What takes the module's place; see `Intervention.how`. `revert` is of modules
            that the recipe merges, in its own model, one layer at a time.
        models: Which models are masked.
        parts: Attention, MLP or both, each alone.
        head_groups: Whether each key/value head with its query heads is masked alone, too.
        layers: Which are masked one by one; None is all.
        random_sets: How many sets, of as many layers as the recipe merges, the selected ones are
            compared with: 0, or at least 20.
    """

    variants: tuple[How, ...]
    models: tuple[Model, ...]
    parts: tuple[MaskedPart, ...]
    head_groups: bool
    layers: tuple[int, ...] | None
    random_sets: int

    def __post_init__(self) -> None:
        for name in ("variants", "models", "parts"):
            if not getattr(self, name):
                raise UserError(f"method.{name} names at least one, got none")
        require_draws(self.random_sets)

    def require(self, recipe: Recipe, anatomy: Anatomy, suite: Suite) -> None:
        """See `Method.require`."""
        anatomy.chosen(self.layers)
        if "merged" in self.models and not recipe.merged_layers:
            raise UserError(
                "the recipe merges no layer, so there is no merged model to mask; give "
                "method.models=[base] method.variants=[inverse_width,zero,mean]"
            )
        if "revert" in self.variants and "merged" not in self.models:
            raise UserError(
                "method.variants=revert gives merged layers the VLM's weights back, and "
                "method.models leaves the merged model out; add merged, or leave out revert"
            )
        if self.variants == ("revert",) and not any(_reverts(recipe, p) for p in self.parts):
            raise UserError(
                f"the recipe merges {' and '.join(self.parts)} of no layer, so nothing can be "
                "reverted; choose other method.parts"
            )

    def bill(self, recipe: Recipe, anatomy: Anatomy, suite: Suite) -> str:
        """See `Method.bill`."""
        sets = draw_sets(anatomy.n_layers, recipe.merged_layers, self.random_sets, seed=0)
        drawn = sum(map(len, sets.by_kind().values())) if sets else 0
        places = sum(1 for _ in self._places(recipe, anatomy))
        grouped = drawn * sum(1 for _ in self._grouped())
        return models_bill(len(self.models) + places + grouped, suite)

    def run(self, bench: Bench) -> Found:
        """See `Method.run`."""
        sets = draw_sets(
            bench.anatomy.n_layers, bench.recipe.merged_layers, self.random_sets, bench.seed
        )
        self._tell_of_lost(bench)
        single = dict(self._single(bench))
        grouped = list(self._set_plans(bench, sets))
        references: References = {
            m: bench.engine.evaluate(bench.of(m), bench.suite) for m in self.models
        }
        plans = [*single.values(), *(plan for _, plan in grouped)]
        found = measured(bench, plans, "masking layers")
        rows = compared(bench, single, found, references)
        set_rows = list(_set_rows(bench, grouped, found, references))
        lost = [facts for facts, plan in grouped if plan.name in found.failed]
        against = contrasts(set_rows, lost)
        summary = {
            "layers": ranked(rows),
            "contributions": contributions(rows, bench.seed),
            "sets": against,
        }
        shown = shown_layers("masked, against the same model unmasked", rows)
        return Found(
            tables={NAME: rows, SETS: set_rows},
            summary=summary,
            shown=replace(shown, lines=(*shown.lines, *self._lines(sets, against))),
            evaluations=len(references) + len(plans),
            failed=found.failed,
            left_out=references[self.models[0]].left_out,
        )

    def _tell_of_lost(self, bench: Bench) -> None:
        """Of search samples that no mean is taken over."""
        if "mean" in self.variants and (lost := bench.engine.left_out(bench.search)):
            bench.reporter.warn(
                f"{len(lost)} of {len(bench.search.samples)} search samples cannot be asked, and "
                f"means are taken over the others: {next(iter(lost.values()))}"
            )

    def _single(self, bench: Bench) -> Iterator[tuple[Place, Plan]]:
        """One layer at a time."""
        for place, masked in self._places(bench.recipe, bench.anatomy):
            yield place, Plan(place.name, bench.of(place.model), Masking(masked, bench.search))

    def _places(self, recipe: Recipe, anatomy: Anatomy) -> Iterator[tuple[Place, Intervention]]:
        for how, model, part in product(self.variants, self.models, self.parts):
            for layer in self._layers(recipe, anatomy, how, model, part):
                for group in self._groups(anatomy, layer, part):
                    place = Place(NAME, how, model, layer, part, group)
                    yield place, Intervention((layer,), part, how, group)

    def _groups(self, anatomy: Anatomy, layer: int, part: MaskedPart) -> Sequence[int | None]:
        """The whole module, and each of its groups of heads where that is wanted."""
        if not self.head_groups or part != "attention":
            return [None]
        return [None, *range(anatomy.head_groups[layer])]

    def _layers(
        self, recipe: Recipe, anatomy: Anatomy, how: How, model: Model, part: MaskedPart
    ) -> Layers:
        chosen = anatomy.chosen(self.layers)
        if how != "revert":
            return chosen
        reverts = _reverts(recipe, part) if model == "merged" else ()
        return tuple(i for i in chosen if i in reverts)

    def _grouped(self) -> Iterator[tuple[How, Model, MaskedPart]]:
        """What sets are masked by, in which models."""
        hows: list[How] = [how for how in self.variants if how != "revert"]
        return product(hows, self.models, self.parts)

    def _set_plans(
        self, bench: Bench, sets: LayerSets | None
    ) -> Iterator[tuple[dict[str, Any], Plan]]:
        """What tells the rows of a set apart, and how it is measured."""
        for how, model, part in self._grouped():
            for kind, drawn in (sets.by_kind() if sets else {}).items():
                for draw, layers in enumerate(drawn):
                    name = f"{how} {part} of layers {list(layers)} ({model})"
                    mask = Masking(Intervention(layers, part, how), bench.search)
                    facts = {"variant": how, "model": model, "part": part}
                    own = {"set": kind, "draw": draw, "layers": list(layers)}
                    yield facts | own, Plan(name, bench.of(model), mask)

    def _lines(
        self, sets: LayerSets | None, against: Sequence[Mapping[str, Any]]
    ) -> Iterator[str]:
        if self.random_sets and sets is None:
            yield "the recipe merges every layer or none: there are no other sets to compare with"
        if sets is not None:
            yield from _few(sets)
        for one in (one for one in against if one["unit"] == "accuracy"):
            yield _contrast_line(one)


def _few(sets: LayerSets) -> Iterator[str]:
    """Where there are too few sets of a kind to say much."""
    for drawn, where in ((sets.random, ""), (sets.unselected, " that the recipe does not merge")):
        if len(drawn) < FEWEST:
            yield (
                f"there are but {len(drawn)} other sets of {len(sets.selected)} layers{where}, and all "
                f"were measured: p against them is {1 / (1 + len(drawn)):.2g} at the least"
            )


def _reverts(recipe: Recipe, part: MaskedPart) -> tuple[int, ...]:
    return tuple(i for i, layer in enumerate(recipe.layers) if layer.rule(part) is not None)


def _set_rows(
    bench: Bench,
    grouped: Sequence[tuple[dict[str, Any], Plan]],
    found: Measured,
    references: References,
) -> Iterator[dict[str, Any]]:
    columns = ("role", "n", "reference", "score", "difference", "unit")
    for facts, plan in grouped:
        change = partial(plain_changes, references[facts["model"]], suite=bench.suite)
        for one in found.told(plan.name, change):
            yield facts | {column: getattr(one, column) for column in columns}


def _contrast_line(one: Mapping[str, Any]) -> str:
    own = one["selected"]
    against = "; ".join(_against(one[kind], words) for kind, words in AGAINST)
    return (
        f"{one['variant']} {one['part']} of the recipe's layers ({one['model']}): {_changes(own)}; "
        f"{against}"
    )


def _against(drawn: Mapping[str, Any], words: str) -> str:
    if drawn["mean"] is None:
        return f"no {words} were measured"
    failed = f" ({drawn['failed']} more failed: drops as great)" if drawn["failed"] else ""
    return (
        f"{drawn['sets']} {words}{failed}: {_changes(drawn['mean'])} on average, p = "
        f"{drawn['p']['TR']:.2g} for TR, {drawn['p']['TR - TP']:.2g} for TR beyond TP"
    )


def _changes(drops: Mapping[str, Any]) -> str:
    told = f"TR {-drops['TR']:+.3f}, TP {-drops['TP']:+.3f}"
    return told if drops["ratio"] is None else f"{told}, ratio {drops['ratio']:.2g}"
