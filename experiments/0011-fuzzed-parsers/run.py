"""What the parsers of recipes, of lines of questions and of mergekit files do with anything at all.

    python experiments/0011-fuzzed-parsers/run.py --inputs 100000

The inputs are those of tests/fuzzed.py, each of a seed of its own. Each must be read or refused by a
sentence; whatever else comes out is a fault, told with its seed.
"""

import argparse
import json
import multiprocessing
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).parent
RESULT = HERE / "result.json"
sys.path.insert(0, str(HERE.parents[1]))

from tests.fuzzed import PARSERS, prepared  # noqa: E402

BYTES = 6 * 1024**3
VARYING = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\d+|\[.*\]|\{.*\}", re.DOTALL)


def main(names: list[str], inputs: int, first: int) -> None:
    """One process a parser; result.json keeps what it has of parsers that were not asked for."""
    kept: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    found = kept | {"inputs": inputs, "first_seed": first, "python": sys.version.split()[0]}
    with multiprocessing.get_context("spawn").Pool(len(names), maxtasksperchild=1) as pool:
        told = pool.starmap(fuzz, [(name, inputs, first) for name in names], chunksize=1)
    for name, one in zip(names, told, strict=True):
        found[name] = one
        print(name, json.dumps(one))
    RESULT.write_text(json.dumps(found, indent=1) + "\n")


def fuzz(name: str, inputs: int, first: int) -> dict[str, Any]:
    """As many inputs, each of a seed of its own."""
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    parser, told, faults, slowest = PARSERS[name], Counter[str](), list[str](), 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input"
        prepared(Path(folder))
        parser.takes(path, b"")  # libraries that load
        before, started = peak(), time.perf_counter()
        for number in range(first, first + inputs):
            content, begun = parser.grammar.made(Random(number)), time.perf_counter()
            try:
                why = parser.takes(path, content)
            except BaseException as fault:  # noqa: BLE001  # that is what is looked for
                why = f"FAULT {type(fault).__name__}"
                faults.append(f"{number}: {type(fault).__name__}: {str(fault)[:200]}")
            told[VARYING.sub("_", why.rpartition("\n")[2].replace(str(path), ""))[:60]] += 1
            slowest = max(slowest, time.perf_counter() - begun)
    seconds = time.perf_counter() - started
    return {
        "inputs": told.total(),
        "read": told[""],
        "refused": told.total() - told[""] - len(faults),
        "ways_of_refusal": len(told) - 1,
        "faults": len(faults),
        "first_faults": faults[:20],
        "inputs_a_second": round(told.total() / seconds),
        "slowest_ms": round(slowest * 1e3, 1),
        "memory_grown_mib": peak() - before,
    }


def peak() -> int:
    """MiB of resident memory, at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    parse = argparse.ArgumentParser()
    parse.add_argument("--inputs", type=int, default=100_000)
    parse.add_argument("--seed", type=int, default=0)
    parse.add_argument("--parser", choices=PARSERS, nargs="*", default=list(PARSERS))
    asked = parse.parse_args()
    main(asked.parser, asked.inputs, asked.seed)
