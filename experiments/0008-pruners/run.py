"""Replays searches on the kept scores of one: what each pruner asks, and how often it errs.

    merit-opt search sampler=random pruner=none study.trials=110 study.random_layers=0 tracking=none
    python experiments/0008-pruners/run.py outputs

A sequence is a random order of the recipes that were measured in full, begun at the base.
"""

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from merit_opt.data.clips.suite import clips_suite
from merit_opt.data.split import split_by_group
from merit_opt.data.suite import Suite
from merit_opt.evaluation.evaluation import Evaluation, Score
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.evaluation.yardstick import Yardstick
from merit_opt.recipe.constructors import base
from merit_opt.search import pruners
from merit_opt.search.pruners import Pruning

HERE = Path(__file__).parent
LAYERS = 9


def rules() -> dict[str, Callable[[str], Pruning]]:
    wilcoxon, median = pruners.wilcoxon, pruners.median
    return {
        "curtail": pruners.CURTAIL,
        "wilcoxon p=.001": wilcoxon(p=0.001, first=20, every=20)(None),
        "wilcoxon p=.1": wilcoxon(p=0.1, first=20, every=20)(None),
        "median": median(startup=10, first=40, every=20)(None),
    }


@dataclass
class Table:
    suite: Suite
    evaluations: dict[str, Evaluation]


def table(outputs: Path) -> Table:
    (config,) = outputs.glob("studies/*/config.yaml")
    given = OmegaConf.to_container(OmegaConf.load(config).suite)
    own = {k: given.pop(k) for k in ("search_share", "split_seed")}
    given.pop("_target_")
    suite = clips_suite(**given, cache=outputs / "cache", progress=lambda *_: None)
    search = split_by_group(suite, search_share=own["search_share"], seed=own["split_seed"]).search
    found = {}
    for path in (outputs / "cache" / "evaluations").glob("*.json"):
        kept = json.loads(path.read_text())["evaluation"]
        if kept["suite"] == search.digest and len(kept["ids"]) == len(search.samples):
            scores = tuple(
                Score(**s | {"probabilities": tuple(s["probabilities"])}) for s in kept["scores"]
            )
            found[kept["recipe"]] = Evaluation(
                kept["suite"], kept["recipe"], tuple(kept["ids"]), scores
            )
    return Table(search, found)


def replay(
    kept: Table, rule: Pruning, yardstick: Yardstick, order: list[str]
) -> tuple[float, str]:
    """Share of questions asked, and the recipe that leads in the end."""
    packs: dict[str, list[str]] = {}
    for sample in kept.suite.samples:
        packs.setdefault(sample.group_id, []).append(sample.id)
    sized = [(ids, 1) for ids in packs.values()]
    leader = kept.evaluations[base(LAYERS).digest]
    to_beat, asked, total = yardstick.value(leader), 0, 0
    stops = rule.make(yardstick)
    stops.learn(leader.recipe, leader.by_id)
    for digest in order:
        known = kept.evaluations[digest].by_id
        total += len(known)
        stop = stops.stop(leader.recipe, to_beat)
        scores: dict[str, Score] = {}
        if stop is None:
            scores = known
        else:
            for index in stop.order(sized):
                scores |= {i: known[i] for i in sized[index][0]}
                if stop.is_hopeless(scores):
                    break
        asked += len(scores)
        stops.learn(digest, scores)
        if (
            len(scores) == len(known)
            and (value := yardstick.value(kept.evaluations[digest])) > to_beat
        ):
            leader, to_beat = kept.evaluations[digest], value
    return asked / total, leader.recipe


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("outputs", type=Path)
    parser.add_argument("--sequences", type=int, default=20)
    given = parser.parse_args()
    kept = table(given.outputs)
    rows = []
    for score in ("probability", "log_probability", "accuracy"):
        yardstick = Yardstick(
            kept.suite, PenalisedGain(score, 2.0), kept.evaluations[base(LAYERS).digest]
        )
        values = {d: yardstick.value(e) for d, e in kept.evaluations.items()}
        for name, rule in rules().items():
            if name == "median" and score != "probability":
                continue  # the slowest to replay
            rng, shares, lost, regret = random.Random(0), [], 0, []
            for _ in range(given.sequences):
                order = rng.sample(sorted(values), len(values) // 2)
                best = max(values[d] for d in [*order, base(LAYERS).digest])
                share, found = replay(kept, rule, yardstick, order)
                shares.append(share)
                lost += values[found] < best
                regret.append(best - values[found])
            rows.append(
                {
                    "score": score,
                    "rule": name,
                    "asked": round(sum(shares) / len(shares), 3),
                    "winner_stopped": lost / given.sequences,
                    "mean_regret": round(sum(regret) / len(regret), 5),
                }
            )
            print(rows[-1], flush=True)
    result = {
        "recipes": len(kept.evaluations),
        "questions": len(kept.suite.samples),
        "trials": len(kept.evaluations) // 2,
        "sequences": given.sequences,
        "rows": rows,
    }
    (HERE / "result.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
