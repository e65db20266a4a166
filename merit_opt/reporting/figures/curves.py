"""Deletion and insertion curves, mean over samples."""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from merit_opt.reporting.style import colour, pale

WIDTH, TALL = 4.8, 1.05


@dataclass(frozen=True, slots=True)
class Line:
    """A mean curve.

    Attributes:
        label: The order in which frames go.
        shares: Of the frames that are gone, or back.
        means: Probability at each share.
        lows: Lower ends of the 95 % intervals.
        highs: Upper ends.
        is_reference: Whether it is what others are compared with.
    """

    label: str
    shares: tuple[float, ...]
    means: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    is_reference: bool


@dataclass(frozen=True, slots=True)
class FrameCurves:
    """Columns of panels.

    Attributes:
        panels: Title, what happens to frames, and its lines.
    """

    panels: tuple[tuple[str, str, tuple[Line, ...]], ...]


def draw_frame_curves(data: FrameCurves) -> Figure:
    """A row an order, beside the references, which are dashed; intervals are bands."""
    every = [line for *_, lines in data.panels for line in lines]
    labels = list(dict.fromkeys(line.label for line in every if not line.is_reference)) or [""]
    figure = Figure(figsize=(WIDTH, 0.85 + TALL * len(labels)))
    axes = figure.subplots(len(labels), len(data.panels), sharex=True, sharey=True, squeeze=False)
    for row, label in enumerate(labels):
        for axis, (*_, lines) in zip(axes[row], data.panels, strict=True):
            for line in lines:
                if line.is_reference or line.label == label:
                    _draw(axis, line, pale() if line.is_reference else colour(row))
        axes[row, 0].set_ylabel(label.replace(", ", ",\n"), fontsize=8)
    for top, bottom, (title, gone, _) in zip(axes[0], axes[-1], data.panels, strict=True):
        top.set_title(title.replace(", ", ",\n"), fontsize=8)
        bottom.set_xlabel(f"share\n{gone}", fontsize=8)
    axes[0, 0].set_ylim(0.0, 1.02)
    axes[0, 0].set_xticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])
    figure.supylabel("probability of the chosen option", fontsize=8)
    handles = {
        line.label: Line2D([], [], color=pale(), linestyle="--")
        for line in every
        if line.is_reference
    }
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=2)
    return figure


def _draw(axis: Axes, line: Line, own: str) -> None:
    style = "--" if line.is_reference else "-"
    axis.fill_between(line.shares, line.lows, line.highs, color=own, alpha=0.18, linewidth=0)
    axis.plot(line.shares, line.means, style, color=own, label=line.label, linewidth=1.1)
