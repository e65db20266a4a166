"""The tracking database on this machine: one SQLite file that is either whole or absent."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from filelock import FileLock

from merit_opt.errors import UserError

PREFIX = "sqlite:///"

# Seconds; making a database takes a minute on a busy machine.
LONGEST_WAIT = 300.0


def absolute(uri: str) -> str:
    """The SQLite address with an absolute path, which no later change of folder can move."""
    return PREFIX + str(database_file(uri))


def database_file(uri: str) -> Path:
    """The file a SQLite address names."""
    return Path(uri.removeprefix(PREFIX)).expanduser().resolve()


def store_lock(database: Path) -> FileLock:
    """Held by the one process of this machine that makes something in the database."""
    return FileLock(database.with_name(f".{database.name}.lock"), timeout=LONGEST_WAIT)


def prepare(database: Path, create: Callable[[Path], None]) -> None:
    """Leave a whole, writable tracking database at `database`.

    A new one is made under a temporary name and renamed, so that a process killed half-way leaves
    nothing that looks finished.

    Args:
        database: Where it shall be.
        create: Makes a database with all its tables in the file it is given.

    Raises:
        UserError: The folder or the file cannot be written, or the file is something else.
    """
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        with store_lock(database):
            if database.exists() and database.stat().st_size:
                _check(database)
            else:
                _make(database, create)
    except (OSError, sqlite3.OperationalError) as error:
        raise UserError(
            f"the tracking database {database} cannot be written ({error}); "
            "name another place with tracking.uri=sqlite:///PATH, or use tracking=none"
        ) from error


def _make(database: Path, create: Callable[[Path], None]) -> None:
    unfinished = database.with_name(f".{database.name}.unfinished")
    for leftover in database.parent.glob(f"{unfinished.name}*"):
        leftover.unlink()
    create(unfinished)
    unfinished.replace(database)


def _check(database: Path) -> None:
    if not os.access(database, os.W_OK):
        raise PermissionError(13, "read-only file")
    # A writer that was killed leaves a journal, which only a connection that may write undoes.
    address = f"{database.as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=LONGEST_WAIT)) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        names = set[str]()
    if not {"experiments", "runs"} <= names:
        raise UserError(
            f"{database} exists but is not a tracking database; "
            "move it away, or name another file with tracking.uri=sqlite:///PATH"
        )
