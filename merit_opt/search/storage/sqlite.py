"""Trials in one SQLite file with a write-ahead log: any number of workers on one host."""

import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from filelock import FileLock
from optuna.storages import RDBStorage, get_storage
from optuna.trial import TrialState
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError

from merit_opt.search.storage.opening import LOCKS, opened, require_seconds
from merit_opt.search.storage.patient import PatientStorage
from merit_opt.search.storage.relational import RelationalStorage
from merit_opt.search.storage.turns import by_file

LOCK_SECONDS = 60
OPENINGS, RECOVERY_SECONDS = 5, 1.0
SQLITE = "sqlite:///"


def open_sqlite(*, url: str, patience: float, grace: float) -> PatientStorage:
    """The storage in the file of `url`, made if it does not exist.

    Args:
        url: `sqlite:///` and a path.
        patience: Seconds to wait while the file is locked, 0 or more.
        grace: Seconds without a heartbeat after which a worker is taken for dead, above 0.

    Raises:
        UserError: It cannot be opened; the message names it.
    """
    require_seconds(patience, grace)
    with opened(url, SQLITE):
        path = Path(url.removeprefix(SQLITE))
        _create(path)
        inner = _opened(path, OPENINGS)
        turns = by_file(path.with_name(path.name + LOCKS))
        storage = PatientStorage(
            get_storage(inner), turns, name=url, patience=patience, grace=grace
        )
        storage.close = inner.engine.dispose
        return storage


class _SqliteStorage(RelationalStorage):
    """Ends a trial once, whoever does it first.

    Within SQLite's transactions a worker that tells and one that takes its trial from it would
    both see it run, and the last would win.
    """

    def __init__(self, path: Path) -> None:
        self._ends = path.with_name(path.name + LOCKS) / "ends.lock"
        super().__init__(f"{SQLITE}{path}", {"connect_args": {"timeout": LOCK_SECONDS}})
        _fewer_syncs(self.engine)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        self._ends.parent.mkdir(exist_ok=True)
        with FileLock(self._ends, poll_interval=0.005):
            return super().set_trial_state_values(trial_id, state, values)


def _create(path: Path) -> None:
    """Make the database under a temporary name first: a kill leaves nothing half-made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if path.exists():
            return
        temporary = path.with_name(f".{path.name}.new")
        temporary.unlink(missing_ok=True)
        storage = RDBStorage(f"{SQLITE}{temporary}")
        storage.engine.dispose()
        engine = create_engine(f"{SQLITE}{temporary}")
        with engine.connect() as connection:
            connection.execute(text("PRAGMA journal_mode=WAL"))
        engine.dispose()
        os.replace(temporary, path)


def _opened(path: Path, tries: int) -> RDBStorage:
    """After a crash the first process to open the file recovers its log; others are sent away."""
    try:
        _require_studies(path)
        return _SqliteStorage(path)
    except (OperationalError, sqlite3.OperationalError) as error:
        if tries <= 1 or "lock" not in str(error):
            raise
    time.sleep(RECOVERY_SECONDS)
    return _opened(path, tries - 1)


def _require_studies(path: Path) -> None:
    """Optuna would add its tables to whatever database it is given."""
    with closing(sqlite3.connect(path)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if "studies" not in tables:
        raise ValueError("it is a database of something else; choose another file")


def _fewer_syncs(engine: Engine) -> None:
    """With a write-ahead log NORMAL survives a killed process; only power loss may cost a trial."""

    def on_connect(connection: object, _: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    event.listen(engine, "connect", on_connect)
    engine.dispose()
