"""The recipe as a layer strip, beside every profile over depth that is known."""

from collections.abc import Iterator, Mapping, Sequence

from merit_opt.recipe.recipe import PARTS, Part, Recipe
from merit_opt.reporting.blocks import Block, Picture, Section, TableBlock, Text
from merit_opt.reporting.facts import LayerValue, Row, StudyFacts
from merit_opt.reporting.figures.layers import Panel, Profiles, Series, Strip, draw_profiles
from merit_opt.reporting.tables import Cell, Column, Estimate, Table

UNITS = ("accuracy", "per coefficient", "probability")
ROLES = ("TR", "TP")
MOST_PANELS = 9
TITLES: Mapping[str, str] = {
    "scan": "scan",
    "gradient": "gradient",
    "mask": "mask",
    "leave_out": "leave out",
}


def depth(facts: StudyFacts) -> Section:
    """The page's third section."""
    return Section("recipe", "The recipe, layer by layer", tuple(_blocks(facts)))


def _blocks(facts: StudyFacts) -> Iterator[Block]:
    best = facts.study.best
    if best is None:
        yield Text("There is no recipe to show: no trial that could win is complete.", "notice")
        return
    panels = _panels(facts)
    yield Picture(
        name="layers",
        title=f"Trial {best.number}, recipe {best.recipe.digest}",
        caption=(
            "Coefficient by layer: 0 (an empty cell) keeps the VLM's weights, 1 takes the backbone's. "
            f"Shaded below: the layers that the recipe merges. {' '.join(_read(facts))}"
        ),
        alt=f"Layers merged: {', '.join(map(str, best.recipe.merged_layers)) or 'none'}.",
        data=Profiles(
            n_layers=len(best.recipe.layers),
            merged=best.recipe.merged_layers,
            strips=strips(best.recipe),
            panels=tuple(panels[:MOST_PANELS]),
        ),
        draw=draw_profiles,
    )
    if facts.attribution.layers:
        yield TableBlock(_table(facts.attribution.layers), is_long=True)
    elif hint := facts.commands.get("attribute"):
        yield Text(
            f"Nothing was measured layer by layer with this recipe yet. To add it: {hint}",
            "notice",
        )
    if facts.attribution.sets:
        yield TableBlock(_sets(facts.attribution.sets))


def _read(facts: StudyFacts) -> Iterator[str]:
    """How each kind of panel is read."""
    methods = {row["method"] for row in facts.attribution.layers}
    known = {
        "scan": "Scan: this layer alone is merged.",
        "mask": "Mask: the layer's part is replaced.",
        "gradient": "Gradient: of the score with respect to the layer's coefficient.",
        "leave_out": "Leave out: the layer is taken from the recipe, or added to it.",
    }
    yield from (words for method, words in known.items() if method in methods)
    if methods:
        yield "Bars are 95 % intervals, not corrected for the number of layers."


def strips(recipe: Recipe) -> tuple[Strip, ...]:
    """A strip for every part that is merged, and for attention in any case."""
    shown: list[Part] = [p for p in PARTS if p == "attention" or recipe.coefficients(p)]
    return tuple(
        Strip(part, tuple(recipe.coefficients(part).get(i) for i in range(len(recipe.layers))))
        for part in shown
    )


def _panels(facts: StudyFacts) -> list[Panel]:
    return [*_attributed(facts.attribution.layers), *_prior(facts), *_distance(facts.distances)]


def _attributed(rows: Sequence[Row]) -> Iterator[Panel]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.get("head_group") is None and row["role"] in ROLES:
            key = (row["method"], row.get("variant") or "", row.get("model") or "", row["part"])
            groups.setdefault(key, []).append(row)
    for (method, variant, model, part), own in groups.items():
        unit = next((u for u in UNITS if any(r.get("unit", UNITS[0]) == u for r in own)), "")
        kept = _strongest([r for r in own if r.get("unit", UNITS[0]) == unit])
        if kept:
            words = [TITLES.get(method, method), variant, f"{model} model" if model else "", part]
            yield Panel(
                title=" · ".join(word.replace("_", " ") for word in words if word),
                unit={"accuracy": "Δ accuracy", "probability": "Δ probability"}.get(unit, unit),
                series=tuple(_series(role, kept) for role in ROLES if _of(role, kept)),
            )


def _strongest(rows: list[Row]) -> list[Row]:
    """Those of the greatest coefficient, where several were tried."""
    known = [row["coefficient"] for row in rows if row.get("coefficient") is not None]
    return [r for r in rows if not known or r.get("coefficient") == max(known)]


def _of(role: str, rows: Sequence[Row]) -> list[Row]:
    found = [row for row in rows if row["role"] == role and row["difference"] is not None]
    return sorted(found, key=lambda row: row["layer"])


def _series(role: str, rows: Sequence[Row]) -> Series:
    own = _of(role, rows)
    has_ends = all(row.get("low") is not None and row.get("high") is not None for row in own)
    return Series(
        label=role,
        layers=tuple(int(row["layer"]) for row in own),
        values=tuple(float(row["difference"]) for row in own),
        lows=tuple(float(row["low"]) for row in own) if has_ends else (),
        highs=tuple(float(row["high"]) for row in own) if has_ends else (),
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
            title="distance of the backbone from the VLM (no sign of worth)",
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


def _table(rows: Sequence[Row]) -> Table:
    columns = (
        Column("method", "method"),
        Column("variant", "variant"),
        Column("model", "model"),
        Column("layer", "layer", "count"),
        Column("part", "part"),
        Column("coefficient", "coefficient", "number"),
        Column("role", "role"),
        Column("n", "n", "count"),
        Column("difference", "difference", "signed"),
        Column("p", "p", "p"),
        Column("unit", "unit"),
    )
    cells = tuple(
        tuple(_ends(row) if c.key == "difference" else row.get(c.key) for c in columns)
        for row in rows
    )
    note = "A positive difference: the intervention raises the role's score."
    return Table("attribution-layers", "Interventions on layers", columns, cells, note)


def _ends(row: Row) -> Cell:
    if row.get("low") is None or row.get("high") is None:
        return row["difference"]
    return Estimate(row["difference"], row["low"], row["high"])


def _sets(rows: Sequence[Row]) -> Table:
    """Selected layers against random and unselected ones: means over the draws."""
    columns = (
        Column("variant", "variant"),
        Column("model", "model"),
        Column("set", "layers masked"),
        Column("draws", "draws", "count"),
        Column("TR", "TR change", "signed"),
        Column("TP", "TP change", "signed"),
    )
    groups: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for row in rows:
        if row["difference"] is not None:
            key = (row["variant"], row["model"], row["set"])
            groups.setdefault(key, {}).setdefault(row["role"], []).append(row["difference"])
    cells = tuple(
        (*key, max(map(len, own.values())), _mean(own.get("TR")), _mean(own.get("TP")))
        for key, own in groups.items()
    )
    return Table("attribution-sets", "Masking whole sets of layers", columns, cells)


def _mean(values: Sequence[float] | None) -> float | None:
    return sum(values) / len(values) if values else None
