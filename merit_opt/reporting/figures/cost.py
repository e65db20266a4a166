"""What trials cost, and what was saved."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from merit_opt.reporting.style import colour

WIDTH = 4.8


@dataclass(frozen=True, slots=True)
class Costs:
    """By trial.

    Attributes:
        numbers: Of the trials.
        seconds: Wall time of measuring.
        flops: Floating-point operations done.
        prefix: Floating-point operations saved by starting at the first merged layer, about.
        curtailed: Saved by stopping early, about.
        cached: Saved by scores that were known, about.
    """

    numbers: tuple[int, ...]
    seconds: tuple[float, ...]
    flops: tuple[float, ...]
    prefix: tuple[float, ...]
    curtailed: tuple[float, ...]
    cached: tuple[float, ...]


def draw_costs(data: Costs) -> Figure:
    """Operations done and saved, stacked, above seconds."""
    figure = Figure(figsize=(WIDTH, 3.9))
    work, time = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 2]})
    floor = np.zeros(len(data.numbers))
    kinds = {
        "done": (data.flops, 1.0),
        "saved: first layers unchanged": (data.prefix, 0.55),
        "saved: stopped early": (data.curtailed, 0.55),
        "saved: known already": (data.cached, 0.55),
    }
    for i, (label, (values, alpha)) in enumerate(kinds.items()):
        if any(values):
            work.bar(
                data.numbers,
                values,
                1.0,
                floor,
                color=colour((0, 4, 2, 3)[i]),
                alpha=alpha,
                label=label,
                linewidth=0,
            )
            floor = floor + np.array(values)
    work.yaxis.set_major_formatter(EngFormatter(sep=" "))
    work.set_ylabel("FLOP a trial")
    time.scatter(data.numbers, data.seconds, s=9, color=colour(1), linewidth=0)
    time.set_ylim(bottom=0.0)
    time.set_ylabel("seconds a trial")
    time.set_xlabel("trial")
    time.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axis in (work, time):
        axis.grid(visible=False, axis="x")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
