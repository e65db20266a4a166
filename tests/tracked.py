"""A study that trackers are told of, and what a reader then finds in MLflow."""

from datetime import datetime
from pathlib import Path
from urllib.parse import urlparse

from merit_opt.recipe.constructors import attention, base, uniform
from merit_opt.search.tracked import standing
from merit_opt.tracking.record import StudyRecord, Tracker, TrialRecord

STUDY = StudyRecord("tiny-clips", "f00d", {"pair": "tiny", "trials": "6"}, "seed: 0\n", uid="u1")
TOLD_AT = datetime(2026, 1, 2, 3, 4, 5)


def trial(number: int, value: float | None = 0.5, **changes: object) -> TrialRecord:
    fields: dict[str, object] = {
        "state": "COMPLETE",
        "role": "trial",
        "name": "",
        "recipe": attention(9, {number % 9: 0.5}),
        "metrics": {"TR": 0.9, "TP": 0.95},
        "seconds": {"total": 1.5},
        "cost": {},
        "finished": TOLD_AT,
    }
    return TrialRecord(number=number, value=value, **{**fields, **changes})  # type: ignore[arg-type]


TRIALS = (
    trial(0, 0.0, role="control", name="base", recipe=base(9)),
    trial(1, 0.2, role="control", name="uniform:0.5", recipe=uniform(9, 0.5)),
    trial(2, 0.31),
    trial(3, None, state="FAIL", metrics={}, why="out of memory"),
    trial(4, 0.47),
    trial(5, 0.4, state="PRUNED"),
)


def keep(tracker: Tracker, *told: TrialRecord) -> None:
    """What a study does with trials that are told in this order."""
    for i, one in enumerate(told, start=1):
        tracker.log_trial(one, standing(told[:i]))


class Seen:
    """What a reader finds in the database."""

    def __init__(self, folder: Path) -> None:
        from mlflow import MlflowClient

        uri = f"sqlite:///{folder}/mlflow.db"
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.experiment = self.client.get_experiment_by_name("merit_opt").experiment_id

    def runs(self, where: str) -> list:
        return list(self.client.search_runs([self.experiment], where))

    def parent(self):
        [run] = self.runs("tags.role = 'study'")
        return run

    def child(self, number: int):
        [run] = self.runs(f"tags.optuna_trial = '{number}'")
        return run

    def curve(self, name: str) -> list[tuple[int, float]]:
        history = self.client.get_metric_history(self.parent().info.run_id, name)
        return [(point.step, point.value) for point in history]

    def file(self, run, name: str) -> Path:
        return Path(urlparse(run.info.artifact_uri).path) / name
