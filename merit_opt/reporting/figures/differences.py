"""Accuracies and paired differences, each with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from merit_opt.evaluation.stats import SIGNIFICANT
from merit_opt.reporting.style import colour, ink, pale

WIDTH, ROW = 4.8, 0.27
MARKERS = "oD^s"


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
    """An interval each, those of one name on one line; an empty mark where it is not significant."""
    names = list(dict.fromkeys(data.names))
    figure = Figure(figsize=(WIDTH, 0.95 + _tall(data)))
    axis = figure.subplots()
    _draw_intervals(axis, data)
    _name_rows(axis, names)
    _legend(figure, list(dict.fromkeys(data.groups)))
    return figure


@dataclass(frozen=True, slots=True)
class Panels:
    """Paired differences of the same names, side by side.

    Attributes:
        titles: One a panel.
        panels: From left to right, then from top to bottom, two a row; of the same names.
    """

    titles: tuple[str, ...]
    panels: tuple[Differences, ...]


def draw_panels(data: Panels) -> Figure:
    """Two panels a row; a colour means the same in all of them."""
    names = list(dict.fromkeys(name for panel in data.panels for name in panel.names))
    kinds = list(dict.fromkeys(kind for panel in data.panels for kind in panel.groups))
    rows = -(-len(data.panels) // 2)
    tall = max(_tall(panel) for panel in data.panels)
    figure = Figure(figsize=(WIDTH, 0.3 + (0.75 + tall) * rows))
    axes = figure.subplots(rows, 2, sharey=True, squeeze=False).ravel()
    for axis, title, panel in zip(axes, data.titles, data.panels, strict=False):
        _draw_intervals(axis, panel, names, kinds)
        axis.set_title(title, fontsize=8)
        _name_rows(axis, names)
        axis.xaxis.label.set_fontsize(8)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=4))
    for axis in axes[len(data.panels) :]:
        axis.axis("off")
    _legend(figure, kinds)
    return figure


def _tall(data: Differences) -> float:
    """Inches of all lines: more where several marks share one."""
    names = set(data.names)
    most = max((data.names.count(name) for name in names), default=1)
    return len(names) * ROW * (1.0 + 0.3 * (most - 1))


def _draw_intervals(
    axis: Axes,
    data: Differences,
    names: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
) -> None:
    lines = names or list(dict.fromkeys(data.names))
    colours = kinds or list(dict.fromkeys(data.groups))
    shared = [kind for kind in colours if kind in data.groups]
    rows = zip(
        data.names, data.estimates, data.lows, data.highs, data.verdicts, data.groups, strict=True
    )
    for name, value, low, high, verdict, group in rows:
        own = colour(colours.index(group))
        is_alone = data.names.count(name) == 1
        aside = 0.0 if is_alone else (shared.index(group) - (len(shared) - 1) / 2) * 0.36
        row = lines.index(name) + aside
        axis.plot([low, high], [row, row], color=own)
        axis.plot(
            [value],
            [row],
            marker=MARKERS[colours.index(group) % 4],
            color=own,
            markerfacecolor=own if verdict == SIGNIFICANT else axis.get_facecolor(),
        )
    axis.axvline(0.0, color=ink(), linewidth=0.8)
    axis.set_xlabel(data.unit)


def _legend(figure: Figure, kinds: Sequence[str]) -> None:
    if len(kinds) > 1:
        handles = [
            Line2D([], [], color=colour(i), marker=MARKERS[i % 4]) for i in range(len(kinds))
        ]
        figure.legend(handles, kinds, loc="outside lower center", ncols=len(kinds))


def _name_rows(axis: Axes, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), [short(name) for name in names])
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(visible=False, axis="y")
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)


def short(name: str, most: int = 30) -> str:
    """A name that fits beside a figure."""
    return name if len(name) <= most else f"{name[: most - 1]}…"
