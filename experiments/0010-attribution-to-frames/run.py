"""Does attribution to frames find the frames that are known to be needed?

python experiments/0010-attribution-to-frames/run.py [--folder outputs/frames]
python experiments/0010-attribution-to-frames/run.py --markdown

An interrupted run goes on: what was explained is in the folder's cache.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping
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
        methods=CHEAP, models=("base", "merged"), samples=160, steps=1, curves=0, redrawn=40
    ),
    "deep": Frames(
        methods=(*CHEAP, "integrated"),
        models=("base", "merged"),
        samples=16,
        steps=64,
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
    source = tiny_pair(vlm=pair, dtype="float32")
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
    yield "| pair | method | role | n | chance | base | merged | p of merged | shift, p |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for pair, own in found.get("wide", {}).items():
        for one in own["evidence"]:
            if one["target"] == "chosen":
                yield _evidence_row(pair, one)
    yield ""
    yield "| pair | run | methods | base | merged |"
    yield "|---|---|---|---|---|"
    for run in RUNS:
        for pair, own in found.get(run, {}).items():
            by_pair: dict[str, dict[str, str]] = {}
            for one in own["agreement"]:
                names = " and ".join(one["methods"])
                by_pair.setdefault(names, {})[one["model"]] = _interval(one["correlation"])
            for names, cells in by_pair.items():
                yield f"| {pair} | {run} | {names} | {cells['base']} | {cells['merged']} |"
    yield ""
    yield "| pair | run | method | correlation with weights drawn anew |"
    yield "|---|---|---|---|"
    for run in RUNS:
        for pair, own in found.get(run, {}).items():
            for one in own["redrawn"]:
                cells = (pair, run, one["method"], _interval(one["correlation"]))
                yield f"| {' | '.join(cells)} |"
    yield ""
    yield "| pair | model | method | deletion - random, p | insertion - random, p |"
    yield "|---|---|---|---|---|"
    for pair, own in found.get("deep", {}).items():
        for one in own["curves"]:
            cells = (
                pair,
                one["model"],
                one["method"],
                *map(_area, (one["deletion"], one["insertion"])),
            )
            yield f"| {' | '.join(cells)} |"
        for one in own["completeness"]:
            yield f"integrated, {pair} ({one['model']}): off by {one['error']:.2f} of {one['gap']:.2f}"


def _evidence_row(pair: str, one: Mapping[str, Any]) -> str:
    share = one["share"]
    base, merged, shift = share["base"], share["merged"], share["shift"]
    return (
        f"| {pair} | {one['method']} | {one['role']} | {merged['n']} | {merged['chance']:.2f} | "
        f"{base['mean']:.2f} | {merged['mean']:.2f} | {merged['above_chance']['p']:.4f} | "
        f"{shift['estimate']:+.2f}, {shift['p']:.2f} |"
    )


def _interval(one: Mapping[str, Any]) -> str:
    return f"{one['estimate']:+.2f} [{one['low']:+.2f}, {one['high']:+.2f}]"


def _area(one: Mapping[str, Any]) -> str:
    return f"{one['difference']['estimate']:+.3f}, {one['difference']['p']:.4f}"


if __name__ == "__main__":
    main()
