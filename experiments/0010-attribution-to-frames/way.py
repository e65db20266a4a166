"""How log-probability changes on the way from the mean feature to the video, in a merged model.

python experiments/0010-attribution-to-frames/way.py [--folder outputs/frames] [--pair vlm_planted_3_6]

Of some questions of the run `deep`: what the chosen option gains, how far it goes up and down, where it is
steepest, and how far integrated gradients are off with evenly spread points and with added ones.
"""

import argparse
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import torch
from run import ENGINE, PAIRS, RUNS, Silent, suite_in

from merit_opt.attribution.anatomy import anatomy_of
from merit_opt.attribution.frames.asked import Asked
from merit_opt.attribution.frames.gradients import Line, along
from merit_opt.evaluation.engine import Engine
from merit_opt.models.frames import between, frame_tokens
from merit_opt.models.source import FolderOrId
from merit_opt.models.tiny.pair import tiny_pair
from merit_opt.recipe import constructors

POINTS = 140
LINES = {
    "64": Line(64, 64),
    "256": Line(256, 256),
    "32 to 128": Line(32, 128),
    "32 to 256": Line(32, 256),
    "32 to 512": Line(32, 512),
}


def main() -> None:
    """A row each question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("outputs/frames"))
    parser.add_argument("--pair", choices=list(PAIRS), default="vlm_planted_3_6")
    parser.add_argument("--questions", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| question | gain | up and down | steepest | at |", *(f" {n} |" for n in LINES))
    print("|---" * (5 + len(LINES)) + "|")
    for one in islice(asked(options.pair, options.folder), options.questions):
        print(row(one), flush=True)


def asked(pair: str, folder: Path) -> Iterator[Asked]:
    """One question after the other, put to the merged model."""
    source = tiny_pair(vlm=FolderOrId(pair), dtype="float32")
    recipe = constructors.attention(anatomy_of(source).n_layers, dict.fromkeys(PAIRS[pair], 1.0))
    suite = RUNS["deep"]._chosen(suite_in(folder), seed=0)  # pyright: ignore[reportPrivateUsage]
    loaded = source.load("cpu", "device")
    with Engine(loaded, ENGINE, cache=folder, starts={}, reporter=Silent()) as engine:
        live = engine.live(recipe, suite)
        for pack in live.packs:
            samples = {s.id: s for s in suite.samples if s.id in {q.id for q in pack.questions}}
            frames = frame_tokens(live.pair.family, pack.features)
            if frames is not None:
                yield from Asked(live.pair, pack, frames, samples, suite.asking.scorer).alone()


def row(one: Asked) -> str:
    """Of the option that the model chooses."""
    (name,) = one.samples
    option = int(one.answers()[name].argmax())
    shares = [i / POINTS for i in range(POINTS + 1)]
    said = [value(one, name, option, share) for share in shares]
    steps = [after - before for before, after in pairwise(said)]
    steepest = max(range(POINTS), key=lambda i: abs(steps[i]))
    gain = said[-1] - said[0]
    missed = (
        f"{float(along(one, [(name, option)], line).sum()) - gain:+.2f}" for line in LINES.values()
    )
    cells = (
        name,
        f"{gain:.2f}",
        f"{sum(map(abs, steps)):.1f}",
        f"{abs(steps[steepest]) * POINTS:.0f}",
        f"{shares[steepest]:.2f}",
        *missed,
    )
    return f"| {' | '.join(cells)} |"


def value(one: Asked, name: str, option: int, share: float) -> float:
    """Log-probability at a share of the way."""
    there = between(one.pack, one.frames, one.baseline, share)
    return float(one.answers(there)[name][option].double())


if __name__ == "__main__":
    main()
