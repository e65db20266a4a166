"""What the search did: values over trials, both gains, and which layers matter to it."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from merit_opt.reporting.blocks import Block, Picture, Section, TableBlock, Text
from merit_opt.reporting.facts import LayerValue, StudyFacts
from merit_opt.reporting.figures.trials import (
    HeldOut,
    LayerBars,
    Point,
    Trials,
    corner,
    draw_bars,
    draw_gains,
    draw_held_out,
    draw_values,
    floor,
)
from merit_opt.reporting.surrogate import Surrogate, surrogate
from merit_opt.reporting.tables import Cell, Column, Table
from merit_opt.tracking.record import TrialRecord

TOP = 0.1
FEWEST_TOP = 3
UNIT = "value maximised"


def progress(facts: StudyFacts) -> Section:
    """The page's fourth section."""
    return Section("search", "The search", tuple(_blocks(facts)))


def _blocks(facts: StudyFacts) -> Iterator[Block]:
    records = facts.study.trials
    if not records:
        yield Text("No trial has ended yet.", "notice")
        return
    data = trials(facts)
    yield from _drawn(data)
    yield from _layer_blocks(facts, records)
    yield TableBlock(_table(records, facts.score), is_long=True)


def _drawn(data: Trials) -> Iterator[Block]:
    if not data.points:
        yield Text(
            f"No trial was measured in full: {len(data.pruned)} were stopped early and "
            f"{len(data.failed)} failed, so there is nothing to draw.",
            "notice",
        )
        return
    below = sum(point.value < floor(data) for point in data.points)
    less = f" {below} lie below the axis and are drawn at its edge." if below else ""
    yield Picture(
        name="trials",
        title="Value over trials",
        caption=(
            f"What the search maximises, of every trial, controls marked; 0 is the VLM as it is.{less}"
        ),
        alt="Value of each trial by its number, with the best so far as a line.",
        data=data,
        draw=draw_values,
    )
    tp, tr = corner(data)
    below = sum((p.TP or 0.0) < tp or (p.TR or 0.0) < tr for p in data.points)
    less = f" {below} lie outside and are drawn at the edge." if below else ""
    yield Picture(
        name="gains",
        title="TR against TP",
        caption=(
            "Accuracy on the samples that the search sees. On the front no other trial is better in "
            f"both.{less}"
        ),
        alt="TR accuracy against TP accuracy of each trial, with the front of the best.",
        data=data,
        draw=draw_gains,
    )


def trials(facts: StudyFacts) -> Trials:
    """The trials as they are drawn."""
    records = facts.study.trials
    points = tuple(_point(r) for r in records if r.state == "COMPLETE" and _is_finite(r.value))
    best = facts.study.best
    return Trials(
        points=points,
        best=tuple(best_so_far(records)),
        pruned=tuple(r.number for r in records if r.state == "PRUNED"),
        failed=tuple(r.number for r in records if r.state == "FAIL"),
        winner=None if best is None else best.number,
        front=facts.study.front or undominated(points),
        unit=_unit(facts),
    )


def _unit(facts: StudyFacts) -> str:
    """What the value is, and of which score."""
    of = f", in {facts.score}" if facts.score else ""
    return (UNIT if not facts.study.front else "TR gain + TP gain") + of


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _point(record: TrialRecord) -> Point:
    return Point(
        number=record.number,
        kind=kind(record),
        value=record.value or 0.0,
        TR=record.metrics.get("TR"),
        TP=record.metrics.get("TP"),
        feasible=record.feasible,
    )


def kind(record: TrialRecord) -> str:
    """`proposal`, or the kind of control."""
    if record.role != "control":
        return "proposal"
    name = record.name.partition(":")[0]
    return "random layers" if name == "random-layers" else name


def best_so_far(records: Sequence[TrialRecord]) -> Iterator[tuple[int, float]]:
    """Number and value of each trial that was better than all before it; random layers never are."""
    leading = -math.inf
    for record in records:
        value = record.value
        if value is None or not record.feasible or kind(record) == "random layers":
            continue
        if math.isfinite(value) and value > leading:
            leading = value
            yield record.number, value


def undominated(points: Sequence[Point]) -> tuple[int, ...]:
    """Numbers of the points that no other beats in TR and TP, by falling TR; of equals the first."""
    known = [(p.TR, p.TP, p.number) for p in points if p.TR is not None and p.TP is not None]
    found: list[tuple[float, float, int]] = []
    for one in sorted(known, key=lambda p: (-p[0], -p[1], p[2])):
        if not found or one[1] > found[-1][1]:
            found.append(one)
    return tuple(number for _, _, number in found)


def _layer_blocks(facts: StudyFacts, records: Sequence[TrialRecord]) -> Iterator[Block]:
    marked = facts.study.best.recipe.merged_layers if facts.study.best else ()
    if facts.importances:
        yield _importances(facts.importances, marked)
    else:
        yield Text("Importances need twenty distinct recipes measured in full.", "notice")
    if (bars := stability(records, marked)) is not None:
        yield bars
    fitted = surrogate(records, int((facts.result or {}).get("seed", 0)))
    if fitted is not None:
        yield from _surrogate(fitted, marked)


def _importances(values: Sequence[LayerValue], marked: Sequence[int]) -> Picture[LayerBars]:
    return Picture(
        name="importances",
        title="How much each layer's coefficient matters",
        caption=(
            "PED-ANOVA: for reaching the best tenth of the trials. fANOVA: for the variance of the value "
            "over all of them, which is mostly that of bad recipes. Of what recipes do, not of what the "
            "sampler suggests; each sums to 1."
        ),
        alt="Importance of each layer by PED-ANOVA and by fANOVA.",
        data=_bars(values, marked, "share"),
        draw=draw_bars,
    )


def _bars(values: Sequence[LayerValue], marked: Sequence[int], unit: str) -> LayerBars:
    """By layer; of several parts each has panels of its own."""
    only = len({v.part for v in values}) == 1
    layers = tuple(range(max(v.layer for v in values) + 1))
    series: dict[str, dict[int, float]] = {}
    for v in values:
        series.setdefault(v.method if only else f"{v.method}, {v.part}", {})[v.layer] = v.value
    return LayerBars(
        layers=layers,
        series={name: tuple(own.get(i, 0.0) for i in layers) for name, own in series.items()},
        unit=unit,
        marked=tuple(marked),
    )


def best_tenth(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The best proposals of one another's distinct recipes, three at least; fewer only if so few."""
    complete = {
        r.recipe: r
        for r in records
        if r.state == "COMPLETE" and r.role == "trial" and r.feasible and _is_finite(r.value)
    }
    ranked = sorted(complete.values(), key=lambda r: (-(r.value or 0.0), r.number))
    return ranked[: max(FEWEST_TOP, math.ceil(TOP * len(ranked)))]


def stability(records: Sequence[TrialRecord], marked: Sequence[int]) -> Picture[LayerBars] | None:
    """How often the best recipes merge each layer; None where fewer than three were measured."""
    best = best_tenth(records)
    if len(best) < FEWEST_TOP:
        return None
    n_layers = len(best[0].recipe.layers)
    merged = [set(r.recipe.merged_layers) for r in best]
    shares = tuple(sum(i in own for own in merged) / len(best) for i in range(n_layers))
    return Picture(
        name="stability",
        title=f"Layers that the best {len(best)} recipes merge",
        caption=(
            "The best tenth of the proposals, at least three, by what the search maximises: a layer at "
            "1 is in all of them, one near the middle was free to be either."
        ),
        alt="Share of the best recipes that merge each layer.",
        data=LayerBars(
            layers=tuple(range(n_layers)),
            series={f"share of the best {len(best)} recipes": shares},
            unit="share",
            marked=tuple(marked),
        ),
        draw=draw_bars,
    )


def _surrogate(fitted: Surrogate, marked: Sequence[int]) -> Iterator[Picture[Any]]:
    trust = "" if fitted.r2 > 0.0 else " It predicts worse than the mean: do not believe it."
    yield Picture(
        name="surrogate",
        title="What a surrogate predicts of trials it has not seen",
        caption=(
            f"Extremely randomised trees over all coefficients, 5-fold cross-validated on "
            f"{len(fitted.measured)} distinct recipes, controls that merge no other parts among "
            f"them: held-out R² "
            f"{fitted.r2:.2f}.{trust}"
        ),
        alt="Predicted against measured values.",
        data=HeldOut(fitted.measured, fitted.predicted, fitted.r2, "value"),
        draw=draw_held_out,
    )
    name = f"effect on the value (held-out R² {fitted.r2:.2f})"
    values = [LayerValue(name, part, i, v) for (part, i), v in fitted.effects.items()]
    yield Picture(
        name="effects",
        title="What the surrogate makes of each layer",
        caption=(
            "Mean change of the predicted value over all trials when the layer is merged as far as any "
            f"trial did, instead of not at all. The surrogate's held-out R² is {fitted.r2:.2f}.{trust}"
        ),
        alt="Predicted effect of merging each layer.",
        data=_bars(values, marked, "Δ value"),
        draw=draw_bars,
    )


def _table(records: Sequence[TrialRecord], score: str) -> Table:
    columns = (
        Column("trial", "trial", "count"),
        Column("name", "name"),
        Column("state", "state"),
        Column("value", "value", "signed"),
        Column("TR", "TR", "share"),
        Column("TP", "TP", "share"),
        Column("layers", "layers merged", "count"),
        Column("recipe", "recipe"),
        Column("seconds", "seconds", "number"),
        Column("why", "why it failed"),
    )
    return Table(
        "trials",
        "The one trial" if len(records) == 1 else f"All {len(records)} trials",
        columns,
        tuple(map(_trial, records)),
        f"The value is what the search maximises{f', in {score}' if score else ''}. TR and TP are "
        "accuracies on the samples that the search sees.",
    )


def _trial(record: TrialRecord) -> tuple[Cell, ...]:
    return (
        record.number,
        record.name or ("proposal" if record.role == "trial" else "control"),
        record.state,
        record.value,
        record.metrics.get("TR"),
        record.metrics.get("TP"),
        len(record.recipe.merged_layers),
        record.recipe.digest,
        round(record.seconds.get("total", math.nan), 3),
        record.why or None,
    )
