"""Do scan, gradient and masks rank the layers on top that were planted to be useful?

python experiments/0009-attribution-on-planted-pairs/run.py [--folder outputs/planted] [--pairs NAME …]
python experiments/0009-attribution-on-planted-pairs/run.py --summarise

A pair whose rows are in runs.csv is not measured again. result.json is computed from the rows alone.
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from merit_opt.attribution.anatomy import Anatomy, anatomy_of
from merit_opt.attribution.gradient import Gradient
from merit_opt.attribution.mask import Mask
from merit_opt.attribution.method import Bench, Found, Method
from merit_opt.attribution.scan import Scan
from merit_opt.data.clips.suite import clips_suite
from merit_opt.data.suite import Suite
from merit_opt.evaluation import stats
from merit_opt.evaluation.engine import Engine
from merit_opt.evaluation.settings import EngineSettings
from merit_opt.models.source import FolderOrId, PairSource
from merit_opt.models.tiny.pair import tiny_pair
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe

HERE = Path(__file__).parent
RUNS, SETS, RESULT = HERE / "runs.csv", HERE / "sets.csv", HERE / "result.json"
PLANTED = HERE.parent / "0006-search-efficiency"
COLUMNS = (
    "pair", "recipe", "method", "variant", "model", "part", "layer", "coefficient", "is_useful",
    "unit", "TR", "TP",
)  # fmt: skip
SET_COLUMNS = ("pair", "variant", "TR", "TP", "random_TR", "random_TP", "p_TR", "p_beyond_TP")
CLIPS, SEED = 40, 1000
ENGINE = EngineSettings(
    threads=1,
    backbone="device",
    features_gib=2,
    levels_gib=1,
    host_levels_gib=0,
    prefixes=1,
    decoder="auto",
    decode_workers=1,
    decode_seconds=120.0,
    frames_in_flight=512,
)
VARIANTS = ("inverse_width", "zero", "mean")


@dataclass(frozen=True)
class Planted:
    """A pair with what is known of its layers.

    Attributes:
        name: As runs.csv has it.
        vlm: The checkpoint.
        seed: Of its clips.
        useful: Layers that a good recipe restores.
        spare: Damaged layers that help alone, and that a good recipe may leave out: not ranked.
    """

    name: str
    vlm: str
    seed: int
    useful: frozenset[int]
    spare: frozenset[int]

    @property
    def source(self) -> PairSource:
        """In float32."""
        return tiny_pair(vlm=FolderOrId(self.vlm), dtype="float32")


def main() -> None:
    """Measure what is missing, then summarise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("outputs/planted"))
    parser.add_argument("--pairs", nargs="*", help="names; default all")
    parser.add_argument("--summarise", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    stats.RESAMPLES = 99  # no interval is used here
    done = {row["pair"] for row in read(RUNS)}
    for pair in () if options.summarise else planted(options.folder):
        if pair.name not in done and (not options.pairs or pair.name in options.pairs):
            started = time.time()
            rows, sets = measured(pair, options.folder)
            append(SETS, SET_COLUMNS, sets)
            append(RUNS, COLUMNS, rows)
            print(pair.name, f"{time.time() - started:.0f} s", flush=True)
    summary = summarised(read(RUNS), read(SETS))
    RESULT.write_text(json.dumps(summary, indent=1) + "\n")
    print("\n".join(markdown(summary)))


def planted(folder: Path) -> Iterator[Planted]:
    """The packaged pairs, and those whose useful layers experiment 0006 has found.

    These are made where they are not in `folder`.
    """
    yield Planted("vlm_planted_3_5", "vlm_planted_3_5", 0, frozenset({3, 5}), frozenset())
    yield Planted("vlm_planted_3_6", "vlm_planted_3_6", 0, frozenset({3, 6}), frozenset())
    sys.path.insert(0, str(PLANTED))
    from draws import DRAWS, planted_vlm

    pairs = json.loads((PLANTED / "planted_pairs.json").read_text())["pairs"]
    known = {one["seed"]: one for one in pairs}
    for draw in (draw for draw in DRAWS if draw.seed in known):
        facts = known[draw.seed]
        useful = frozenset(facts["useful"])
        spare = frozenset(facts["helpful_alone"]) - useful
        yield Planted(draw.name, str(planted_vlm(draw, folder)), draw.seed, useful, spare)


def measured(pair: Planted, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Every method on the unmerged VLM, on a merge that knows nothing, and on the answer."""
    source = pair.source
    suite = clips_suite(
        cache=folder / "clips",
        clips=CLIPS,
        seed=SEED + pair.seed,
        tr_per_clip=3,
        tp_per_clip=2,
        max_unusable=0.0,
        progress=None,
    )
    anatomy = anatomy_of(source)
    n_layers = anatomy.n_layers
    answer = constructors.attention(n_layers, dict.fromkeys(pair.useful | pair.spare, 1.0))
    recipes = {"uniform:0.5": constructors.uniform(n_layers, 0.5), "answer": answer}
    rows: list[dict[str, Any]] = []
    with Engine(
        source.load("cpu", "device"),
        ENGINE,
        cache=folder,
        starts=dict.fromkeys(range(n_layers), 1.0),
        reporter=Silent(),
    ) as engine:

        def run(method: Method, recipe: Recipe) -> Found:
            method.require(recipe, anatomy, suite)
            return method.run(bench(engine, anatomy, recipe, suite))

        for name, method in methods():
            found = run(method, recipes[name])
            rows += list(layer_rows(pair, name, found))
        found = run(masks(("merged",), ("attention",), VARIANTS, random_sets=20), answer)
        rows += list(layer_rows(pair, "answer", found))
    return rows, list(set_rows(pair, found))


def methods() -> Iterator[tuple[str, Method]]:
    """Name of the recipe and what explains it."""
    yield "uniform:0.5", Scan(coefficients=(1.0,), parts=("attention",), layers=None)
    yield "uniform:0.5", Gradient(models=("base", "merged"), parts=("attention",))
    yield "uniform:0.5", masks(("base", "merged"), ("attention",), VARIANTS)
    yield "uniform:0.5", masks(("base", "merged"), ("mlp",), ("zero",))
    yield "uniform:0.5", masks(("merged",), ("attention",), ("revert",))


def masks(models: Any, parts: Any, variants: Any, random_sets: int = 0) -> Mask:
    """Of whole modules, in every layer."""
    return Mask(
        variants=variants,
        models=models,
        parts=parts,
        head_groups=False,
        layers=None,
        random_sets=random_sets,
    )


def bench(engine: Engine, anatomy: Anatomy, recipe: Recipe, suite: Suite) -> Bench:
    """The samples of the search for everything: layers are ranked here, no gain is claimed."""
    return Bench(
        engine=engine,
        anatomy=anatomy,
        recipe=recipe,
        suite=suite,
        search=suite,
        seed=0,
        reporter=Silent(),
    )


def layer_rows(pair: Planted, recipe: str, found: Found) -> Iterator[dict[str, Any]]:
    """TR and TP difference of each place beside each other."""
    places: dict[tuple[Any, ...], dict[str, float]] = {}
    keys = ("method", "variant", "model", "part", "layer", "coefficient", "unit")
    for name, table in found.tables.items():
        for row in table if name != "mask_sets" else ():
            place = tuple(row[key] for key in keys)
            places.setdefault(place, {})[row["role"]] = row["difference"]
    for place, by_role in places.items():
        facts = dict(zip(keys, place, strict=True))
        if facts["layer"] not in pair.spare:
            own = {"pair": pair.name, "recipe": recipe if facts["model"] == "merged" else "base"}
            is_useful = int(facts["layer"] in pair.useful)
            rounded = {role: f"{value:.5f}" for role, value in by_role.items()}
            yield own | facts | {"is_useful": is_useful} | rounded


def set_rows(pair: Planted, found: Found) -> Iterator[dict[str, Any]]:
    """How masking the answer's layers compares with masking others, in accuracy."""
    for one in found.summary["sets"]:
        if one["unit"] == "accuracy":
            selected, drawn = one["selected"], one["random"]
            yield {
                "pair": pair.name,
                "variant": one["variant"],
                "TR": f"{-selected['TR']:.4f}",
                "TP": f"{-selected['TP']:.4f}",
                "random_TR": f"{-drawn['mean']['TR']:.4f}",
                "random_TP": f"{-drawn['mean']['TP']:.4f}",
                "p_TR": f"{drawn['p']['TR']:.4f}",
                "p_beyond_TP": f"{drawn['p']['TR - TP']:.4f}",
            }


class Silent:
    """Nothing is told but what is amiss."""

    def stage(self, name: str, done: int, total: int) -> None:
        """Nothing."""

    def warn(self, message: str) -> None:
        """A line on the terminal."""
        print(message)


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file that may not be there."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    """Rows below those that are there."""
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


def promises(tr: float, tp: float) -> dict[str, float]:
    """Three ways to read a layer's differences; the first as the search's objective does."""
    return {"TR - 2 TP loss": tr - 2.0 * max(0.0, -tp), "TR": tr, "TR - TP": tr - tp}


def summarised(rows: list[dict[str, str]], sets: list[dict[str, str]]) -> dict[str, Any]:
    """Area under the ROC curve by method, over pairs.

    A scan's, a slope's promise is the difference; a mask's the drop, so its sign is turned.
    """
    groups: dict[tuple[str, ...], dict[str, list[Mapping[str, str]]]] = {}
    keys = ("method", "variant", "part", "recipe", "coefficient", "unit")
    for row in rows:
        key = tuple(row[k] for k in keys)
        groups.setdefault(key, {}).setdefault(row["pair"], []).append(row)
    found = [
        dict(zip(keys, key, strict=True)) | {"pairs": len(by_pair), "auc": areas(key[0], by_pair)}
        for key, by_pair in groups.items()
    ]
    order = sorted(found, key=lambda one: -max(a["mean"] for a in one["auc"].values()))
    return {"schema": 1, "methods": order, "sets": sets}


def areas(
    method: str, by_pair: Mapping[str, list[Mapping[str, str]]]
) -> dict[str, dict[str, float]]:
    """By reading: mean and least over pairs."""
    sign = -1.0 if method == "mask" else 1.0
    found: dict[str, list[float]] = {}
    for rows in by_pair.values():
        read_as = [promises(sign * float(r["TR"]), sign * float(r["TP"])) for r in rows]
        is_useful = [r["is_useful"] == "1" for r in rows]
        for name in read_as[0]:
            values = [one[name] for one in read_as]
            found.setdefault(name, []).append(area(values, is_useful))
    return {
        name: {"mean": round(sum(of) / len(of), 3), "least": round(min(of), 3)}
        for name, of in found.items()
    }


def area(values: list[float], is_useful: list[bool]) -> float:
    """Share of pairs of a useful and another layer that are in order; ties count half."""
    useful = [v for v, u in zip(values, is_useful, strict=True) if u]
    others = [v for v, u in zip(values, is_useful, strict=True) if not u]
    wins = sum((u > o) + 0.5 * (u == o) for u in useful for o in others)
    return wins / (len(useful) * len(others))


def markdown(summary: Mapping[str, Any]) -> list[str]:
    """Tables for the README: the smooth score, where there is one."""
    lines = [
        "| method | model | mean area, least: TR - 2 TP loss | TR | TR - TP |",
        "|---|---|---|---|---|",
    ]
    for one in (o for o in summary["methods"] if o["unit"] != "accuracy"):
        at = f" at {float(one['coefficient']):g}" if one["coefficient"] else ""
        cells = (f"{a['mean']:.2f}, {a['least']:.2f}" for a in one["auc"].values())
        name = f"{one['method']}, {one['variant']} {one['part']}{at}"
        lines.append(f"| {name} | {one['recipe']} | {' | '.join(cells)} |")
    lines += [
        "",
        "| pair | mask | its layers TR, TP | random sets TR, TP | p of TR, of TR beyond TP |",
        "|---|---|---|---|---|",
    ]
    for one in summary["sets"]:
        lines.append(
            f"| {one['pair']} | {one['variant']} | {one['TR']}, {one['TP']} | {one['random_TR']}, "
            f"{one['random_TP']} | {one['p_TR']}, {one['p_beyond_TP']} |"
        )
    return lines


if __name__ == "__main__":
    main()
