"""Make a tiny pair from nothing: `python -m merit_opt.models.tiny.train --seed 0 --out DIR`.

The same command goes on where a run that was killed had come to.
"""

import argparse
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table

from merit_opt.data.progress import Progress
from merit_opt.errors import UserError
from merit_opt.models.tiny.course import FULL
from merit_opt.models.tiny.lineage import Lineage
from merit_opt.models.tiny.making import Made, Making
from merit_opt.models.tiny.table import BASE, RESTORED, UNIFORM


def main(arguments: Sequence[str]) -> int:
    """Make the pair, print its table; 1 when a mark is missed or an option does not fit."""
    given = _parser().parse_args(arguments)
    planted = tuple(tuple(sorted(layers)) for layers in given.plant or [[3, 5], [3, 6]])
    lineage = Lineage(given.layers, given.hidden, given.seed, planted)
    console, started = Console(), time.perf_counter()
    torch.set_num_threads(1)
    try:
        with _shown(console) as progress:
            made = Making(lineage, FULL, given.out, progress).make()
    except UserError as error:
        console.print(f"error: {error}", highlight=False, soft_wrap=True)
        return 1
    console.print(_table(made), f"{time.perf_counter() - started:.0f} s", sep="\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m merit_opt.models.tiny.train", description=(__doc__ or "").partition(":")[0]
    )
    parser.add_argument("--layers", type=int, default=9, help="of the language model")
    parser.add_argument("--hidden", type=int, default=96, help="its hidden size")
    parser.add_argument("--seed", type=int, default=0, help="of weights, scenes and clips")
    parser.add_argument(
        "--plant",
        type=_layers,
        action="append",
        help="layers to damage, as in 3,5; once for each planted VLM (default: 3,5 and 3,6)",
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    return parser


def _layers(text: str) -> list[int]:
    return [int(layer) for layer in text.split(",")]


@contextmanager
def _shown(console: Console) -> Generator[Progress]:
    """One line for the stage at work, with its time left; a line a stage where none is drawn."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    drawn, tasks = console.is_terminal, dict[str, TaskID]()
    with Bars(*columns, console=console, disable=not drawn, transient=True) as bars:

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                for task in tasks.values():
                    bars.update(task, visible=False)
                tasks[stage] = bars.add_task(stage, total=total)
            if done == total and not drawn:
                console.print(f"{stage}: {done} of {total}", highlight=False)
            bars.update(tasks[stage], completed=done, total=total, visible=True)

        yield tell


def _table(made: Made) -> Table:
    """TR / TP: a line for every merge, a column for every checkpoint."""
    table = Table("TR / TP", *made.table)
    for merge in (BASE, *(f"u {c:g}" for c in UNIFORM), RESTORED):
        found = [row.get(merge) for row in made.table.values()]
        table.add_row(merge, *(f"{f.TR:.3f} / {f.TP:.3f}" if f else "" for f in found))
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
