"""The runs of a study in MLflow: a parent run, and one child run per told trial.

Every write may be repeated, by several workers at once. A trial's run is whole once it has ended;
one that a kill left running is found by its number and filled again with the same params, points
and files. Its points on the study's curves come last and say that it is whole. Points carry times
that do not change between attempts, so that MLflow knows them again.
"""

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING

from merit_opt.errors import UserError
from merit_opt.recipe.store import write_recipe
from merit_opt.tracking import rows
from merit_opt.tracking.layer_strip import layer_strip
from merit_opt.tracking.record import Standing, StudyOutcome, StudyRecord, TrialRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Lock = Callable[[], AbstractContextManager[object]]

ENDED = {"COMPLETE": "FINISHED", "PRUNED": "FINISHED", "FAIL": "FAILED"}
EMPTY: Mapping[str, str] = MappingProxyType({})
PARENT, NOTE, SOURCE = "mlflow.parentRunId", "mlflow.note.content", "mlflow.source.name"
COMMAND = "merit-opt search"

# Seconds in which the requests of workers that begin at once have arrived at a server.
SETTLING = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where studies are written.

    Attributes:
        client: Writes.
        experiment_id: Where their runs are.
        lock: Held between looking something up and making it; None where workers cannot lock
            each other out, so that each looks again at what it made.
    """

    client: "MlflowClient"
    experiment_id: str
    lock: Lock | None

    def alone(self) -> AbstractContextManager[object]:
        """Held while something is made; nothing where there is no lock."""
        return nullcontext() if self.lock is None else self.lock()

    def search(self, where: str) -> "Iterator[Run]":
        """The runs that are not deleted, the earliest first."""
        token: str | None = None
        while token != "":
            order = ["attributes.start_time ASC", "attributes.run_id ASC"]
            page = self.client.search_runs(
                [self.experiment_id], where, order_by=order, page_token=token
            )
            yield from page
            token = page.token or ""


@dataclass(slots=True)
class Drawn:
    """What this process knows of a study's curves.

    Attributes:
        kept: Numbers of the trials that are whole.
        step: Where the curve of the best values ends; it goes on from there, to the right and up.
        value: Its height there.
    """

    kept: set[int]
    step: int = -1
    value: float = -math.inf

    def is_new(self, point: rows.Point) -> bool:
        """Whether a point goes on from what is there."""
        return point.curve != rows.BEST or (
            point.step >= self.step
            and point.value >= self.value
            and (point.step, point.value) != (self.step, self.value)
        )

    def add(self, points: Iterable[rows.Point]) -> None:
        """Know that these are there."""
        for point in points:
            if point.curve == rows.KEPT:
                self.kept.add(point.step)
            elif point.curve == rows.BEST:
                self.step, self.value = point.step, point.value


@dataclass(frozen=True, slots=True)
class StudyRun:
    """The parent run of a study.

    Attributes:
        place: Where its runs are.
        run_id: The parent run.
        born: Its start, in milliseconds since 1970.
        study: What it is about.
        drawn: Its curves, as far as this process knows.
    """

    place: Place
    run_id: str
    born: int
    study: StudyRecord
    drawn: Drawn

    @property
    def client(self) -> "MlflowClient":
        """Writes."""
        return self.place.client

    def keep(self, trial: TrialRecord, standing: Standing | None) -> None:
        """Write the run of one trial, end it, and then put its points on the study's curves."""
        if trial.number in self.drawn.kept:
            return
        run = self._child(trial)
        if not _has_ended(run):
            self._fill(run, trial)
        points = rows.points(trial, standing, self.born)
        new = [point for point in points if self.drawn.is_new(point)]
        _log(self.client, self.run_id, points=new)
        self.drawn.add(new)

    def lead(self, leader: TrialRecord) -> None:
        """Put a trial in front."""
        with _files(self.study, leader) as folder:
            self.client.log_artifacts(self.run_id, folder, "best")
        self.client.set_tag(self.run_id, NOTE, rows.progress_note(leader))

    def add(self, numbers: Mapping[str, float]) -> None:
        """Write numbers of the study as a whole."""
        known = self.client.get_run(self.run_id).data.metrics
        finite = rows.finite(numbers).items()
        new = [rows.Point(name, 0, v, _now()) for name, v in finite if known.get(name) != v]
        _log(self.client, self.run_id, points=new)

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
        self.add(outcome.metrics)
        _log(self.client, self.run_id, tags={NOTE: outcome.note, "state": "COMPLETE"})
        for file in outcome.files:
            self.client.log_artifact(self.run_id, str(file))
        self.client.set_terminated(self.run_id, "FINISHED")

    def _fill(self, run: "Run", trial: TrialRecord) -> None:
        child, born = run.info.run_id, run.info.start_time
        numbers = [rows.Point(name, 0, v, born) for name, v in rows.metrics(trial).items()]
        _log(self.client, child, params=rows.params(trial.recipe), points=numbers)
        with _files(self.study, trial) as folder:
            self.client.log_artifacts(child, folder)
        self.client.set_terminated(child, ENDED[trial.state], rows.milliseconds(trial.finished))

    def _child(self, trial: TrialRecord) -> "Run":
        where = f"tags.`{PARENT}` = '{self.run_id}' and tags.optuna_trial = '{trial.number}'"
        with self.place.alone():
            found = list(self.place.search(where))
            if not found:
                found = [self._new_child(trial)]
                if self.place.lock is None:
                    found = list(self.place.search(where)) or found
        # Whoever finds two of one trial deletes the same one.
        first, *others = sorted(found, key=lambda run: (not _has_ended(run), run.info.run_id))
        for other in others:
            self.client.delete_run(other.info.run_id)
        return first

    def _new_child(self, trial: TrialRecord) -> "Run":
        end = rows.milliseconds(trial.finished)
        start = None if end is None else end - int(1000 * trial.seconds.get("total", 0))
        note = {PARENT: self.run_id, NOTE: rows.note(trial), SOURCE: COMMAND}
        tags = {**rows.tags(self.study, trial), **note}
        return self.client.create_run(self.place.experiment_id, start, tags, rows.run_name(trial))


def open_study(place: Place, study: StudyRecord) -> StudyRun:
    """The study's parent run, made if it has none yet."""
    with place.alone():
        run = _parent(place, study) or _new_parent(place, study)
    drawn = Drawn({step for step, _ in _curve(place.client, run, rows.KEPT)})
    drawn.step, drawn.value = max(_curve(place.client, run, rows.BEST), default=(-1, -math.inf))
    opened = StudyRun(place, run.info.run_id, run.info.start_time, study, drawn)
    opened.describe()
    return opened


def attach_files(place: Place, study: StudyRecord, folder: str, files: Iterable[Path]) -> bool:
    """Put files into `folder` of the study's parent run; false where it has none."""
    run = _parent(place, study)
    if run is None:
        return False
    for file in files:
        place.client.log_artifact(run.info.run_id, str(file), folder)
    return True


def _parent(place: Place, study: StudyRecord) -> "Run | None":
    identity = _identity(study)
    parents = place.search(f"tags.role = 'study' and tags.uid = '{study.uid}'")
    return next((run for run in parents if identity.items() <= run.data.tags.items()), None)


def _new_parent(place: Place, study: StudyRecord) -> "Run":
    tags = {**_identity(study), "role": "study", SOURCE: COMMAND}
    made = place.client.create_run(place.experiment_id, None, tags, rows.study_name(study))
    if place.lock is not None:
        return made
    time.sleep(SETTLING)
    first = _parent(place, study) or made
    if first.info.run_id != made.info.run_id:
        place.client.delete_run(made.info.run_id)
    return first


def _identity(study: StudyRecord) -> dict[str, str]:
    return {"study": study.name, "uid": study.uid, "fingerprint": study.fingerprint}


def _curve(client: "MlflowClient", run: "Run", name: str) -> list[tuple[int, float]]:
    return [
        (point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)
    ]


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


def _log(
    client: "MlflowClient",
    run_id: str,
    *,
    params: Mapping[str, str] = EMPTY,
    tags: Mapping[str, str] = EMPTY,
    points: Iterable[rows.Point] = (),
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    client.log_batch(
        run_id,
        metrics=[Metric(point.curve, point.value, point.when, point.step) for point in points],
        params=[Param(name, value) for name, value in params.items()],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )


@contextmanager
def _files(study: StudyRecord, trial: TrialRecord) -> Generator[str]:
    with TemporaryDirectory() as folder:
        picture = layer_strip(trial.recipe, title=rows.headline(trial))
        (Path(folder) / "layers.png").write_bytes(picture)
        write_recipe(Path(folder) / "recipe.json", trial.recipe, study.origin)
        yield folder


def _now() -> int:
    return int(time.time() * 1000)
