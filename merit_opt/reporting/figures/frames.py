"""The frames of a sample as a strip, with attribution as heat bars below: base above merged."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from merit_opt.reporting.facts import Flip, Frame, Model
from merit_opt.reporting.style import colour, ink

WIDTH, PER_ROW, BAR = 5.2, 8, 0.14
LABEL, TITLE = 0.5, 0.19  # inches for the models' names, and for a row's times
MODELS: tuple[Model, ...] = ("base", "merged")
HEAT = "RdBu_r"


def draw_strip(flip: Flip) -> Figure:
    """Frames in rows of eight; a thick edge where the evidence is known to be."""
    rows = [flip.frames[i : i + PER_ROW] for i in range(0, len(flip.frames), PER_ROW)]
    columns = min(PER_ROW, len(flip.frames))
    models: list[Model] = [m for m in MODELS if any(m in frame.heat for frame in flip.frames)]
    tall = _cell(flip, columns)
    ratios = [h for _ in rows for h in (tall, *[BAR] * len(models))]
    figure = Figure(figsize=(WIDTH, 0.08 + sum(ratios) + TITLE * len(rows)))
    figure.get_layout_engine().set(w_pad=0.04, h_pad=0.02, hspace=0.0, wspace=0.0)  # type: ignore[union-attr]
    axes = figure.subplots(len(ratios), columns, squeeze=False, height_ratios=ratios)
    for axis in axes.flat:
        axis.axis("off")
    norms = {model: _norm(flip.frames, model) for model in models}
    for number, frames in enumerate(rows):
        top = number * (1 + len(models))
        for column, frame in enumerate(frames):
            _draw_frame(axes[top, column], frame)
            for below, model in enumerate(models, start=1):
                _draw_heat(axes[top + below, column], frame, model, norms[model])
        for below, model in enumerate(models, start=1):
            axes[top + below, 0].text(
                -0.06,
                0.5,
                model,
                transform=axes[top + below, 0].transAxes,
                ha="right",
                va="center",
                fontsize=7,
            )
    return figure


def _cell(flip: Flip, columns: int) -> float:
    """Height of a frame in inches."""
    height, width = flip.frames[0].pixels.shape[:2]
    room = WIDTH - (LABEL if any(frame.heat for frame in flip.frames) else 0.0)
    return min(2.0, room / columns * height / width)


def _norm(frames: Sequence[Frame], model: Model) -> TwoSlopeNorm:
    values = [abs(frame.heat[model]) for frame in frames if model in frame.heat]
    most = max(values) or 1.0
    return TwoSlopeNorm(0.0, -most, most)


def _draw_frame(axis: Axes, frame: Frame) -> None:
    axis.axis("on")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.imshow(frame.pixels, interpolation="nearest" if frame.pixels.shape[0] < 96 else None)
    axis.set_title(f"{frame.seconds:.2f} s", fontsize=7, loc="center", pad=2, color=ink())
    axis.spines[:].set_visible(bool(frame.is_evidence))
    if frame.is_evidence:
        axis.spines[:].set_color(colour(4))
        axis.spines[:].set_linewidth(2.2)


def _draw_heat(axis: Axes, frame: Frame, model: Model, norm: TwoSlopeNorm) -> None:
    if model in frame.heat:
        axis.imshow(
            np.array([[frame.heat[model]]]), cmap=HEAT, norm=norm, aspect="auto", origin="lower"
        )
