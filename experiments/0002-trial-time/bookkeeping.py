"""What a trial costs apart from its measurement, as the study grows: ask and tell, and MLflow.

python experiments/0002-trial-time/bookkeeping.py [TRIALS] [TRACKING_URI]
"""

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import optuna
from rich.console import Console
from rich.table import Table

from merit_opt.data.media.frames import ALL_FRAMES
from merit_opt.data.prompts import LETTER_AFTER_OPTION
from merit_opt.data.sample import Sample
from merit_opt.data.suite import Asking, Roles, Suite
from merit_opt.evaluation.curtail import Curtailment
from merit_opt.evaluation.evaluation import Evaluation, Score
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.evaluation.yardstick import Yardstick
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe
from merit_opt.search.budget import Budget
from merit_opt.search.leases import Lease
from merit_opt.search.samplers import PerProposal, tpe
from merit_opt.search.spaces import Layerwise
from merit_opt.search.storage.sqlite import open_sqlite
from merit_opt.search.tracked import Tracked
from merit_opt.search.trial import Bench
from merit_opt.search.worker import work
from merit_opt.tracking.mlflow import MlflowTracker
from merit_opt.tracking.record import StudyRecord, TrialRecord

LAYERS = 28
AROUND = 10
Spent = dict[str, float]  # seconds by clock
STEPS = ("storage", "MLflow", "both")
CLOCKS = {"wall": time.perf_counter, "CPU": time.process_time}


def main(trials: int, uri: str) -> None:
    """Print what bookkeeping took at the study's first trials, at 100, 200 and so on."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = run(Path(folder), trials, uri or f"sqlite:///{folder}/mlflow.db")
    for clock in CLOCKS:
        show(clock, {step: [spent[clock] for spent in seconds[step]] for step in STEPS}, trials)


def show(clock: str, seconds: Mapping[str, list[float]], trials: int) -> None:
    """Print one clock's table."""
    title = f"{clock} ms of a trial with {2 * LAYERS} parameters, median of {AROUND} (worst)"
    table = Table(title=title)
    for column in ("trials in the study", *STEPS):
        table.add_column(column, justify="right")
    ends = {AROUND, 100, *range(250, trials, 250), trials}
    for end in sorted(end for end in ends if end <= trials):
        near = {step: seconds[step][max(end - AROUND, 0) : end] for step in STEPS}
        cells = [f"{1000 * statistics.median(s):.0f} ({1000 * max(s):.0f})" for s in near.values()]
        table.add_row(str(end), *cells)
    Console().print(table)


def run(folder: Path, trials: int, uri: str) -> Mapping[str, list[Spent]]:
    """Step -> seconds of each trial by clock; measuring a recipe takes no time."""
    suite = questions()
    space = Layerwise(n_layers=LAYERS, low=0.1, high=1.0)
    sampler = PerProposal(tpe(n_startup_trials=10), seed=0, space=space)
    storage = open_sqlite(url=f"sqlite:///{folder}/merit.db", patience=600.0, grace=120.0)
    study = optuna.create_study(storage=storage, sampler=sampler, direction="maximize")
    tracker = MlflowTracker(uri=uri, artifacts=None, experiment="bench", patience=20.0)
    tracked = Tracked(tracker, print, study)
    tracked.start(StudyRecord("bench", "", {}, "", uid=str(time.time())))
    yardstick = Yardstick(
        suite,
        PenalisedGain("probability", 2.0),
        evaluation(constructors.base(LAYERS), suite),
    )

    def measure(recipe: Recipe, _: Curtailment | None) -> Evaluation:
        return evaluation(recipe, suite)

    bench = Bench(space, measure, yardstick, None)
    seconds: dict[str, list[Spent]] = {step: [] for step in STEPS}
    began = now()

    def watch(record: TrialRecord, leader: TrialRecord | None, _: int) -> None:
        nonlocal began
        told = now()
        tracked.log_trial(record, leader)
        kept = now()
        for step, (first, last) in zip(
            STEPS, ((began, told), (told, kept), (began, kept)), strict=True
        ):
            seconds[step].append({clock: last[clock] - first[clock] for clock in CLOCKS})
        began = now()

    budget = Budget(
        trials=trials,
        hours=None,
        uniform=(),
        parts=("attention",),
        random_layers=0,
        seed=0,
        retries=2,
    )
    with Lease(storage) as lease:
        work(study, bench, budget=budget, lease=lease, watch=watch)
    return seconds


def questions() -> Suite:
    """One TR and one TP question about each of 20 videos that nobody looks at."""
    samples = tuple(
        Sample(f"v{video}-{kind}", (), "?", ("yes", "no"), 0, (("kind", kind),), f"v{video}")
        for video in range(20)
        for kind in ("TR", "TP")
    )
    asking = Asking(LETTER_AFTER_OPTION, ALL_FRAMES, scorer="letter_logprob", permutations=1)
    return Suite("none", "1", samples, asking, Roles("kind", {"TR": "TR", "TP": "TP"}), (), 0.0)


def evaluation(recipe: Recipe, suite: Suite) -> Evaluation:
    """TR is better the more of the odd layers are merged, TP the fewer of the even ones."""
    merged = recipe.coefficients()
    probability = {
        "TR": 0.4 + 0.5 * sum(c for layer, c in merged.items() if layer % 2) / LAYERS,
        "TP": 0.9 - 0.5 * sum(c for layer, c in merged.items() if not layer % 2) / LAYERS,
    }
    scores = tuple(Score(1.0, "A", math.log(probability[suite.role(s)])) for s in suite.samples)
    return Evaluation(suite.digest, recipe.digest, tuple(s.id for s in suite.samples), scores)


def now() -> Spent:
    """What each clock says."""
    return {name: clock() for name, clock in CLOCKS.items()}


if __name__ == "__main__":
    given = sys.argv[1:]
    main(int(given[0]) if given else 500, given[1] if len(given) > 1 else "")
