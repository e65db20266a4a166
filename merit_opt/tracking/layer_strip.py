"""A recipe as a picture: decoder layers from left to right, one row per part.

Drawn with Pillow, as every trial has one: matplotlib, which lends its colours and its font, takes
ten times as long.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Literal

import matplotlib
from matplotlib import colormaps
from matplotlib.colors import to_hex
from PIL import Image, ImageDraw, ImageFont

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
    canvas = _Canvas(Layout(_shown(recipe), len(recipe.layers)))
    for cell in (*_cells(recipe, canvas.layout), *_colour_bar(canvas.layout)):
        canvas.fill(*cell)
    _write_coefficients(canvas, recipe)
    _write_labels(canvas, _title(recipe, title))
    _write_colour_bar(canvas)
    return canvas.png()


Cell = tuple[tuple[float, float], float, float, str]
"""Lower left corner, width and height in inches, and colour."""


class _Canvas:
    """A white picture, measured in inches from the lower left corner."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        width, height = (round(side * DPI) for side in layout.size)
        self._image = Image.new("RGB", (width, height), "white")
        self._draw = ImageDraw.Draw(self._image)

    def fill(self, corner: tuple[float, float], width: float, height: float, colour: str) -> None:
        """A rectangle; its lower left corner is given."""
        (left, bottom), (right, top) = (
            self._pixel(corner),
            self._pixel((corner[0] + width, corner[1] + height)),
        )
        self._draw.rectangle((left, top, max(right - 1, left), max(bottom - 1, top)), fill=colour)

    def write(
        self,
        place: tuple[float, float],
        text: str,
        size: float = FONT,
        colour: str = INK,
        ha: Literal["left", "middle", "right", "upright"] = "middle",
    ) -> None:
        """Words beside, around or, upright, through a place that is half-way up them."""
        font = _font(round(size * DPI / 72, 1))
        if ha == "upright":
            self._write_upright(place, text, font, colour)
        else:
            self._draw.text(self._pixel(place), text, fill=colour, font=font, anchor=f"{ha[0]}m")

    def png(self) -> bytes:
        """The picture."""
        buffer = BytesIO()
        self._image.save(buffer, "PNG", compress_level=6)
        return buffer.getvalue()

    def _write_upright(
        self, place: tuple[float, float], text: str, font: ImageFont.FreeTypeFont, colour: str
    ) -> None:
        left, top, right, bottom = font.getbbox(text)
        mask = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
        ImageDraw.Draw(mask).text((1 - left, 1 - top), text, fill=255, font=font)
        turned = mask.rotate(90, expand=True)
        x, y = self._pixel(place)
        self._image.paste(colour, (x - turned.width // 2, y - turned.height // 2), turned)

    def _pixel(self, place: tuple[float, float]) -> tuple[int, int]:
        return round(place[0] * DPI), self._image.height - round(place[1] * DPI)


@lru_cache
def _font(pixels: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), pixels
    )


def _shown(recipe: Recipe) -> tuple[Part, ...]:
    return tuple(part for part in PARTS if part == "attention" or recipe.coefficients(part))


def _title(recipe: Recipe, title: str) -> str:
    merged = f"{len(recipe.merged_layers)} of {len(recipe.layers)} layers merged"
    return "  ·  ".join(piece for piece in (title, merged, recipe.digest) if piece)


def _cells(recipe: Recipe, layout: Layout) -> Iterator[Cell]:
    for row, part in enumerate(layout.parts):
        coefficients = recipe.coefficients(part)
        for layer in range(layout.n_layers):
            x, y = layout.centre(layer, row)
            corner = (x - layout.cell / 2 + GAP / 2, y - ROW / 2 + GAP / 2)
            colour = _colour(coefficients[layer]) if layer in coefficients else KEPT
            yield corner, layout.cell - GAP, ROW - GAP, colour


def _colour_bar(layout: Layout, steps: int = 64) -> Iterator[Cell]:
    x, (low, high) = layout.right + 0.25, _bar_ends(layout)
    step = (high - low) / steps
    yield (x, low - 0.16), 0.13, 0.12, KEPT
    for i in range(steps):
        yield (x, low + i * step), 0.13, step * 1.1, _colour(i / (steps - 1))


@lru_cache(maxsize=1024)
def _colour(coefficient: float) -> str:
    return to_hex(COLOURS(coefficient))


def _bar_ends(layout: Layout) -> tuple[float, float]:
    return BOTTOM + 0.10, layout.top - 0.02


def _write_coefficients(canvas: _Canvas, recipe: Recipe) -> None:
    layout = canvas.layout
    for row, part in enumerate(layout.parts):
        coefficients = recipe.coefficients(part)
        if len(coefficients) == layout.n_layers and len(set(coefficients.values())) == 1:
            _write_once(canvas, row, coefficients[0])
        elif layout.cell >= SMALLEST_CELL:
            _write_each(canvas, row, coefficients)


def _write_once(canvas: _Canvas, row: int, value: float) -> None:
    middle = ((LEFT + canvas.layout.right) / 2, canvas.layout.centre(0, row)[1])
    canvas.write(middle, f"{value:.2f} in every layer", colour=_ink_on(value))


def _write_each(canvas: _Canvas, row: int, coefficients: dict[int, float]) -> None:
    layout = canvas.layout
    lies = layout.cell >= UPRIGHT_CELL
    size = FONT - 1 if lies else min(FONT - 1, layout.cell * 55)
    for layer, value in coefficients.items():
        place = layout.centre(layer, row)
        canvas.write(place, f"{value:.2f}", size, _ink_on(value), "middle" if lies else "upright")


def _ink_on(coefficient: float) -> str:
    return "white" if _luminance(coefficient) < 0.5 else "black"


def _luminance(coefficient: float) -> float:
    red, green, blue, _ = COLOURS(coefficient)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _write_labels(canvas: _Canvas, title: str) -> None:
    layout = canvas.layout
    canvas.write((LEFT, layout.top + 0.2), title, FONT + 1, ha="left")
    for row, part in enumerate(layout.parts):
        canvas.write((LEFT - 0.09, layout.centre(0, row)[1]), part, ha="right")
    every = 1 if layout.cell >= NUMBERED_CELL else 5
    for layer in range(0, layout.n_layers, every):
        canvas.write((layout.centre(layer, 0)[0], BOTTOM - 0.12), str(layer), FONT - 0.5)
    middle = ((LEFT + layout.right) / 2, BOTTOM - 0.36)
    canvas.write(middle, "decoder layer (0 = nearest the embeddings)")


def _write_colour_bar(canvas: _Canvas) -> None:
    layout = canvas.layout
    x, (low, high) = layout.right + 0.25, _bar_ends(layout)
    canvas.write((x, layout.top + 0.2), "coefficient", ha="left")
    canvas.write((x + 0.2, high - 0.06), "1 = backbone", FONT - 1, ha="left")
    canvas.write((x + 0.2, low - 0.1), "0 = VLM, kept", FONT - 1, ha="left")
