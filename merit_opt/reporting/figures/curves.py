"""Deletion and insertion curves, mean over samples."""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from merit_opt.reporting.style import colour, pale

WIDTH, TALL = 4.8, 1.9


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
    """Panels, two a row.

    Attributes:
        panels: Title, what happens to frames, and its lines.
    """

    panels: tuple[tuple[str, str, tuple[Line, ...]], ...]


def draw_frame_curves(data: FrameCurves) -> Figure:
    """A line an order, with its interval as a band; the reference is dashed."""
    rows = -(-len(data.panels) // 2)
    figure = Figure(figsize=(WIDTH, 0.7 + TALL * rows))
    axes = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False)
    labels = list(
        dict.fromkeys(li.label for *_, lines in data.panels for li in lines if not li.is_reference)
    )
    for axis, (title, gone, lines) in zip(axes.ravel(), data.panels, strict=False):
        for line in lines:
            _draw(axis, line, pale() if line.is_reference else colour(labels.index(line.label)))
        axis.set_title(title, fontsize=8)
        axis.set_xlabel(f"share of frames {gone}", fontsize=8)
        axis.set_ylim(0.0, 1.02)
    for axis in axes[:, 0]:
        axis.set_ylabel("p of chosen option", fontsize=8)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2)
    return figure


def _draw(axis: Axes, line: Line, own: str) -> None:
    style = "--" if line.is_reference else "-"
    axis.fill_between(line.shares, line.lows, line.highs, color=own, alpha=0.13, linewidth=0)
    axis.plot(line.shares, line.means, style, color=own, label=line.label, marker=".")
