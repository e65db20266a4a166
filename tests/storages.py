"""The storages of a study, opened by name and place."""

from pathlib import Path

import pytest

from merit_opt.search.storage.journal import open_journal
from merit_opt.search.storage.patient import PatientStorage
from merit_opt.search.storage.postgres import open_postgres
from merit_opt.search.storage.sqlite import open_sqlite

STORAGES = ("sqlite", "journal", "postgres")


def new_place(kind: str, path: Path, request: pytest.FixtureRequest) -> str:
    """Where a storage of this kind is not yet: this path or, of PostgreSQL, a fresh database."""
    return request.getfixturevalue("postgres").database() if kind == "postgres" else str(path)


def opened(kind: str, place: str, *, patience: float = 0.0, grace: float = 60.0) -> PatientStorage:
    """The storage of this kind at a path or, of PostgreSQL, an address."""
    if kind == "sqlite":
        return open_sqlite(url=f"sqlite:///{place}", patience=patience, grace=grace)
    if kind == "journal":
        return open_journal(path=Path(place), patience=patience, grace=grace)
    return open_postgres(url=place, patience=patience, grace=grace)
