"""The soak as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

COLOURS = {"worker": "0.8", "database": "#d55e00", "mlflow": "#0072b2", "decoder": "#009e73"}
HEIGHTS = {"worker": 0.1, "database": 1.0, "mlflow": 1.0, "decoder": 1.0}


def draw(
    seen: Sequence[Mapping[str, float]], done: Mapping[str, Sequence[float]], path: Path
) -> None:
    """Memory and open files of the survivor, with a line for each fault."""
    figure, axes = pyplot.subplots(2, 1, figsize=(8, 4.5), sharex=True, layout="constrained")
    minutes = [row["seconds"] / 60 for row in seen]
    axes[0].plot(minutes, [row["bytes"] / 2**20 for row in seen], color="black")
    axes[0].set_ylabel("memory of its own, MiB")
    axes[1].plot(minutes, [row["files"] for row in seen], color="black")
    axes[1].set_ylabel("open files")
    axes[1].set_xlabel("minutes")
    for axis in axes:
        axis.set_ylim(bottom=0)
        for kind, times in done.items():
            for index, at in enumerate(times):
                label = kind if axis is axes[0] and index == 0 else None
                axis.axvline(
                    at / 60, 0, HEIGHTS[kind], color=COLOURS[kind], linewidth=1, label=label
                )
    axes[0].legend(loc="lower right", title="killed, restarted or hung", ncols=4)
    figure.savefig(path, dpi=100)
