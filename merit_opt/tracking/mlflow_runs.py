"""The runs of a study in MLflow: a parent run, and one child run per told trial.

Every write may be repeated. A trial's run is complete once it has ended; one that a kill left
running is found by its number and filled again with the same params, points and files. Points
carry times that do not change between attempts, so that MLflow knows them again.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING

from merit_opt.errors import UserError
from merit_opt.recipe.recipe import to_json
from merit_opt.tracking import rows
from merit_opt.tracking.layer_strip import layer_strip
from merit_opt.tracking.record import StudyOutcome, StudyRecord, TrialRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Lock = Callable[[], AbstractContextManager[object]]

ENDED = {"COMPLETE": "FINISHED", "PRUNED": "FINISHED", "FAIL": "FAILED"}
EMPTY: Mapping[str, str] = MappingProxyType({})
PARENT, NOTE, SOURCE = "mlflow.parentRunId", "mlflow.note.content", "mlflow.source.name"
COMMAND = "merit-opt search"


@dataclass(frozen=True, slots=True)
class StudyRun:
    """The parent run of a study.

    Attributes:
        client: Writes.
        experiment_id: Where the study's runs are.
        run_id: The parent run.
        born: Its start, in milliseconds since 1970.
        study: What it is about.
        lock: Held between looking something up and writing what follows from it.
    """

    client: "MlflowClient"
    experiment_id: str
    run_id: str
    born: int
    study: StudyRecord
    lock: Lock

    def complete(self) -> set[int]:
        """Numbers of the trials whose run has ended; of two runs of one trial, one is deleted."""
        told = [run for run in self._children() if "optuna_trial" in run.data.tags]
        found: set[int] = set()
        for run in sorted(told, key=_has_ended, reverse=True):
            number = int(run.data.tags["optuna_trial"])
            if number in found:
                self.client.delete_run(run.info.run_id)
            elif _has_ended(run):
                found.add(number)
        return found

    def keep(self, trial: TrialRecord) -> None:
        """Write the run of one trial and its points on the study's curves."""
        run = self._child(trial)
        if _has_ended(run):
            return
        child, born = run.info.run_id, run.info.start_time
        numbers = [(name, 0, value) for name, value in rows.metrics(trial).items()]
        _log(self.client, child, params=rows.params(trial.recipe), points=numbers, when=born)
        with _files(trial) as folder:
            self.client.log_artifacts(child, folder)
            with self.lock():
                self._draw(trial, folder)
        self.client.set_terminated(child, ENDED[trial.state], rows.milliseconds(trial.finished))

    def describe(self) -> None:
        """Write what identifies the study; params cannot change, so what did becomes a tag."""
        known = self.client.get_run(self.run_id).data.params
        given = self.study.params
        new = {name: value for name, value in given.items() if name not in known}
        changed = {name: value for name, value in given.items() if known.get(name, value) != value}
        _log(self.client, self.run_id, params=new, tags={"state": "RUNNING", **changed})
        self.client.log_text(self.run_id, self.study.config, "config.yaml")
        self.client.update_run(self.run_id, status="RUNNING")

    def close(self, outcome: StudyOutcome) -> None:
        """End the run with the study's result."""
        known = self.client.get_run(self.run_id).data.metrics
        numbers = rows.finite(outcome.metrics).items()
        new = [(name, 0, value) for name, value in numbers if known.get(name) != value]
        tags = {NOTE: outcome.note, "state": "COMPLETE"}
        _log(self.client, self.run_id, points=new, tags=tags, when=_now())
        for file in outcome.files:
            self.client.log_artifact(self.run_id, str(file))
        self.client.set_terminated(self.run_id, "FINISHED")

    def _children(self, where: str = "") -> "Iterator[Run]":
        return _search(
            self.client, self.experiment_id, f"tags.`{PARENT}` = '{self.run_id}'{where}"
        )

    def _child(self, trial: TrialRecord) -> "Run":
        with self.lock():
            found = tuple(self._children(f" and tags.optuna_trial = '{trial.number}'"))
            return max(found, key=_has_ended, default=None) or self._new_child(trial)

    def _new_child(self, trial: TrialRecord) -> "Run":
        end = rows.milliseconds(trial.finished)
        start = None if end is None else end - int(1000 * trial.seconds.get("total", 0))
        note = {PARENT: self.run_id, NOTE: rows.note(trial), SOURCE: COMMAND}
        tags = {**rows.tags(self.study, trial), **note}
        return self.client.create_run(self.experiment_id, start, tags, rows.run_name(trial))

    def _draw(self, trial: TrialRecord, folder: str) -> None:
        """Put the trial on the study's curves, and in front when it is the best so far."""
        history = self.client.get_metric_history(self.run_id, "value")
        before = [(point.step, point.value) for point in history]
        is_best = rows.is_best(trial, before)
        if is_best:
            self.client.log_artifacts(self.run_id, folder, "best")
        when = rows.milliseconds(trial.finished) or self.born + trial.number
        tags = {NOTE: rows.progress_note(trial)} if is_best else {}
        _log(self.client, self.run_id, points=rows.points(trial, before), tags=tags, when=when)


def open_study(
    client: "MlflowClient",
    experiment_id: str,
    study: StudyRecord,
    lock: Lock,
) -> StudyRun:
    """The study's parent run, made if it has none yet."""
    identity = {"study": study.name, "uid": study.uid, "fingerprint": study.fingerprint}
    with lock():
        parents = _search(client, experiment_id, "tags.role = 'study'")
        same = (run for run in parents if identity.items() <= run.data.tags.items())
        tags = {**identity, "role": "study", SOURCE: COMMAND}
        run = next(same, None) or client.create_run(experiment_id, None, tags, study.name)
    opened = StudyRun(client, experiment_id, run.info.run_id, run.info.start_time, study, lock)
    opened.describe()
    return opened


def find_experiment(client: "MlflowClient", name: str, artifacts: str | None) -> str:
    """The id of the experiment of that name, made with its files at `artifacts` if absent.

    Raises:
        UserError: Someone deleted it.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        return client.create_experiment(name, artifact_location=artifacts)
    if found.lifecycle_stage == "deleted":
        raise UserError(
            f"the MLflow experiment {name!r} was deleted; bring it back with `mlflow experiments "
            f"restore --experiment-id {found.experiment_id}`, or set tracking.experiment=NAME"
        )
    return found.experiment_id


def _has_ended(run: "Run") -> bool:
    return run.info.status in ENDED.values()


def _search(client: "MlflowClient", experiment_id: str, where: str) -> "Iterator[Run]":
    token: str | None = None
    while token != "":
        order = ["attributes.start_time ASC", "attributes.run_id ASC"]
        page = client.search_runs([experiment_id], where, order_by=order, page_token=token)
        yield from page
        token = page.token or ""


def _log(
    client: "MlflowClient",
    run_id: str,
    *,
    params: Mapping[str, str] = EMPTY,
    tags: Mapping[str, str] = EMPTY,
    points: Iterable[tuple[str, int, float]] = (),
    when: int = 0,
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    client.log_batch(
        run_id,
        metrics=[Metric(name, value, when, step) for name, step, value in points],
        params=[Param(name, value) for name, value in params.items()],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )


@contextmanager
def _files(trial: TrialRecord) -> Generator[str]:
    with TemporaryDirectory() as folder:
        picture = layer_strip(trial.recipe, title=rows.headline(trial))
        (Path(folder) / "layers.png").write_bytes(picture)
        (Path(folder) / "recipe.json").write_text(to_json(trial.recipe) + "\n")
        yield folder


def _now() -> int:
    return int(time.time() * 1000)
