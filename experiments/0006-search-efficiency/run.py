"""How many trials does a search need, and does what it finds hold on questions it never saw?

python experiments/0006-search-efficiency/run.py [--testbeds NAME …] [--methods NAME …]
python experiments/0006-search-efficiency/run.py --summarise

Every run is a row of runs.csv; one that is there is not run again, so that a run of this script that
was stopped goes on. result.json is computed from the rows alone. Delete runs.csv to start afresh.
"""

import argparse
import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import optuna
from methods import METHODS, Method
from rows import COLUMNS, KEY, row
from summary import summarised
from surrogate import LAWS, Surrogate
from testbed import Testbed

HERE = Path(__file__).parent
RUNS, RESULT = HERE / "runs.csv", HERE / "result.json"
AIMED_AT = ("surrogate", "and_pairs")
PLANTED = "planted"
SEEDS = 24
SEEDS_OF_OTHERS, SEEDS_OF_PLANTED = 8, 5
BUDGET_OF_PLANTED = 60
ON_OTHERS = ("default", "flips+gradient", "paper:0/1")


def main() -> None:
    """Run what is missing, then summarise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--summarise", action="store_true")
    parser.add_argument("--testbeds", nargs="*", default=[*LAWS, PLANTED])
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--pairs", nargs="*", type=int, default=range(1, 9), help="planted ones")
    parser.add_argument(
        "--folder", type=Path, default=Path("outputs/planted"), help="of the pairs"
    )
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if not options.summarise:
        _run_missing(options)
    rows = _rows()
    RESULT.write_text(json.dumps(summarised(rows), indent=1) + "\n")
    print(RESULT.read_text())


def _run_missing(options: argparse.Namespace) -> None:
    done = {tuple(r[name] for name in KEY) for r in _rows()}
    if not RUNS.exists():
        RUNS.write_text(",".join(COLUMNS) + "\n")
    for testbed, seed, name in _wanted(options):
        if (testbed.name, testbed.pair, str(seed), name) in done:
            continue
        found = row(testbed, name, _method(name, testbed), seed)
        with RUNS.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(found)
        print(testbed.name, testbed.pair, name, found["trials_to_target"], flush=True)


def _wanted(options: argparse.Namespace) -> Iterator[tuple[Testbed, int, str]]:
    """Testbed, seed, method; of the surrogate every seed is a pair of its own."""
    for law in (name for name in options.testbeds if name in LAWS):
        seeds = SEEDS if law in AIMED_AT else SEEDS_OF_OTHERS
        for name in options.methods:
            if law in AIMED_AT or name in ON_OTHERS:
                for seed in range(min(seeds, METHODS[name].seeds)):
                    yield Surrogate(law, seed), seed, name
    for testbed in _planted_pairs(options) if PLANTED in options.testbeds else ():
        for name in options.methods:
            for seed in range(min(SEEDS_OF_PLANTED, METHODS[name].seeds)):
                yield testbed, seed, name


def _planted_pairs(options: argparse.Namespace) -> Iterator[Testbed]:
    from draws import DRAWS
    from planted import planted

    for draw in DRAWS:
        if draw.seed in options.pairs:
            yield planted(draw, options.folder)


def _method(name: str, testbed: Testbed) -> Method:
    method = METHODS[name]
    if testbed.name != PLANTED:
        return method
    return replace(method, budget=min(method.budget, BUDGET_OF_PLANTED))


def _rows() -> list[dict[str, str]]:
    if not RUNS.exists():
        return []
    with RUNS.open(newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
