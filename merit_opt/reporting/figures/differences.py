"""Accuracies and paired differences, each with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from merit_opt.evaluation.stats import SIGNIFICANT
from merit_opt.reporting.style import colour, ink, pale

WIDTH, ROW = 4.8, 0.27


@dataclass(frozen=True, slots=True)
class Accuracies:
    """Recipes by their accuracies.

    Attributes:
        names: From top to bottom.
        TR: Of each.
        TP: Of each.
        n: Questions by role.
    """

    names: tuple[str, ...]
    TR: tuple[float, ...]
    TP: tuple[float, ...]
    n: dict[str, int]


def draw_accuracies(data: Accuracies) -> Figure:
    """TR and TP of each recipe on a line of its own."""
    figure = Figure(figsize=(WIDTH, 0.95 + ROW * len(data.names)))
    axis = figure.subplots()
    rows = np.arange(len(data.names))
    for i, role in enumerate(("TR", "TP")):
        values = data.TR if role == "TR" else data.TP
        label = f"{role} ({data.n[role]} questions)" if role in data.n else role
        axis.scatter(values, rows, s=30, color=colour(i), marker="oD"[i], label=label, zorder=3)
    axis.hlines(
        rows,
        np.minimum(data.TR, data.TP),
        np.maximum(data.TR, data.TP),
        color=pale(),
        linewidth=1,
        zorder=2,
    )
    axis.set_xlim(-0.02, 1.02)
    axis.set_xlabel("accuracy, confirm samples")
    _name_rows(axis, data.names)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@dataclass(frozen=True, slots=True)
class Differences:
    """Paired differences.

    Attributes:
        names: From top to bottom.
        estimates: One a name.
        lows: Lower ends of the 95 % intervals.
        highs: Upper ends.
        verdicts: `significant` or `not significant`, as the table beside it says.
        unit: What is compared.
        groups: What each belongs to, such as its role; colours follow it.
    """

    names: tuple[str, ...]
    estimates: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    verdicts: tuple[str, ...]
    unit: str
    groups: tuple[str, ...]


def draw_differences(data: Differences) -> Figure:
    """An interval a row; an empty mark where it is not significant."""
    figure = Figure(figsize=(WIDTH, 0.95 + ROW * len(data.names)))
    axis = figure.subplots()
    kinds = list(dict.fromkeys(data.groups))
    rows = zip(data.estimates, data.lows, data.highs, data.verdicts, data.groups, strict=True)
    for row, (value, low, high, verdict, group) in enumerate(rows):
        own = colour(kinds.index(group))
        axis.plot([low, high], [row, row], color=own)
        axis.plot(
            [value],
            [row],
            marker="o",
            color=own,
            markerfacecolor=own if verdict == SIGNIFICANT else axis.get_facecolor(),
        )
    axis.axvline(0.0, color=ink(), linewidth=0.8)
    axis.set_xlabel(data.unit)
    _name_rows(axis, data.names)
    if len(kinds) > 1:
        handles = [Line2D([], [], color=colour(i), marker="o") for i in range(len(kinds))]
        figure.legend(handles, kinds, loc="outside lower center", ncols=len(kinds))
    return figure


def _name_rows(axis: Axes, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), [_short(name) for name in names])
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(visible=False, axis="y")
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)


def _short(name: str, most: int = 30) -> str:
    """A name that fits beside a figure."""
    return name if len(name) <= most else f"{name[: most - 1]}…"
