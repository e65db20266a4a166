"""Make a tiny pair from nothing: `python -m merit_opt.cli.tiny_pair --seed 0 --out DIR`.

The same command goes on where a run that was stopped had come to.
"""

import argparse
import re
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from merit_opt.cli.progress import SELDOM, display
from merit_opt.errors import UserError
from merit_opt.models.tiny.course import FULL
from merit_opt.models.tiny.damage import Damage
from merit_opt.models.tiny.lineage import Lineage
from merit_opt.models.tiny.making import Made, Making
from merit_opt.models.tiny.pair import BACKBONE
from merit_opt.models.tiny.plant import SOURCE

PLANTED = (Damage(((3, 5),)), Damage(((3, 6),)))
STOPPED = 130
WRITTEN = re.compile(r"\d+([,+]\d+)*(:\d+(,\d+)*)?", re.ASCII)


def main(arguments: Sequence[str]) -> int:
    """Make the pair and print its table.

    Returns:
        0; 2 where a mark is missed or something given does not fit; 130 after Ctrl-C.
    """
    given = _parser().parse_args(arguments)
    lineage = Lineage(given.layers, given.hidden, given.seed, tuple(given.plant or PLANTED))
    console, started = Console(), time.perf_counter()
    torch.set_num_threads(1)
    try:
        with display(console, every=SELDOM) as shown:
            made = Making(lineage, FULL, given.out, shown.stage).make()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        console.print("stopped; finished stages are kept. To go on, give the same command again.")
        return STOPPED
    console.print(_table(made))
    minutes = (time.perf_counter() - started) / 60
    console.print(
        f"{given.out}: every mark reached, {minutes:.0f} min",
        *_next(given.out, made),
        sep="\n",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m merit_opt.cli.tiny_pair", description=(__doc__ or "").partition(":")[0]
    )
    parser.add_argument(
        "--layers", type=int, default=9, help="of the language model (default: %(default)s)"
    )
    parser.add_argument(
        "--hidden", type=int, default=96, help="its hidden size (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of weights, scenes and clips (default: %(default)s)"
    )
    parser.add_argument(
        "--plant",
        type=damage,
        action="append",
        help="layers to damage, as in 3,5; those that are to help only together, as in 3+4; a "
        "layer to be moved without harm after a colon, as in 3,5:7; once for each planted VLM "
        "(default: 3,5 and 3,6)",
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    return parser


def damage(text: str) -> Damage:
    """What `--plant` says.

    Raises:
        argparse.ArgumentTypeError: It says nothing of the kind.
    """
    if not WRITTEN.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"expected layers as in 3,5 or 3+4 or 3,5:7, got {text!r}"
        )
    damaged, _, decoys = text.partition(":")
    groups = tuple(_layers(group) for group in damaged.split("+"))
    return Damage(groups, natural_decoys=_layers(decoys) if decoys else ())


def _layers(text: str) -> tuple[int, ...]:
    return tuple(sorted(map(int, text.split(","))))


def _next(out: Path, made: Made) -> list[str]:
    """How to search one of the planted VLMs."""
    planted = [name for name in made.table if name != SOURCE]
    command = "next: merit-opt search pair=custom"
    return [
        f"{command} pair.vlm={shlex.quote(str(out / name))} "
        f"pair.backbone={shlex.quote(str(out / BACKBONE))} study.name=NAME"
        for name in planted[:1]
    ]


def _table(made: Made) -> Table:
    """TR / TP: a line for every merge, a column for every checkpoint."""
    table = Table("TR / TP", *made.table)
    for merge in dict.fromkeys(merge for row in made.table.values() for merge in row):
        found = [row.get(merge) for row in made.table.values()]
        table.add_row(merge, *(f"{f.TR:.3f} / {f.TP:.3f}" if f else "" for f in found))
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
