"""Does attribution to frames find the frames that are known to be needed?

python experiments/0010-attribution-to-frames/run.py [--folder outputs/frames]
python experiments/0010-attribution-to-frames/run.py --markdown

An interrupted run goes on: what was explained is in the folder's cache.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from merit_opt.attribution.anatomy import anatomy_of
from merit_opt.attribution.frames.effects import How
from merit_opt.attribution.frames.method import Frames
from merit_opt.attribution.method import Bench
from merit_opt.data.clips.suite import clips_suite
from merit_opt.data.suite import Suite
from merit_opt.evaluation.engine import Engine
from merit_opt.evaluation.settings import EngineSettings
from merit_opt.models.source import FolderOrId
from merit_opt.models.tiny.pair import tiny_pair
from merit_opt.recipe import constructors

RESULT = Path(__file__).parent / "result.json"
PAIRS: Mapping[str, tuple[int, ...]] = {"vlm_planted_3_5": (3, 5), "vlm_planted_3_6": (3, 6)}
CLIPS, SEED = 80, 2000
CHEAP: tuple[How, ...] = ("occlusion_mean", "occlusion_hidden", "gradient")
ENGINE = EngineSettings(
    threads=1,
    backbone="device",
    features_gib=2,
    levels_gib=1,
    host_levels_gib=0,
    prefixes=0,
    decoder="auto",
    decode_workers=1,
    decode_seconds=120.0,
    frames_in_flight=512,
)
RUNS: Mapping[str, Frames] = {
    "wide": Frames(
        methods=CHEAP,
        models=("base", "merged"),
        samples=160,
        steps=4,
        most_steps=4,
        curves=0,
        redrawn=40,
    ),
    "deep": Frames(
        methods=(*CHEAP, "integrated"),
        models=("base", "merged"),
        samples=16,
        steps=32,
        most_steps=512,
        curves=8,
        redrawn=8,
    ),
}


def main() -> None:
    """Every run on every pair, then the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("outputs/frames"))
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {"schema": 1}
    for run in () if options.markdown else RUNS:
        for pair in PAIRS:
            started = time.time()
            found.setdefault(run, {})[pair] = explained(run, pair, options.folder)
            RESULT.write_text(json.dumps(found, indent=1) + "\n")
            print(run, pair, f"{time.time() - started:.0f} s", flush=True)
    print("\n".join(markdown(found)))


def explained(run: str, pair: str, folder: Path) -> dict[str, Any]:
    """One run's summary: the planted VLM against the same with its damaged layers restored."""
    source = tiny_pair(vlm=FolderOrId(pair), dtype="float32")
    anatomy, suite, method = anatomy_of(source), suite_in(folder), RUNS[run]
    recipe = constructors.attention(anatomy.n_layers, dict.fromkeys(PAIRS[pair], 1.0))
    method.require(recipe, anatomy, suite)
    live = source.load("cpu", "device")
    with Engine(live, ENGINE, cache=folder, starts={}, reporter=Silent()) as engine:
        found = method.run(
            Bench(
                engine=engine,
                anatomy=anatomy,
                recipe=recipe,
                suite=suite,
                search=suite,
                seed=0,
                reporter=Silent(),
            )
        )
    right = [row["correct"] for row in found.tables["frame_samples"] if row["model"] == "merged"]
    return {
        **found.summary,
        "correct": {"merged": sum(right) / len(right)},
        "failed": dict(found.failed),
    }


def suite_in(folder: Path) -> Suite:
    """Clips that nothing else of the project was chosen on."""
    return clips_suite(
        cache=folder / "clips",
        clips=CLIPS,
        seed=SEED,
        tr_per_clip=3,
        tp_per_clip=2,
        max_unusable=0.0,
        progress=None,
    )


class Silent:
    """Nothing is told but what is amiss."""

    def stage(self, name: str, done: int, total: int) -> None:
        """Nothing."""

    def warn(self, message: str) -> None:
        """A line on the terminal."""
        print(message)


def markdown(found: Mapping[str, Any]) -> Iterator[str]:
    """Tables for the README, of the chosen option."""
    tables = (_evidence, _agreement, _redrawn, _curves, _completeness)
    for head, rows in (table(found) for table in tables):
        yield f"| {' | '.join(head)} |"
        yield "|---" * len(head) + "|"
        yield from (f"| {' | '.join(row)} |" for row in rows)
        yield ""


Table = tuple[Sequence[str], list[Sequence[str]]]


def _parts(found: Mapping[str, Any], part: str, runs: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Run and pair, and each entry of a part of its summary."""
    for run in runs:
        for pair, own in found.get(run, {}).items():
            yield from ((f"{pair}, {run}", one) for one in own[part])


def _evidence(found: Mapping[str, Any]) -> Table:
    head = "pair", "method", "role", "n", "chance", "base", "merged", "p of merged", "shift, p"
    rows = [
        _evidence_row(name, one)
        for name, one in _parts(found, "evidence", ["wide"])
        if one["target"] == "chosen"
    ]
    return head, rows


def _agreement(found: Mapping[str, Any]) -> Table:
    rows: list[Sequence[str]] = [
        (name, one["model"], " and ".join(one["methods"]), _interval(one["correlation"]))
        for name, one in _parts(found, "agreement", list(RUNS))
    ]
    return ("pair", "model", "methods", "rank correlation"), rows


def _redrawn(found: Mapping[str, Any]) -> Table:
    rows: list[Sequence[str]] = [
        (name, one["method"], _interval(one["correlation"]))
        for name, one in _parts(found, "redrawn", list(RUNS))
    ]
    return ("pair", "method", "with weights drawn anew"), rows


def _curves(found: Mapping[str, Any]) -> Table:
    rows: list[Sequence[str]] = [
        (name, one["model"], one["method"], _area(one["deletion"]), _area(one["insertion"]))
        for name, one in _parts(found, "curves", ["deep"])
    ]
    return ("pair", "model", "order", "deletion - random, p", "insertion - random, p"), rows


def _completeness(found: Mapping[str, Any]) -> Table:
    rows: list[Sequence[str]] = [
        (name, one["model"], f"{one['error']:.2f}", f"{one['gap']:.2f}", f"{one['close']:.2f}")
        for name, one in _parts(found, "completeness", ["deep"])
    ]
    return ("pair", "model", "integrated is off by", "of", "close"), rows


def _evidence_row(name: str, one: Mapping[str, Any]) -> Sequence[str]:
    share = one["share"]
    base, merged, shift = share["base"], share["merged"], share["shift"]
    return (
        name,
        one["method"],
        one["role"],
        str(merged["n"]),
        f"{merged['chance']:.2f}",
        f"{base['mean']:.2f}",
        f"{merged['mean']:.2f}",
        f"{merged['above_chance']['p']:.4f}",
        f"{shift['estimate']:+.2f}, {shift['p']:.2f}",
    )


def _interval(one: Mapping[str, Any]) -> str:
    return f"{one['estimate']:+.2f} [{one['low']:+.2f}, {one['high']:+.2f}]"


def _area(one: Mapping[str, Any]) -> str:
    return f"{one['difference']['estimate']:+.3f}, {one['difference']['p']:.4f}"


if __name__ == "__main__":
    main()
