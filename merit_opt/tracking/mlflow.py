"""Studies and trials in MLflow, whatever becomes of MLflow meanwhile."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from merit_opt.errors import UserError, without_credentials
from merit_opt.tracking import local_store
from merit_opt.tracking.mlflow_runs import (
    Lock,
    Place,
    StudyRun,
    attach_files,
    find_experiment,
    open_study,
)
from merit_opt.tracking.patience import patiently
from merit_opt.tracking.record import (
    Standing,
    StudyOutcome,
    StudyRecord,
    TrackingUnavailable,
    TrialRecord,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")

# What databases say, through MLflow, to a row that is there already.
TAKEN = ("unique constraint", "duplicate entry", "duplicate key")

# What MLflow says to a write into a run that was deleted.
DELETED = "must be in the 'active' state"

REMOTE = ("http://", "https://")
DATABASES = ("postgresql", "mysql", "mssql")

# `patience` does the waiting; MLflow's own retries would hold a study up for minutes.
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


class MlflowTracker:
    """Keeps a study in MLflow, as `merit_opt.tracking.record.Tracker` says.

    Attributes:
        uri: `sqlite:///PATH`, `http(s)://HOST:PORT`, or the address of a database server.
        artifacts: Where files go. None: beside a SQLite file, or wherever an MLflow server says.
        experiment: The MLflow experiment that holds the studies.
        patience: Seconds to try again before `TrackingUnavailable`. After that each call tries
            once, until one succeeds.
    """

    def __init__(
        self,
        *,
        uri: str,
        artifacts: str | None,
        experiment: str,
        patience: float,
    ) -> None:
        _quieten()
        self._is_local = uri.startswith(local_store.PREFIX)
        self.uri = local_store.absolute(uri) if self._is_local else uri
        self.artifacts = _artifacts(self.uri, artifacts)
        self.experiment = experiment
        self.patience = patience
        self._study: StudyRecord | None = None
        self._run: StudyRun | None = None
        self._owed: dict[int, tuple[TrialRecord, Standing | None]] = {}
        self._away = False

    def start(self, study: StudyRecord) -> None:
        """Make the study's parent run, or open the one it has."""
        self._study, self._run = study, None
        if self._is_local:
            local_store.prepare(local_store.database_file(self.uri), create_database)
        self._patiently(self._opened)

    def missing(self, numbers: Iterable[int]) -> set[int]:
        """Those of the told trials `numbers` that have no whole run."""
        return self._patiently(lambda: set(numbers) - self._opened().drawn.kept)

    def log_trial(self, trial: TrialRecord, standing: Standing | None) -> None:
        """Keep one told trial, and those that could not be kept before."""
        self._owed[trial.number] = trial, standing
        self._patiently(self._pay)

    def log_leader(self, leader: TrialRecord) -> None:
        """Put a trial in front: its files under `best`, and its scores in the study's note."""
        self._patiently(lambda: self._opened().lead(leader))

    def log_numbers(self, numbers: Mapping[str, float]) -> None:
        """Write numbers of the study as a whole to its parent run."""
        self._patiently(lambda: self._opened().add(numbers))

    def finish(self, outcome: StudyOutcome) -> None:
        """End the parent run with the study's result."""
        self._patiently(self._pay)
        self._patiently(lambda: self._opened().close(outcome))

    def attach(self, study: StudyRecord, folder: str, files: Sequence[Path]) -> bool:
        """Put files beside the study's own, in its parent run."""
        if self._is_local and not local_store.database_file(self.uri).exists():
            return False
        return self._patiently(lambda: self._attached(study, folder, files))

    def _attached(self, study: StudyRecord, folder: str, files: Sequence[Path]) -> bool:
        client = _connect(self.uri)
        experiment = client.get_experiment_by_name(self.experiment)
        if experiment is None or experiment.lifecycle_stage == "deleted":
            return False
        place = Place(client, experiment.experiment_id, self._lock())
        return attach_files(place, study, folder, files)

    def _pay(self) -> None:
        run = self._opened()
        for number, owed in tuple(self._owed.items()):
            run.keep(*owed)
            del self._owed[number]

    def _opened(self) -> "StudyRun":
        if self._study is None:
            raise RuntimeError("start() makes the study known before anything else is kept")
        if self._run is None:
            client = _connect(self.uri)
            experiment = find_experiment(client, self.experiment, self.artifacts)
            self._run = open_study(Place(client, experiment, self._lock()), self._study)
        return self._run

    def _lock(self) -> Lock | None:
        if not self._is_local:
            return None
        return lambda: local_store.store_lock(local_store.database_file(self.uri))

    def _patiently(self, act: Callable[[], T]) -> T:
        from mlflow.exceptions import MlflowException

        seconds = 0.0 if self._away else self.patience
        try:
            result = patiently(act, seconds=seconds, may_pass=self._may_pass)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            self._away = True
            raise TrackingUnavailable(self._sentence(error)) from error
        self._away = False
        return result

    def _may_pass(self, error: Exception) -> bool:
        if DELETED in str(error):
            # Another worker found that it was one too many, or a user deleted it.
            self._run = None
            return True
        return _may_pass(error)

    def _sentence(self, error: BaseException) -> str:
        while origin := error.__cause__ or error.__context__:
            error = origin
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        owed = f"; trials waiting to be written: {len(self._owed)}" if self._owed else ""
        sentence = f"MLflow at {self.uri} cannot be written ({reason}){owed}"
        return without_credentials(sentence)


def create_database(file: Path) -> None:
    """A new SQLite database with MLflow's tables; takes seconds to a minute."""
    _quieten()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    uri = f"{local_store.PREFIX}{file}"
    SqlAlchemyStore(uri, _artifacts(uri, None)).engine.dispose()


def _quieten() -> None:
    """Settings that MLflow reads while it is imported; the user's own come first."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # It prints a traceback of each error that is raised, too.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def _artifacts(uri: str, artifacts: str | None) -> str | None:
    if uri.startswith(local_store.PREFIX):
        beside = local_store.database_file(uri).with_name("mlartifacts")
        return str(Path(artifacts or beside).expanduser().resolve())
    if uri.startswith(REMOTE):
        return artifacts
    if not uri.startswith(DATABASES):
        raise UserError(
            f"tracking.uri starts with {local_store.PREFIX}, {', '.join(REMOTE + DATABASES)}; "
            f"got {uri!r}"
        )
    if artifacts is None:
        raise UserError(
            "a database server keeps no files: give tracking.artifacts a folder or a bucket"
        )
    return artifacts


def _connect(uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _may_pass(error: Exception) -> bool:
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException):
        final = (FileNotFoundError, NotADirectoryError, PermissionError)
        return isinstance(error, (OSError, SQLAlchemyError)) and not isinstance(error, final)
    # Another worker made it first: the next try finds it.
    reason = str(error).lower()
    taken = error.error_code == "RESOURCE_ALREADY_EXISTS" or any(t in reason for t in TAKEN)
    return taken or error.get_http_status_code() == 429 or error.get_http_status_code() >= 500
