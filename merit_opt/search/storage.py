"""The Optuna storage: SQLite with a write-ahead log on one host, any server's URL otherwise."""

import logging
import os
import re
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from merit_opt.errors import UserError, without_credentials

LOCK_SECONDS = 60
OPENINGS, RECOVERY_SECONDS = 5, 1.0
SQLITE = "sqlite:///"
FAILURES = (SQLAlchemyError, sqlite3.Error, OSError, ImportError, ValueError, RuntimeError)


def open_storage(url: str) -> RDBStorage:
    """The storage at `url`, made if it is a SQLite file that does not exist.

    Raises:
        UserError: It cannot be opened; the message names the URL without its password.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # It prints a traceback of its own when Ctrl-C closes a cursor.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    try:
        if not url.startswith(SQLITE):
            return RDBStorage(url)
        path = Path(url.removeprefix(SQLITE))
        _create(path)
        return _opened(path, OPENINGS)
    except FAILURES as error:
        reason = re.sub(r"\S+@", "…@", str(error).splitlines()[0])
        raise UserError(
            f"cannot open the study storage {without_credentials(url)}: {reason}"
        ) from None


@contextmanager
def failures_told(storage: RDBStorage) -> Generator[None]:
    """A storage that fails while it is used is a sentence, too.

    Raises:
        UserError: It cannot be read or written any more.
    """
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        reason = without_credentials(str(error.__cause__ or error).splitlines()[0])
        raise UserError(
            f"the study storage {without_credentials(storage.url)} failed: {reason}; every told "
            "trial is kept: give the same command again once it can be written"
        ) from error


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
        return _sqlite(path)
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


def _sqlite(path: Path) -> RDBStorage:
    storage = RDBStorage(
        f"{SQLITE}{path}", engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}}
    )
    _fewer_syncs(storage.engine)
    return storage


def _fewer_syncs(engine: Engine) -> None:
    """With a write-ahead log NORMAL survives a killed process; only power loss may cost a trial."""

    def on_connect(connection: object, _: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    event.listen(engine, "connect", on_connect)
    engine.dispose()
