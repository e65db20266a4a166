"""The study storage is whole or absent, and a bad address is told in a sentence."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from sqlalchemy import text

from merit_opt.errors import UserError
from merit_opt.search.storage.patient import PatientStorage
from merit_opt.search.storage.sqlite import open_sqlite

OPENER = """
import sys
from merit_opt.search.storage.sqlite import open_sqlite
sys.stdin.readline()
storage = open_sqlite(url=sys.argv[1], patience=0.0, grace=60.0)
storage.create_new_study([2], sys.argv[2])
"""


def open_storage(url: str) -> PatientStorage:
    return open_sqlite(url=url, patience=0.0, grace=60.0)


def pragma(path: Path, name: str) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute(f"PRAGMA {name}").fetchone()[0])


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("storage") / "deep" / "merit.db"
    open_storage(f"sqlite:///{path}").close()
    return path


def test_a_new_file_keeps_a_write_ahead_log(made):
    assert pragma(made, "journal_mode") == "wal"


def test_its_connections_sync_less_and_wait_for_locks(made):
    storage = open_storage(f"sqlite:///{made}")
    with storage._inner._backend.engine.connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 1
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == 60_000
    storage.close()


def test_studies_are_there_when_it_is_opened_again(made):
    storage = open_storage(f"sqlite:///{made}")
    optuna.create_study(storage=storage, study_name="kept")
    storage.close()
    again = open_storage(f"sqlite:///{made}")
    assert "kept" in optuna.get_all_study_names(again)
    again.close()


def test_one_killed_while_making_it_leaves_nothing_half_made(tmp_path, monkeypatch):
    def killed(*_: object) -> None:
        raise SystemExit

    path = tmp_path / "merit.db"
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", killed)
        with pytest.raises(SystemExit):
            open_storage(f"sqlite:///{path}")
    assert not path.exists()
    open_storage(f"sqlite:///{path}").close()
    assert pragma(path, "integrity_check") == "ok"
    assert not list(tmp_path.glob("*.new"))


def test_processes_that_open_it_at_once_all_get_it(tmp_path):
    url = f"sqlite:///{tmp_path}/merit.db"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, url, f"study-{i}"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    errors = [process.communicate("go\n", timeout=120)[1] for process in processes]
    assert [(p.returncode, e) for p, e in zip(processes, errors, strict=True)] == [(0, "")] * 2
    storage = open_storage(url)
    assert sorted(optuna.get_all_study_names(storage)) == ["study-0", "study-1"]
    storage.close()


def test_a_file_of_something_else_is_refused_and_left_as_it_was(tmp_path):
    garbage, foreign = tmp_path / "garbage.db", tmp_path / "foreign.db"
    garbage.write_bytes(b"garbage " * 1000)
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE runs (id INTEGER)")
    for path, reason in (
        (garbage, "file is not a database"),
        (foreign, "it is a database of something else; choose another file"),
    ):
        before = path.read_bytes()
        with pytest.raises(UserError, match=f"^cannot open the study storage sqlite:///{path}: "):
            open_storage(f"sqlite:///{path}")
        with pytest.raises(UserError, match=reason):
            open_storage(f"sqlite:///{path}")
        assert path.read_bytes() == before


def test_a_file_that_another_process_recovers_is_opened_once_it_is_free(made, monkeypatch):
    connect, held = sqlite3.connect, iter([True, True, False])

    def recovering(path):
        if next(held):
            raise sqlite3.OperationalError("database is locked")
        return connect(path)

    monkeypatch.setattr("merit_opt.search.storage.sqlite.RECOVERY_SECONDS", 0.01)
    monkeypatch.setattr("merit_opt.search.storage.sqlite.sqlite3.connect", recovering)
    open_storage(f"sqlite:///{made}").close()
    assert next(held, None) is None


def test_a_file_that_stays_locked_is_told(made, monkeypatch):
    def locked(_path):
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr("merit_opt.search.storage.sqlite.RECOVERY_SECONDS", 0.01)
    monkeypatch.setattr("merit_opt.search.storage.sqlite.sqlite3.connect", locked)
    with pytest.raises(UserError, match=r"cannot open the study storage .*database is locked"):
        open_storage(f"sqlite:///{made}")
