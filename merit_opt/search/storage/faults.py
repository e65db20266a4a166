"""What goes wrong with a storage: what may pass by itself, and what a person must mend."""

import errno
import sqlite3

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError, PendingRollbackError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from merit_opt.errors import UserError, causes, without_credentials

FAULTS = (StorageInternalError, SQLAlchemyError, sqlite3.Error, OSError)

# Shut down, crashed, starting up, no free connection, deadlock, lock not given in time.
PASSING_STATES = ("57P01", "57P02", "57P03", "53300", "40001", "40P01", "55P03")
CONNECTION_STATES = "08"
LASTING_REASONS = ("authentication failed", "does not exist", "no pg_hba.conf entry")
PASSING_ERRNOS = frozenset(
    {
        errno.EAGAIN,
        errno.EINTR,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EPIPE,
    }
)


class StorageFailed(UserError):
    """The storage cannot be read or written, and waiting does not mend it."""


class StorageAway(UserError):
    """The storage did not come back within its patience."""


def may_pass(error: BaseException) -> bool:
    """Whether the same call may succeed later: a connection lost, a server starting, a lock."""
    return any(_passes(cause) for cause in causes(error))


def reason(error: BaseException) -> str:
    """The first line of the first cause, without passwords."""
    *_, first = causes(error)
    origin = first.orig if isinstance(first, DBAPIError) and first.orig is not None else first
    lines = (getattr(origin, "strerror", None) or str(origin)).splitlines() or [""]
    return without_credentials(lines[0].strip() or type(origin).__name__)


def _passes(error: BaseException) -> bool:
    if isinstance(error, (PoolTimeout, PendingRollbackError)):  # the next call begins anew
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or (
            error.orig is not None and _passes_by_driver(error.orig)
        )
    if isinstance(error, sqlite3.Error):
        return _passes_by_driver(error)
    return isinstance(error, OSError) and error.errno in PASSING_ERRNOS


def _passes_by_driver(error: BaseException) -> bool:
    told = str(error)
    if isinstance(error, sqlite3.Error):
        return isinstance(error, sqlite3.OperationalError) and "locked" in told
    state: str | None = getattr(error, "sqlstate", None)
    if state is not None:
        return state in PASSING_STATES or state.startswith(CONNECTION_STATES)
    is_connection = type(error).__name__ in ("OperationalError", "InterfaceError", "AdminShutdown")
    return is_connection and not any(lasting in told for lasting in LASTING_REASONS)
