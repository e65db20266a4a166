"""What a person sees while work goes on; nothing is drawn where there is no terminal."""

import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from merit_opt.tracking.record import TrialRecord

TRIALS = "trials"
SELDOM = 30.0
"""Seconds between lines where nothing is drawn."""
Due = Callable[[], bool]


class Display:
    """One progress line at a time: the stage at work, with its time left.

    Of several workers at once each says only what it has done, a line at a time, its name first.
    The stage at work is a line of its own whenever one is due.
    """

    def __init__(self, progress: Progress, teller: str = "", due: Due = lambda: False) -> None:
        self._progress = progress
        self._teller = teller
        self._due = due
        self._tasks: dict[str, TaskID] = {}
        self._begun: dict[str, int] = {}  # how much of each stage was done when it was first seen

    def stage(self, name: str, done: int, total: int) -> None:
        """`done` of `total` steps of the stage are finished."""
        self._show(name, name, done, total)
        if self._due():
            self._say(f"{name} ({done} of {total}{self._left(name)})")

    def _left(self, name: str) -> str:
        """About how long the stage will still take, once that can be told."""
        task = self._progress.tasks[self._tasks[name]]
        here = task.completed - self._begun[name]
        if here <= 0 or task.elapsed is None or task.total is None:
            return ""
        seconds = task.elapsed / here * (task.total - task.completed)
        return f"; about {_duration(seconds)} left"

    def trial(self, record: TrialRecord, best: TrialRecord | None, done: int, total: int) -> None:
        """`done` of `total` trials are finished, `record` the last of them."""
        text = _trial_text(record, best)
        self._show(TRIALS, text, done, total)
        if self._teller:
            self._say(f"{text} ({done} of {total})")

    def warn(self, message: str) -> None:
        """Print a warning above the progress line."""
        self._say(f"warning: {message}")

    def _say(self, line: str) -> None:
        self._progress.console.print(f"{self._teller}{line}", highlight=False, soft_wrap=True)

    def _show(self, name: str, text: str, done: int, total: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(text, total=total)
            self._begun[name] = done
        elif done < self._progress.tasks[self._tasks[name]].completed:  # it began once more
            self._progress.reset(self._tasks[name])
            self._begun[name] = done
        for other, task in self._tasks.items():
            self._progress.update(task, visible=other == name)
        self._progress.update(self._tasks[name], description=text, completed=done, total=total)


@contextmanager
def display(console: Console, teller: str = "", every: float = math.inf) -> Generator[Display]:
    """A live display on `console`, or a silent one where it is no terminal.

    Args:
        console: Where to show it.
        teller: What every line begins with, where others write to the same terminal; nothing is
            drawn then.
        every: Seconds after which the stage at work is said in a line where nothing is drawn.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    drawn = console.is_terminal and not teller
    with Progress(*columns, console=console, disable=not drawn, transient=True) as progress:
        yield Display(progress, teller, now_and_then(math.inf if drawn else every))


def now_and_then(every: float, clock: Callable[[], float] = time.monotonic) -> Due:
    """Whether `every` seconds have passed since this was made, or last said so."""
    last = clock()

    def due() -> bool:
        nonlocal last
        if clock() - last < every:
            return False
        last = clock()
        return True

    return due


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _trial_text(record: TrialRecord, best: TrialRecord | None) -> str:
    last = " ".join(filter(None, ("trial", str(record.number), record.name, _scores(record))))
    if best is None:
        return last
    return f"{last} │ best {best.number} {_scores(best)} {len(best.recipe.merged_layers)} layers"


def _scores(record: TrialRecord) -> str:
    if record.state == "FAIL":
        return "failed"
    if record.state == "PRUNED":
        bound = record.metrics.get("bound")
        return "stopped early" if bound is None else f"cannot win (bound {bound:+.3f})"
    return f"TR {record.metrics['TR']:.3f} TP {record.metrics['TP']:.3f}"
