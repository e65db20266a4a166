"""A recipe as a picture: decoder layers from left to right, one row per part.

Drawn with bare artists placed in inches: axes with ticks take several times as long.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from merit_opt.recipe.recipe import PARTS, Part, Recipe

COLOURS = colormaps["viridis_r"]
KEPT, INK = "#ececec", "#333333"
FONT, DPI = 9.0, 120

# Inches.
LEFT, RIGHT, TOP, BOTTOM, ROW = 0.85, 1.45, 0.50, 0.58, 0.60
WIDEST_STRIP, NARROWEST_STRIP, WIDEST_CELL = 10.0, 4.0, 0.36
UPRIGHT_CELL, SMALLEST_CELL, NUMBERED_CELL = 0.29, 0.09, 0.17
GAP = 0.016


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are, in inches from the lower left corner."""

    parts: tuple[Part, ...]
    n_layers: int

    @property
    def cell(self) -> float:
        """Width of a layer."""
        widest = max(WIDEST_CELL, NARROWEST_STRIP / self.n_layers)
        return min(widest, WIDEST_STRIP / self.n_layers)

    @property
    def right(self) -> float:
        """Where the last layer ends."""
        return LEFT + self.cell * self.n_layers

    @property
    def top(self) -> float:
        """Where the first row begins."""
        return BOTTOM + ROW * len(self.parts)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the picture."""
        return self.right + RIGHT, self.top + TOP

    def centre(self, layer: int, row: int) -> tuple[float, float]:
        """The middle of a cell."""
        return LEFT + (layer + 0.5) * self.cell, self.top - (row + 0.5) * ROW


def layer_strip(recipe: Recipe, *, title: str = "") -> bytes:
    """The recipe as a PNG image.

    Args:
        recipe: What to draw. A part that no layer merges gets no row; attention always has one.
        title: Put before the number of merged layers and the digest.
    """
    layout = Layout(_shown(recipe), len(recipe.layers))
    figure = Figure(figsize=layout.size, dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    squares = [*_cells(recipe, layout), *_colour_bar(layout)]
    figure.add_artist(
        PatchCollection(squares, match_original=True, transform=figure.dpi_scale_trans)
    )
    _write_coefficients(figure, recipe, layout)
    _write_labels(figure, layout, _title(recipe, title))
    _write_colour_bar(figure, layout)
    buffer = BytesIO()
    canvas.print_png(buffer)
    return buffer.getvalue()


def _shown(recipe: Recipe) -> tuple[Part, ...]:
    return tuple(part for part in PARTS if part == "attention" or recipe.coefficients(part))


def _title(recipe: Recipe, title: str) -> str:
    merged = f"{len(recipe.merged_layers)} of {len(recipe.layers)} layers merged"
    return "  ·  ".join(piece for piece in (title, merged, recipe.digest) if piece)


def _cells(recipe: Recipe, layout: Layout) -> Iterator[Rectangle]:
    for row, part in enumerate(layout.parts):
        coefficients = recipe.coefficients(part)
        for layer in range(layout.n_layers):
            x, y = layout.centre(layer, row)
            corner = (x - layout.cell / 2 + GAP / 2, y - ROW / 2 + GAP / 2)
            colour = COLOURS(coefficients[layer]) if layer in coefficients else KEPT
            yield Rectangle(corner, layout.cell - GAP, ROW - GAP, facecolor=colour, linewidth=0)


def _colour_bar(layout: Layout, steps: int = 64) -> Iterator[Rectangle]:
    x, (low, high) = layout.right + 0.25, _bar_ends(layout)
    step = (high - low) / steps
    yield Rectangle((x, low - 0.16), 0.13, 0.12, facecolor=KEPT, linewidth=0)
    for i in range(steps):
        corner = (x, low + i * step)
        yield Rectangle(corner, 0.13, step * 1.1, facecolor=COLOURS(i / (steps - 1)), linewidth=0)


def _bar_ends(layout: Layout) -> tuple[float, float]:
    return BOTTOM + 0.10, layout.top - 0.02


def _write_coefficients(figure: Figure, recipe: Recipe, layout: Layout) -> None:
    for row, part in enumerate(layout.parts):
        coefficients = recipe.coefficients(part)
        if len(coefficients) == layout.n_layers and len(set(coefficients.values())) == 1:
            _write_once(figure, row, coefficients[0], layout)
        elif layout.cell >= SMALLEST_CELL:
            _write_each(figure, row, coefficients, layout)


def _write_once(figure: Figure, row: int, value: float, layout: Layout) -> None:
    middle = ((LEFT + layout.right) / 2, layout.centre(0, row)[1])
    _write(figure, middle, f"{value:.2f} in every layer", colour=_ink_on(value))


def _write_each(figure: Figure, row: int, coefficients: dict[int, float], layout: Layout) -> None:
    upright = layout.cell >= UPRIGHT_CELL
    size = FONT - 1 if upright else min(FONT - 1, layout.cell * 55)
    for layer, value in coefficients.items():
        centre, text = layout.centre(layer, row), f"{value:.2f}"
        number = _write(figure, centre, text, size, _ink_on(value))
        number.set_rotation(0 if upright else 90)


def _ink_on(coefficient: float) -> str:
    return "white" if _luminance(coefficient) < 0.5 else "black"


def _luminance(coefficient: float) -> float:
    red, green, blue, _ = COLOURS(coefficient)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _write_labels(figure: Figure, layout: Layout, title: str) -> None:
    _write(figure, (LEFT, layout.top + 0.2), title, FONT + 1, ha="left")
    for row, part in enumerate(layout.parts):
        _write(figure, (LEFT - 0.09, layout.centre(0, row)[1]), part, ha="right")
    every = 1 if layout.cell >= NUMBERED_CELL else 5
    for layer in range(0, layout.n_layers, every):
        _write(figure, (layout.centre(layer, 0)[0], BOTTOM - 0.12), str(layer), FONT - 0.5)
    middle = ((LEFT + layout.right) / 2, BOTTOM - 0.36)
    _write(figure, middle, "decoder layer (0 = nearest the embeddings)")


def _write_colour_bar(figure: Figure, layout: Layout) -> None:
    x, (low, high) = layout.right + 0.25, _bar_ends(layout)
    _write(figure, (x, layout.top + 0.2), "coefficient", ha="left")
    _write(figure, (x + 0.2, high - 0.06), "1 = backbone", FONT - 1, ha="left")
    _write(figure, (x + 0.2, low - 0.1), "0 = VLM, kept", FONT - 1, ha="left")


def _write(
    figure: Figure,
    place: tuple[float, float],
    text: str,
    size: float = FONT,
    colour: str = INK,
    ha: Literal["left", "center", "right"] = "center",
) -> Text:
    x, y = place
    inches = figure.dpi_scale_trans
    return figure.text(
        x, y, text, fontsize=size, color=colour, ha=ha, va="center", transform=inches
    )
