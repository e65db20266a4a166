"""The search: values over trials, both gains, importances, and what a surrogate makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from merit_opt.reporting.style import colour, ink, pale

WIDTH = 4.8
MARKERS = {"base": "s", "backbone": "P", "uniform": "D", "full": "X", "random layers": "v"}


@dataclass(frozen=True, slots=True)
class Point:
    """A trial that was measured in full.

    Attributes:
        number: Of the trial.
        kind: `proposal`, or the kind of control.
        value: What the search optimises.
        TR: Accuracy on the search samples.
        TP: Likewise.
        feasible: Whether it keeps to the constraints.
    """

    number: int
    kind: str
    value: float
    TR: float | None
    TP: float | None
    feasible: bool = True


@dataclass(frozen=True, slots=True)
class Trials:
    """What happened trial by trial.

    Attributes:
        points: By number.
        best: Number and value of each trial that was the best so far.
        pruned: Numbers of those that were stopped early.
        failed: Numbers of those that failed.
        winner: The winner's number; None without one.
        front: Numbers of the trials on the front of TR and TP, by falling TR.
        unit: What the value is.
    """

    points: tuple[Point, ...]
    best: tuple[tuple[int, float], ...]
    pruned: tuple[int, ...]
    failed: tuple[int, ...]
    winner: int | None
    front: tuple[int, ...]
    unit: str


def draw_values(data: Trials) -> Figure:
    """Value over trial number; what lies far below is drawn at the lower edge."""
    figure = Figure(figsize=(WIDTH, 3.3))
    axis = figure.subplots()
    low = floor(data)
    for kind, points in _kinds(data.points):
        _scatter(axis, kind, [p.number for p in points], [max(p.value, low) for p in points])
    if data.best:
        ends = [*data.best, (_last(data), data.best[-1][1])]
        axis.step(*zip(*ends, strict=True), where="post", color=colour(0), label="best so far")
    for point in data.points:
        if point.number == data.winner:
            _star(axis, point.number, max(point.value, low))
    _edge_marks(axis, "stopped early", data.pruned, "|", low)
    _edge_marks(axis, "failed", data.failed, "x", low)
    top = max((p.value for p in data.points), default=1.0)
    margin = 0.06 * ((top - low) or 1.0)
    axis.set_ylim(low - margin, top + margin)
    axis.set_xlabel("trial")
    axis.set_ylabel(data.unit)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend_below(figure)
    return figure


def floor(data: Trials) -> float:
    """Where the axis of values begins: at the worst of the better half, and below zero."""
    values = sorted((p.value for p in data.points), reverse=True)
    if not values:
        return 0.0
    half = [*values[: max(1, (len(values) + 1) // 2)], 0.0]
    span = (max(half) - min(half)) or 1.0
    return max(values[-1], min(half) - 0.35 * span) if values[-1] < 0.0 else min(0.0, values[-1])


def _last(data: Trials) -> int:
    return max([p.number for p in data.points] + [*data.pruned, *data.failed], default=0)


def _kinds(points: Sequence[Point]) -> list[tuple[str, list[Point]]]:
    """Proposals first, then controls in the order of `MARKERS`."""
    kinds = ["proposal", *MARKERS]
    found = [(kind, [p for p in points if p.kind == kind]) for kind in kinds]
    return [(kind, own) for kind, own in found if own]


def _scatter(axis: Axes, kind: str, x: Sequence[float], y: Sequence[float]) -> None:
    if kind == "proposal":
        axis.scatter(x, y, s=12, color=colour(0), alpha=0.55, linewidth=0, label="proposal")
        return
    i = 1 + list(MARKERS).index(kind)
    axis.scatter(x, y, s=26, color=colour(i), marker=MARKERS[kind], label=kind, linewidth=0)


def _star(axis: Axes, x: float, y: float) -> None:
    axis.scatter(
        [x],
        [y],
        s=130,
        marker="*",
        color=colour(1),
        edgecolor=ink(),
        linewidth=0.6,
        label="winner",
        zorder=5,
    )


def _edge_marks(
    axis: Axes, label: str, numbers: Sequence[int], marker: str, height: float
) -> None:
    if numbers:
        heights = [height] * len(numbers)
        axis.scatter(numbers, heights, s=22, color=pale(), marker=marker, label=label, linewidth=1)


def _legend_below(figure: Figure, columns: int = 4) -> None:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def draw_gains(data: Trials) -> Figure:
    """TR against TP with the front that no trial beats in both."""
    figure = Figure(figsize=(WIDTH, 3.9))
    axis = figure.subplots()
    shown = [p for p in data.points if p.TR is not None and p.TP is not None]
    least_tp, least_tr = corner(data)
    for kind, points in _kinds(shown):
        x = [max(p.TP or 0.0, least_tp) for p in points]
        _scatter(axis, kind, x, [max(p.TR or 0.0, least_tr) for p in points])
    by_number = {p.number: p for p in shown}
    front = [by_number[n] for n in data.front if n in by_number]
    if front:
        axis.step(
            [p.TP or 0.0 for p in front],
            [p.TR or 0.0 for p in front],
            where="pre",
            color=colour(2),
            label="front",
            marker="o",
            markersize=3,
        )
    if data.winner in by_number:
        best = by_number[data.winner]
        _star(axis, best.TP or 0.0, best.TR or 0.0)
    axis.set_xlabel("TP accuracy, search samples")
    axis.set_ylabel("TR accuracy, search samples")
    _legend_below(figure)
    return figure


def corner(data: Trials) -> tuple[float, float]:
    """Least TP and TR that are shown as they are: of the base and of the better half."""
    ranked = sorted(data.points, key=lambda p: -p.value)
    kept = [p for p in ranked[: (len(ranked) + 1) // 2] if p.TR is not None]
    kept += [p for p in data.points if p.kind == "base"]
    if not kept:
        return 0.0, 0.0
    sides = [p.TP or 0.0 for p in kept], [p.TR or 0.0 for p in kept]
    tp, tr = (min(side) - 0.06 * ((max(side) - min(side)) or 1.0) for side in sides)
    return tp, tr


@dataclass(frozen=True, slots=True)
class LayerBars:
    """Numbers by layer, a panel below another.

    Attributes:
        layers: Decoder layers.
        series: Name -> a number a layer.
        unit: Of the numbers.
        marked: What the winner merges.
    """

    layers: tuple[int, ...]
    series: dict[str, tuple[float, ...]]
    unit: str
    marked: tuple[int, ...]


def draw_bars(data: LayerBars) -> Figure:
    """A panel for each series."""
    figure = Figure(figsize=(WIDTH, 0.7 + 1.2 * len(data.series)))
    axes = figure.subplots(len(data.series), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (name, values) in zip(axes, data.series.items(), strict=True):
        shades = [1.0 if layer in data.marked else 0.4 for layer in data.layers]
        bars = axis.bar(data.layers, values, width=0.75, color=colour(0))
        for bar, shade in zip(bars, shades, strict=True):
            bar.set_alpha(shade)
        axis.axhline(0.0, color=pale(), linewidth=0.8)
        axis.set_title(name, fontsize=8)
        axis.set_ylabel(data.unit, fontsize=8)
        axis.grid(visible=False, axis="x")
        axis.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=14))
    axes[-1].set_xlabel("decoder layer (full colour: merged by the winner)")
    return figure


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A surrogate's predictions of trials that it was not fitted to.

    Attributes:
        measured: Values of trials.
        predicted: What it said, fitted to the others.
        r2: Of these predictions; below 0 it says less than the mean.
        unit: What the values are.
    """

    measured: tuple[float, ...]
    predicted: tuple[float, ...]
    r2: float
    unit: str


def draw_held_out(data: HeldOut) -> Figure:
    """Predicted against measured."""
    figure = Figure(figsize=(WIDTH, 3.2))
    axis = figure.subplots()
    low, high = (f([*data.measured, *data.predicted]) for f in (np.min, np.max))
    axis.plot([low, high], [low, high], color=pale(), linewidth=1, linestyle="--")
    axis.scatter(data.measured, data.predicted, s=12, color=colour(0), alpha=0.6, linewidth=0)
    axis.set_xlabel(f"measured {data.unit}")
    axis.set_ylabel("predicted, held out")
    axis.set_title(f"held-out R² {data.r2:.2f}")
    return figure
