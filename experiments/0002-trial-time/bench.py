"""Where a trial's time goes: the engine's stages, storage, MLflow, side by side in one run.

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
from rich.progress import Progress
from rich.table import Table

from merit_opt.cli.progress import Display
from merit_opt.data.clips.suite import clips_suite
from merit_opt.evaluation.curtail import Curtailment
from merit_opt.evaluation.engine import Engine
from merit_opt.evaluation.evaluation import Evaluation
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.evaluation.settings import EngineSettings
from merit_opt.evaluation.yardstick import Yardstick
from merit_opt.models.tiny.pair import tiny_pair
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe
from merit_opt.search.samplers import PerProposal, tpe
from merit_opt.search.spaces import Layerwise, first_layers
from merit_opt.search.storage.sqlite import open_sqlite
from merit_opt.search.trial import Bench, run_trial
from merit_opt.tracking.mlflow import MlflowTracker
from merit_opt.tracking.record import StudyRecord

CLIPS = 80
SETTINGS = EngineSettings(
    threads=1,
    backbone="device",
    features_gib=1.0,
    levels_gib=4.0,
    host_levels_gib=0.0,
    prefixes=0,
    decoder="auto",
    decode_workers=1,
    decode_seconds=120.0,
    frames_in_flight=512,
)


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
        cache=folder,
        clips=CLIPS,
        seed=0,
        tr_per_clip=3,
        tp_per_clip=2,
        max_unusable=0.0,
        progress=None,
    )
    pair = tiny_pair(vlm="vlm_planted_3_5", dtype="float32").load("cpu", "device")
    space = Layerwise(n_layers=pair.n_layers, low=0.1, high=1.0)
    engine = Engine(
        pair, SETTINGS, cache=folder, starts=first_layers(space), reporter=Display(Progress())
    )
    seconds: dict[str, list[float]] = {
        step: [] for step in ("switch", "load", "forward", "score", "storage", "MLflow")
    }

    def evaluate(recipe: Recipe, _: Curtailment | None) -> Evaluation:
        evaluation = engine.evaluate(recipe, suite)
        for step in ("switch", "load", "forward", "score"):
            seconds[step].append(getattr(evaluation.cost, step))
        return evaluation

    sampler = PerProposal(tpe(n_startup_trials=10), seed=0, space=space)
    storage = open_sqlite(url=f"sqlite:///{folder}/merit.db", patience=60.0, grace=120.0)
    study = optuna.create_study(storage=storage, sampler=sampler, direction="maximize")
    tracker = MlflowTracker(
        uri=f"sqlite:///{folder}/mlflow.db", artifacts=None, experiment="bench", patience=20.0
    )
    tracker.start(StudyRecord("bench", "", {}, "", uid="bench"))
    with engine:
        base = engine.evaluate(constructors.base(pair.n_layers), suite)
        yardstick = Yardstick(suite, PenalisedGain("probability", 2.0), base)
        bench = Bench(space, evaluate, yardstick, None)
        for _ in range(trials):
            started = time.perf_counter()
            record = run_trial(study, study.ask(), bench)
            whole = time.perf_counter() - started
            measured = sum(steps[-1] for steps in list(seconds.values())[:4])
            seconds["storage"].append(whole - measured)
            seconds["MLflow"].append(timed(partial(tracker.log_trial, record, None)))
    return seconds


def timed(act: Callable[[], None]) -> float:
    """Seconds that `act` takes."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
