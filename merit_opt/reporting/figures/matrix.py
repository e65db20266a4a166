"""Differences of many recipes in many groups, a cell each."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from merit_opt.reporting.figures.differences import short
from merit_opt.reporting.style import diverging, faint, on

WIDTH, ROW, HEAD = 4.8, 0.25, 1.0


@dataclass(frozen=True, slots=True)
class Matrix:
    """Signed numbers.

    Attributes:
        rows: From top to bottom.
        columns: From left to right.
        values: By row and column; None where nothing was measured.
        marked: By row and column, whether the number is significant.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    marked: tuple[tuple[bool, ...], ...]


def draw_matrix(data: Matrix) -> Figure:
    """Red above zero, blue below; a frame and bold digits where marked."""
    figure = Figure(figsize=(WIDTH, HEAD + ROW * len(data.rows)))
    axis = figure.subplots()
    cells = np.array([[np.nan if v is None else v for v in row] for row in data.values])
    most = float(np.nanmax(np.abs(cells), initial=0.0)) or 1.0
    axis.set_facecolor(faint())
    mesh = axis.pcolormesh(
        np.ma.masked_invalid(cells),
        cmap=diverging(),
        norm=TwoSlopeNorm(0.0, -most, most),
        edgecolors=axis.get_figure().get_facecolor(),  # type: ignore[union-attr]
        linewidth=1.0,
    )
    axis.invert_yaxis()
    axis.set_yticks(np.arange(len(data.rows)) + 0.5, [short(name) for name in data.rows])
    axis.set_xticks(
        np.arange(len(data.columns)) + 0.5,
        [short(name.partition(",")[0], 16) for name in data.columns],
        rotation=40,
        ha="left",
        rotation_mode="anchor",
    )
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    for row, values in enumerate(data.values):
        for column, value in enumerate(values):
            if value is not None:
                _write(axis, mesh, (row, column), value, is_marked=data.marked[row][column])
    return figure


def _write(
    axis: Axes, mesh: QuadMesh, place: tuple[int, int], value: float, *, is_marked: bool
) -> None:
    row, column = place
    axis.text(
        column + 0.5,
        row + 0.5,
        _digits(value),
        ha="center",
        va="center",
        fontsize=7,
        color=on(mesh.to_rgba(np.array(value))),
        alpha=1.0 if is_marked else 0.7,
        fontweight="bold" if is_marked else "normal",
    )
    if is_marked:
        inside = (column + 0.05, row + 0.07), 0.9, 0.86
        edge = on(mesh.to_rgba(np.array(value)))
        axis.add_patch(Rectangle(*inside, fill=False, edgecolor=edge, linewidth=0.7))


def _digits(value: float) -> str:
    """Two places and no leading zero, so that it fits: `+.12`."""
    told = f"{value:+.2f}"
    return "0" if float(told) == 0.0 else told.replace("0.", ".", 1).replace("-", "\N{MINUS SIGN}")
