"""How fast is a trial, beside peers that are as fast as an honest engineer would make them?

python experiments/0003-trial-speed/run.py [--seconds 1200] [--dtype float32] [--shape small] [--videos 150]
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import optuna
import torch
import transformers
from bench import (
    DISK,
    FULL,
    MEMORY,
    OBJECTIVE,
    PROPOSALS,
    SEARCH,
    STRONGEST,
    THIRD,
    Bench,
    SearchFound,
    fresh_recipes,
    measure_round,
    measure_search,
    open_bench,
    speed_figures,
)
from exactness import exactness, first_videos
from material import BASE_ACCURACY, SMALL, build_material
from rich.console import Console
from rich.table import Table

from merit_opt.evaluation.objective import PenalisedGain

TARGETS = {
    "full_vs_disk": (4.5, 3.5),
    "full_vs_strongest": (2.0, 1.7),
    "search_vs_strongest": (4.4, 3.5),
}
TABLE_WIDTH = 120
DEFAULT_OBJECTIVE = PenalisedGain("probability", 2.0)
ROUNDS = (3, 9)
ROUNDING = 1e-5
VIDEOS = 10
THREADS = 1


def main() -> int:
    """Measure, write the result, print one table."""
    options = parse()
    torch.set_num_threads(THREADS)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if options.shape == "7b":
        from gpu import measure_7b

        return measure_7b(options, say, facts(options.dtype or "bfloat16"))
    result = measure_small(options)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    Console(width=TABLE_WIDTH).print(table(result))
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1200.0, help="about how long to measure")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="of the timed model")
    parser.add_argument("--shape", choices=("small", "7b"), default="small")
    parser.add_argument("--videos", type=int, help="how many, of --shape 7b")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("result.json"))
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def say(message: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')}  {message}", file=sys.stderr, flush=True)


def facts(dtype: str) -> dict[str, Any]:
    """Of the machine and the libraries, as far as they move the figures."""
    return {
        "cores": os.cpu_count(),
        "threads": THREADS,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "system": platform.system(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in ("torch", "transformers", "av", "optuna")},
        "dtype": dtype,
    }


def measure_small(options: argparse.Namespace) -> dict[str, Any]:
    """The CPU's figures: rounds until the time is up, less what the rest will take."""
    started = time.perf_counter()
    dtype = options.dtype or "float32"
    proposals, videos = (6, 4) if options.tiny else (PROPOSALS, VIDEOS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say("checkpoints and videos")
        material = build_material(folder, videos=videos, seed=0)
        bench = open_bench(material, folder, dtype, say)
        found = measure_search(bench, proposals, OBJECTIVE, every=6)
        other = measure_search(bench, proposals // 3, DEFAULT_OBJECTIVE, every=None)
        few = bench.suite if not options.tiny else first_videos(bench.suite, 1)
        exact = exactness(material, few, folder / "exact", say)
        least, most = ROUNDS
        recipes = islice(fresh_recipes(bench.pair.n_layers), most)
        taken: list[float] = []
        for turn, recipe in enumerate(recipes):
            left = options.seconds - (time.perf_counter() - started)
            if turn >= least and left < max(taken):
                break
            begun = time.perf_counter()
            measure_round(bench, recipe, turn)
            taken.append(time.perf_counter() - begun)
    return small_result(bench, [found, other], exact, facts(dtype))


def small_result(
    bench: Bench,
    searches: Sequence[SearchFound],
    exact: Mapping[str, Any],
    machine: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything measured, as result.json has it."""
    found, other = searches
    peer = [t.cpu for t in (*found.peer.values(), *bench.taken[STRONGEST])]
    tokens = [int(t.shape[1]) for t in token_counts(bench)]
    cpu = speed_figures(bench, found, "cpu")
    spreads = {"ratios": cpu.pop("ratio_spread"), "seconds": cpu.pop("seconds")}
    decoding = statistics.median(bench.decoding)
    disk, full = spreads["seconds"][DISK]["median"], spreads["seconds"][FULL]["median"]
    return {
        **cpu,
        "full_vs_disk_if_decoding_were_free": (disk - decoding) / full,
        "spread": spreads,
        "wall": speed_figures(bench, found, "wall"),
        "decoding_seconds_of_disk_peer": decoding,
        "search": search_facts(bench, found)
        | {
            "limit_of_curtailment": 1 / (1 - BASE_ACCURACY),
            "answers_kept_by_proposals": statistics.mean(found.kept),
            "peer_measured_on": len(found.peer),
            "stopped_and_measured_by_peer": len(found.overshoot),
            "of_them_above_the_value_to_beat": sum(o > ROUNDING for o in found.overshoot),
        },
        "search_on_probability": search_facts(bench, other)
        | {
            "search_vs_strongest": statistics.mean(peer)
            / statistics.mean(t.cpu for t in other.engine)
        },
        "engine": {
            name: {
                "layers_skipped": bench.costs[name][-1].layers_skipped,
                "tokens": bench.costs[name][-1].tokens,
                "utilisation": statistics.median(c.utilisation for c in bench.costs[name]),
            }
            for name in (FULL, THIRD)
        },
        "work": {
            "videos": len({s.group_id for s in bench.suite.samples}),
            "questions": len(bench.suite.samples),
            "prompt_tokens": [min(tokens), max(tokens)],
            "tokens_one_at_a_time": sum(tokens),
            "base_accuracy": statistics.mean(s.value or 0.0 for s in bench.base.scores),
            "shape": {name: getattr(SMALL, name) for name in SMALL.__slots__},
        },
        "engine_against_peers_largest_difference": max(bench.agreement),
        "exactness": dict(exact),
        "machine": dict(machine),
    }


def search_facts(bench: Bench, found: SearchFound) -> dict[str, Any]:
    """What one search asked and left out."""
    asked = len(bench.suite.samples) * len(found.costs)
    return {
        "objective": f"{found.objective.score}, penalty {found.objective.penalty:g}",
        "proposals": len(found.costs),
        "stopped": sum(value is None for value in found.values),
        "questions_saved": sum(c.questions_saved for c in found.costs) / asked,
        "layers_skipped": statistics.mean(c.layers_skipped for c in found.costs),
    }


def token_counts(bench: Bench) -> list[torch.Tensor]:
    """The strongest peer's embeddings."""
    return [given["inputs_embeds"] for given in bench.peers[STRONGEST].inputs.values()]


def table(result: Mapping[str, Any]) -> Table:
    """One row a contender, then what was aimed at."""
    title = f"{result['work']['questions']} questions, {result['machine']['dtype']}"
    shown = Table(title=f"{title}; ratios on processor time")
    for column in (
        "",
        "CPU s",
        "least",
        "most",
        "wall s",
        "figure",
        "ratio",
        "least",
        "most",
        "aim",
    ):
        shown.add_column(column, justify="left" if column in ("", "figure") else "right")
    for name, key in ROWS:
        shown.add_row(*row(result, name, key))
    return shown


ROWS = (
    (DISK, "full_vs_disk"),
    (MEMORY, "full_vs_memory"),
    (STRONGEST, "full_vs_strongest"),
    (FULL, ""),
    (THIRD, "third_vs_strongest"),
    (SEARCH, "search_vs_strongest"),
)


def row(result: Mapping[str, Any], name: str, key: str) -> list[str]:
    """Cells of one contender; `key` is the ratio that belongs to it."""
    seconds, wall = result["spread"]["seconds"][name], result["wall"]["seconds"][name]
    cells = [name, *(f"{seconds[k]:.2f}" for k in ("median", "least", "greatest"))]
    cells.append(f"{wall['median']:.2f}")
    if not key:
        return cells
    ratio = result["spread"]["ratios"][key]
    measured = [f"{number:.2f}" for number in (result[key], ratio["least"], ratio["greatest"])]
    return [*cells, key, *measured, aim(key)]


def aim(key: str) -> str:
    """What the ratio should reach, and the least that counts."""
    return "{}, least {}".format(*TARGETS[key]) if key in TARGETS else ""


if __name__ == "__main__":
    sys.exit(main())
