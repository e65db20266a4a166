"""The recipe by depth, and whatever else is known of layers on the same axis."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from merit_opt.reporting.style import colour, faint, on, pale

WIDTH, STRIP, PANEL = 4.8, 0.34, 1.05
KINDS = ("TR", "TP", "attention", "mlp", "norm")
NUMBERED = 12  # layers whose coefficients can be written into their cells


@dataclass(frozen=True, slots=True)
class Strip:
    """A part's coefficients.

    Attributes:
        label: Whose, such as `attention`.
        coefficients: By layer; None where the layer stays the VLM's.
    """

    label: str
    coefficients: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """A curve of a panel.

    Attributes:
        label: Whose, such as TR.
        layers: Decoder layers.
        values: One a layer.
        lows: Lower ends of intervals; empty without.
        highs: Upper ends.
    """

    label: str
    layers: tuple[int, ...]
    values: tuple[float, ...]
    lows: tuple[float, ...] = ()
    highs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """A profile over depth.

    Attributes:
        title: What was done.
        unit: Of the values.
        series: Its curves.
        scale: Panels of one name are drawn on one scale; empty for a scale of its own.
    """

    title: str
    unit: str
    series: tuple[Series, ...]
    scale: str = ""


@dataclass(frozen=True, slots=True)
class Profiles:
    """Strips above panels, decoder layers from left to right.

    Attributes:
        n_layers: Decoder layers.
        merged: Layers that stand out in every panel.
        strips: From top to bottom.
        panels: From top to bottom.
    """

    n_layers: int
    merged: tuple[int, ...]
    strips: tuple[Strip, ...]
    panels: tuple[Panel, ...]


def draw_profiles(data: Profiles) -> Figure:
    """One axis of layers for all."""
    strips = STRIP * len(data.strips)
    figure = Figure(
        figsize=(WIDTH, 0.85 + 0.2 * bool(data.panels) + strips + PANEL * len(data.panels))
    )
    ratios = [strips + 0.1, *[PANEL] * len(data.panels)]
    axes = figure.subplots(
        len(ratios), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": ratios}
    )[:, 0]
    _draw_strips(axes[0], data)
    for axis, panel in zip(axes[1:], data.panels, strict=True):
        _draw_panel(axis, panel, data.merged)
    _share_scales(axes[1:], data.panels)
    _legend(figure, axes[1:])
    axes[-1].set_xlabel("decoder layer (0 is nearest the embeddings)")
    axes[-1].set_xlim(-0.5, data.n_layers - 0.5)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=14))
    return figure


def _share_scales(axes: Iterable[Axes], panels: Iterable[Panel]) -> None:
    first: dict[str, Axes] = {}
    for axis, panel in zip(axes, panels, strict=True):
        if panel.scale and first.setdefault(panel.scale, axis) is not axis:
            axis.sharey(first[panel.scale])
            axis.autoscale_view()


def _legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """Each kind of series once, for all panels."""
    found: dict[str, Artist] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        for handle, label in zip(handles, labels, strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(found.values(), found, loc="outside lower center", ncols=len(found))


def _draw_strips(axis: Axes, data: Profiles) -> None:
    cells = np.ma.masked_invalid(
        [[np.nan if c is None else c for c in strip.coefficients] for strip in data.strips]
    )
    axis.set_facecolor(faint())
    mesh = axis.pcolormesh(
        np.arange(data.n_layers + 1) - 0.5,
        np.arange(len(data.strips) + 1),
        cells,
        norm=Normalize(0.0, 1.0),
        edgecolors=axis.get_figure().get_facecolor(),  # type: ignore[union-attr]
        linewidth=1.2,
    )
    axis.set_yticks([i + 0.5 for i in range(len(data.strips))], [s.label for s in data.strips])
    axis.tick_params(length=0)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    axis.invert_yaxis()
    if data.n_layers <= NUMBERED:
        _write_coefficients(axis, data.strips, mesh)
    beside = axis.inset_axes((1.02, 0.05, 0.025, 0.9))
    bar = axis.get_figure().colorbar(mesh, cax=beside)  # type: ignore[union-attr]
    bar.set_ticks([0.0, 1.0], labels=["0", "1"])
    bar.outline.set_visible(False)  # type: ignore[operator]


def _write_coefficients(axis: Axes, strips: Sequence[Strip], mesh: QuadMesh) -> None:
    for row, strip in enumerate(strips):
        for layer, coefficient in enumerate(strip.coefficients):
            if coefficient is not None:
                axis.text(
                    layer,
                    row + 0.5,
                    f"{coefficient:.2f}",
                    ha="center",
                    va="center",
                    fontsize=7.5,
                    color=on(mesh.to_rgba(np.array(coefficient))),
                )


def _draw_panel(axis: Axes, panel: Panel, merged: Sequence[int]) -> None:
    for layer in merged:
        axis.axvspan(layer - 0.5, layer + 0.5, color=pale(), alpha=0.16, linewidth=0)
    axis.axhline(0.0, color=pale(), linewidth=0.8)
    n = len(panel.series)
    for i, series in enumerate(panel.series):
        places = np.array(series.layers) + (i - (n - 1) / 2) * min(0.22, 0.6 / n)
        values = np.array(series.values)
        errors = None
        if series.lows:
            ends = np.array(series.lows), np.array(series.highs)
            errors = np.maximum(0.0, [values - ends[0], ends[1] - values])
        own = KINDS.index(series.label) if series.label in KINDS else i
        marker = "osD^v"[own % 5]
        axis.errorbar(
            places,
            values,
            errors,
            fmt=marker,
            color=colour(own),
            label=series.label,
            markersize=3.6,
            linewidth=1.0,
        )
    axis.set_title(panel.title, fontsize=8)
    axis.set_ylabel(panel.unit, fontsize=8)
    axis.yaxis.set_major_locator(MaxNLocator(nbins=4))
