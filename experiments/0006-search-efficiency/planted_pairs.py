"""Makes every planted pair, checks its measurements against the engine, says what is in it.

python experiments/0006-search-efficiency/planted_pairs.py [--folder outputs/planted] [--only 1 2] [--timed]
writes planted_pairs.json beside this file, and prints it as a table.
"""

import argparse
import json
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from draws import DRAWS
from planted import COEFFICIENTS, FOLDER, PENALTY, Planted, planted

from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe

CHECKED = 3
TIMED = 12
ROUNDING = 2e-5


def main() -> None:
    """Write and print."""
    options = parse()
    chosen = [d for d in DRAWS if not options.only or d.seed in options.only]
    rows: list[dict[str, Any]] = []
    for draw in chosen:
        testbed = planted(draw, options.folder)
        rows.append(
            facts(testbed) | ({"seconds_a_recipe": seconds(testbed)} if options.timed else {})
        )
        print(markdown(rows[-1:])[-1], flush=True)
    options.out.write_text(json.dumps({"schema": 1, "pairs": rows}, indent=1) + "\n")
    print("\n".join(markdown(rows)))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Makes and measures every planted pair.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where pairs are kept")
    parser.add_argument("--only", type=int, nargs="*", help="seeds of the draws; default all")
    parser.add_argument("--timed", action="store_true", help="say what a recipe takes, too")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("planted_pairs.json"))
    return parser.parse_args()


def facts(testbed: Planted) -> dict[str, Any]:
    """What is known of one pair, to be read without it."""
    layers, draw = range(testbed.n_layers), testbed.draw
    single = {layer: testbed.restored((layer,), 1.0) for layer in layers}
    scored = {
        "base": constructors.base(testbed.n_layers),
        "oracle": testbed.oracle,
        "best_uniform": testbed.best_uniform,
        "decoys_half_restored": testbed.restored(draw.decoys, 0.5),
        "decoys_restored": testbed.restored(draw.decoys, 1.0),
    }
    (coefficient,) = set(testbed.oracle.coefficients().values())
    (uniform,) = set(testbed.best_uniform.coefficients().values())
    return {
        "pair": testbed.pair,
        "seed": draw.seed,
        "damaged": draw.layers,
        "helpful_alone": sorted(testbed.helpful),
        "useful": sorted(testbed.useful),
        "decoys": draw.decoys,
        "oracle_coefficient": coefficient,
        "best_uniform_coefficient": uniform,
        "held_out": {name: score(testbed, recipe) for name, recipe in scored.items()},
        "alone": {k: score(testbed, recipe) for k, recipe in single.items()},
        "oracle_without": {k: score(testbed, testbed.without(k)) for k in draw.layers},
        "distance": [round(d, 4) for d in testbed.distance],
        "ranks": ranks(testbed),
        "engine_difference": checked(testbed),
    }


def score(testbed: Planted, recipe: Recipe) -> dict[str, float]:
    """Held-out accuracies and objective."""
    tr, tp = testbed.held_out(recipe)
    return {
        "TR": round(tr, 4),
        "TP": round(tp, 4),
        "gain": round(testbed.held_out_gain(recipe), 4),
    }


def promises(testbed: Planted) -> Mapping[str, Sequence[float]]:
    """By method, what each layer promises."""
    priors = {
        "margin's slope": testbed.finite_difference_prior("margin"),
        "log-probability's slope": testbed.finite_difference_prior("log_probability"),
        "scan": testbed.prior("scan"),
    }
    return {"distance": testbed.distance} | {k: p.gains(PENALTY) for k, p in priors.items()}


def ranks(testbed: Planted) -> dict[str, Any]:
    """By method, the layers of most promise first, and how often a decoy stands above a useful one.

    Of the layers that carry perception none is counted, as no method is asked to tell them.
    """
    found: dict[str, Any] = {}
    for method, promise in promises(testbed).items():
        order = sorted(range(testbed.n_layers), key=lambda layer: -promise[layer])
        pairs = [(d, u) for d in testbed.decoys for u in testbed.useful]
        above = sum(promise[decoy] > promise[useful] for decoy, useful in pairs)
        found[method] = {
            "order": order,
            "promise": [round(p, 4) for p in promise],
            "decoys_above_useful": above,
            "of_pairs": len(pairs),
        }
    return found


def checked(testbed: Planted) -> float:
    """How far a few recipes' probabilities are from the engine's, at most `ROUNDING`."""
    rng = random.Random(testbed.draw.seed)
    recipes = [testbed.oracle, *(some_recipe(testbed, rng) for _ in range(CHECKED - 1))]
    found = testbed.engine_difference(recipes, testbed.suite)
    if found > ROUNDING:
        raise RuntimeError(f"{testbed.pair} differs by {found} from the engine")
    return found


def seconds(testbed: Planted) -> float:
    """Median CPU seconds of recipes that change one layer of another, as most proposals do."""
    rng, taken = random.Random(time.time()), list[float]()
    layers = dict(some_recipe(testbed, rng).coefficients())
    for _ in range(TIMED):
        layers[rng.randrange(testbed.n_layers)] = rng.uniform(0.1, 1.0)
        began = time.process_time()
        testbed.measure(constructors.attention(testbed.n_layers, layers))
        taken.append(time.process_time() - began)
    return round(sorted(taken)[TIMED // 2], 3)


def some_recipe(testbed: Planted, rng: random.Random) -> Recipe:
    """Half of the layers, at some of the oracle's coefficients."""
    chosen = rng.sample(range(testbed.n_layers), testbed.n_layers // 2)
    return constructors.attention(testbed.n_layers, {k: rng.choice(COEFFICIENTS) for k in chosen})


def markdown(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A table for the README."""
    head = (
        "pair", "damaged (useful)", "decoys", "base TR/TP", "oracle TR/TP", "gain",
        "best uniform TR/TP", "gain", "distance by layer",
        "decoys above useful: distance, slope of margin, of log-probability, scan",
    )  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return lines + ["| " + " | ".join(cells(row)) + " |" for row in rows]


def cells(row: dict[str, Any]) -> list[str]:
    """Of one pair."""
    held = row["held_out"]
    accuracies = {n: f"{held[n]['TR']:.3f}/{held[n]['TP']:.3f}" for n in held}
    methods = row["ranks"].values()
    return [
        row["pair"],
        f"{listed(row['damaged'])} ({listed(row['useful'])})",
        listed(row["decoys"]),
        accuracies["base"],
        f"{accuracies['oracle']} at {row['oracle_coefficient']:g}",
        f"{held['oracle']['gain']:+.3f}",
        f"{accuracies['best_uniform']} at {row['best_uniform_coefficient']:g}",
        f"{held['best_uniform']['gain']:+.3f}",
        " ".join(f"{d:.2f}" for d in row["distance"]),
        ", ".join(f"{m['decoys_above_useful']} of {m['of_pairs']}" for m in methods),
    ]


def listed(layers: Sequence[int]) -> str:
    """As in "3, 5"."""
    return ", ".join(map(str, layers))


if __name__ == "__main__":
    main()
