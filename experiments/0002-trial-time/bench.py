"""Where a trial's time goes: switch, forward, storage, MLflow, side by side in one run.

python experiments/0002-trial-time/bench.py [TRIALS]
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import optuna
from rich.console import Console
from rich.table import Table

from merit_opt.data.clips.suite import clips_suite
from merit_opt.evaluation.cache import EvaluationCache
from merit_opt.evaluation.engine import Engine, EngineSettings
from merit_opt.evaluation.evaluation import Evaluation
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.models.tiny.pair import tiny_pair
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe
from merit_opt.search.samplers import PerProposal, tpe
from merit_opt.search.spaces import Layerwise
from merit_opt.search.storage import open_storage
from merit_opt.search.trial import Bench, Yardstick, run_trial
from merit_opt.tracking.mlflow import MlflowTracker
from merit_opt.tracking.record import StudyRecord

CLIPS = 80


def main(trials: int) -> None:
    """Print the median and range of each step over `trials` trials."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(Path(folder), trials)
    total = statistics.median(map(sum, zip(*seconds.values(), strict=True)))
    table = Table(title=f"{trials} trials, {CLIPS} clips, 400 questions, 9 layers")
    for column in ("step", "median ms", "least", "most", "share of a trial"):
        table.add_column(column, justify="right")
    for step, values in seconds.items():
        milliseconds = [1000 * f(values) for f in (statistics.median, min, max)]
        cells = [f"{number:.1f}" for number in milliseconds]
        table.add_row(step, *cells, f"{statistics.median(values) / total:.1%}")
    Console().print(table)


def measure(folder: Path, trials: int) -> dict[str, list[float]]:
    """Step -> seconds of each trial."""
    suite = clips_suite(
        cache=folder, clips=CLIPS, seed=0, tr_per_clip=3, tp_per_clip=2, progress=None
    )
    pair = tiny_pair(vlm="vlm_planted_3_5", dtype="float32").load("cpu")
    settings = EngineSettings(batch=16, threads=1, max_unscored=0.0)
    engine = Engine(pair, settings, EvaluationCache(folder / "evaluations"), lambda *_: None)
    base = engine.evaluate(constructors.base(pair.n_layers), suite)
    space = Layerwise(n_layers=pair.n_layers, low=0.1, high=1.0)
    seconds: dict[str, list[float]] = {"switch": [], "forward": [], "storage": [], "MLflow": []}

    def evaluate(recipe: Recipe) -> Evaluation:
        seconds["switch"].append(timed(lambda: switch(recipe)))
        started = time.perf_counter()
        evaluation = engine.evaluate(recipe, suite)
        seconds["forward"].append(time.perf_counter() - started - seconds["switch"][-1])
        return evaluation

    def switch(recipe: Recipe) -> None:
        with pair.merged(recipe):
            pass

    bench = Bench(space, evaluate, Yardstick(suite, PenalisedGain("probability", 2.0), base))
    sampler = PerProposal(tpe(n_startup_trials=10), seed=0, space=space.distributions)
    storage = open_storage(f"sqlite:///{folder}/merit.db")
    study = optuna.create_study(storage=storage, sampler=sampler, direction="maximize")
    tracker = MlflowTracker(
        uri=f"sqlite:///{folder}/mlflow.db", artifacts=None, experiment="bench", patience=20.0
    )
    tracker.start(StudyRecord("bench", "", {}, "", uid="bench"))
    for _ in range(trials):
        started = time.perf_counter()
        record = run_trial(study, study.ask(), bench)
        whole = time.perf_counter() - started
        measured = 2 * seconds["switch"][-1] + seconds["forward"][-1]
        seconds["storage"].append(whole - measured)
        seconds["MLflow"].append(timed(partial(tracker.log_trial, record)))
    return seconds


def timed(act: Callable[[], None]) -> float:
    """Seconds that `act` takes."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
