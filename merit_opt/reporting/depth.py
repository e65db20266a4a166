"""The recipe as a layer strip, beside every profile over depth that is known."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from merit_opt.recipe.recipe import PARTS, Part, Recipe
from merit_opt.reporting.blocks import Block, Picture, Section, TableBlock, Text, slug
from merit_opt.reporting.claims import masking
from merit_opt.reporting.facts import LayerValue, Row, StudyFacts
from merit_opt.reporting.figures.layers import Panel, Profiles, Series, Strip, draw_profiles
from merit_opt.reporting.interventions import (
    LEAVE_OUT,
    READ,
    Key,
    effects_table,
    masked,
    panels,
    principal,
    scans,
    summary_tables,
)
from merit_opt.tracking.record import TrialRecord


def depth(facts: StudyFacts) -> Section:
    """The page's third section."""
    return Section("recipe", "The recipe, layer by layer", tuple(_blocks(facts)))


def _blocks(facts: StudyFacts) -> Iterator[Block]:
    best, rows = facts.study.best, facts.attribution.layers
    if best is None:
        yield Text("There is no recipe to show: no trial that could win is complete.", "notice")
        return
    found = list(panels(rows))
    beside = [*principal(_marked(found, facts)), *_prior(facts), *_distance(facts.distances)]
    yield _picture("layers", f"Trial {best.number}, recipe {best.recipe.digest}", best, beside)
    for part, own in scans(rows).items():
        title = f"Each layer's {part} merged alone, at every coefficient of the scan"
        yield _picture(f"scan-{slug(part)}", title, best, own)
    for part, own in masked(found).items():
        yield _picture(f"masks-{slug(part)}", f"Every mask of {part}", best, own)
    if methods := {row["method"] for row in rows}:
        told = [words for method, words in READ.items() if method in methods]
        yield Text(f"{' '.join(told)} Bars are 95 % intervals, not corrected for their number.")
    if words := masking(facts.attribution):
        yield Text(words)
    yield from (TableBlock(table) for table in summary_tables(facts.attribution))
    if rows:
        yield TableBlock(effects_table(rows), is_long=True)
    yield from _to_add(facts)


def _marked(found: Sequence[tuple[Key, Panel]], facts: StudyFacts) -> list[tuple[Key, Panel]]:
    """With what tells a panel from those beside it: fewer layers, or other samples."""
    runs = facts.attribution.methods
    where = {key[0]: runs.get(key[0], {}).get("provenance", {}) for key, _ in found}
    told = {method: _place(own) for method, own in where.items() if own.get("samples")}
    differ = len({own["samples"] for own in where.values() if own.get("samples")}) > 1
    marked: list[tuple[Key, Panel]] = []
    for key, panel in found:
        layers = len({layer for series in panel.series for layer in series.layers})
        is_part = key[0] != LEAVE_OUT and layers < facts.n_layers
        marks = [f"{layers} of {facts.n_layers} layers"] if is_part else []
        marks += [told[key[0]]] if differ and key[0] in told else []
        title = "\n".join([panel.title, " · ".join(marks)]) if marks else panel.title
        marked.append((key, replace(panel, title=title)))
    return marked


def _place(where: Row) -> str:
    return f"suite {where.get('suite')}, {where.get('split')}, samples {where['samples']}"


def _to_add(facts: StudyFacts) -> Iterator[Text]:
    """What can still be measured on layers, and how."""
    hint = facts.commands.get("attribute", "")
    measured = {row["method"] for row in facts.attribution.layers}
    left = [method for method in READ if method not in measured]
    if not hint or not left:
        return
    if measured:
        head = hint.partition(" method=")[0]
        words = f"Not measured yet: method={', '.join(left)}. To add one"
        yield Text(f"{words}: {head} method={left[0]}")
    else:
        words = "Nothing was measured layer by layer with this recipe yet. To add it"
        yield Text(f"{words}: {hint}", "notice")


def _picture(
    name: str, title: str, best: TrialRecord, beside: Sequence[Panel]
) -> Picture[Profiles]:
    below = " Shaded below: the layers that the recipe merges." if beside else ""
    return Picture(
        name=name,
        title=title,
        caption=(
            "Coefficient by layer: 0 (an empty cell) keeps the VLM's weights, 1 takes the backbone's."
            + below
        ),
        alt=f"Layers merged: {', '.join(map(str, best.recipe.merged_layers)) or 'none'}.",
        data=Profiles(
            n_layers=len(best.recipe.layers),
            merged=best.recipe.merged_layers,
            strips=strips(best.recipe),
            panels=tuple(beside),
        ),
        draw=draw_profiles,
    )


def strips(recipe: Recipe) -> tuple[Strip, ...]:
    """A strip for every part that is merged, and for attention in any case."""
    shown: list[Part] = [p for p in PARTS if p == "attention" or recipe.coefficients(p)]
    return tuple(
        Strip(part, tuple(recipe.coefficients(part).get(i) for i in range(len(recipe.layers))))
        for part in shown
    )


def _prior(facts: StudyFacts) -> Iterator[Panel]:
    """What the search itself was told of layers before it began."""
    prior = (facts.result or {}).get("prior")
    if prior:
        sides = {"TR": prior["reasoning"], "TP": prior["perception"]}
        yield Panel(
            title=f"before the search: {prior['source']}",
            unit="Δ score" if prior["source"] == "scan" else "slope",
            series=tuple(
                Series(role, tuple(range(len(values))), tuple(values))
                for role, values in sides.items()
            ),
        )


def _distance(values: Sequence[LayerValue]) -> Iterator[Panel]:
    parts = [part for part in PARTS if any(v.part == part for v in values)]
    if parts:
        yield Panel(
            title="distance |backbone - VLM| / |VLM| of the weights (no sign of worth)",
            unit="relative",
            series=tuple(
                Series(
                    part,
                    tuple(v.layer for v in values if v.part == part),
                    tuple(v.value for v in values if v.part == part),
                )
                for part in parts
            ),
        )
