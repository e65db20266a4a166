"""What every kind of storage does when it is opened."""

import logging
import re
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

import optuna
from optuna.exceptions import OptunaError
from sqlalchemy.exc import SQLAlchemyError

from merit_opt.errors import UserError, without_credentials
from merit_opt.search.storage.faults import reason

LOCKS = ".locks"  # beside a file: the folder of its workers' locks
FAILURES = (
    SQLAlchemyError,
    OptunaError,
    sqlite3.Error,
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
)
KINDS = (
    "storage=sqlite takes storage.url=sqlite:///FILE (one host), storage=postgres "
    "storage.url=postgresql://USER@HOST/DATABASE (many hosts), storage=journal "
    "storage.path=FILE (many hosts, a shared disk)"
)


@contextmanager
def opened(url: str, *kinds: str) -> Generator[None]:
    """Within the block a storage is opened; what goes wrong is told without passwords.

    Args:
        url: What the user gave.
        kinds: What it may start with.

    Raises:
        UserError: It is of another kind, or cannot be opened.
    """
    _silence()
    if kinds and not url.startswith(kinds):
        raise UserError(
            f"cannot open the study storage {without_credentials(url)}: it is none that this "
            f"option takes; {KINDS}"
        )
    try:
        yield
    except FAILURES as error:
        told = re.sub(r"\S+@", "…@", reason(error))
        raise UserError(
            f"cannot open the study storage {without_credentials(url)}: {told}"
        ) from None


def require_seconds(patience: float, grace: float) -> None:
    """Both are seconds.

    Raises:
        UserError: One is out of its range.
    """
    if not patience >= 0:
        raise UserError(f"storage.patience must be 0 or more seconds, got {patience}")
    if not grace > 0:
        raise UserError(f"storage.grace must be above 0 seconds, got {grace}")


def _silence() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # It prints a traceback of its own when Ctrl-C closes a cursor.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
