"""Trials in PostgreSQL: any number of workers on any number of hosts."""

import importlib.util

from optuna.storages import get_storage
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import URL, make_url

from merit_opt.errors import UserError, without_credentials
from merit_opt.search.storage.opening import opened, require_seconds
from merit_opt.search.storage.patient import PatientStorage
from merit_opt.search.storage.relational import RelationalStorage
from merit_opt.search.storage.turns import by_connection, key

KINDS = ("postgresql://", "postgres://", "postgresql+psycopg://")
DRIVER = "postgresql+psycopg"
# A peer that vanished is noticed within a minute.
CONNECT_ARGS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


def open_postgres(*, url: str, patience: float, grace: float) -> PatientStorage:
    """The storage in the database of `url`, its tables made if there are none.

    Args:
        url: `postgresql://USER@HOST:PORT/DATABASE`; the password is best left to PGPASSWORD.
        patience: Seconds to wait while the server is away, 0 or more.
        grace: Seconds without a heartbeat after which a worker is taken for dead, above 0.

    Raises:
        UserError: It cannot be opened; the message names it without its password.
    """
    require_seconds(patience, grace)
    with opened(url, *KINDS):
        _require_driver()
        address = make_url(url).set(drivername=DRIVER)
        locks = create_engine(address, poolclass=NullPool, connect_args=CONNECT_ARGS)
        with locks.connect() as connection:  # tables are made by one worker
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key("")})
            inner = _storage(address)
        storage = PatientStorage(
            get_storage(inner),
            by_connection(locks),
            name=without_credentials(url),
            patience=patience,
            grace=grace,
        )
        storage.close = inner.engine.dispose
        return storage


def _storage(address: URL) -> RelationalStorage:
    return RelationalStorage(
        address.render_as_string(hide_password=False),
        {"pool_pre_ping": True, "connect_args": CONNECT_ARGS},
    )


def _require_driver() -> None:
    if importlib.util.find_spec("psycopg") is None:
        raise UserError(
            "storage=postgres needs the package psycopg; install it with "
            "pip install 'merit-opt[postgres]'"
        )
