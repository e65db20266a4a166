"""Several studies in one picture."""

from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from merit_opt.reporting.style import colour

WIDTH = 4.8
DASHES = ("-", "--", ":", "-.")


@dataclass(frozen=True, slots=True)
class Curves:
    """The best so far.

    Attributes:
        studies: Name, (trial, value) of each trial that became the best, and the last trial.
    """

    studies: tuple[tuple[str, tuple[tuple[int, float], ...], int], ...]


def draw_curves(data: Curves) -> Figure:
    """A line a study; from the seventh on colours come again with other dashes."""
    figure = Figure(figsize=(WIDTH, 2.9 + 0.17 * len(data.studies)))
    axis = figure.subplots()
    for i, (name, best, last) in enumerate(data.studies):
        if best:
            steps = [*best, (last, best[-1][1])]
            axis.step(
                *zip(*steps, strict=True),
                where="post",
                color=colour(i),
                linestyle=DASHES[i // 6 % len(DASHES)],
                label=name,
            )
    axis.set_xlabel("trial")
    axis.set_ylabel("best value so far")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=1)
    return figure
