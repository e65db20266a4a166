"""The study storage is whole or absent, and a bad address is told in a sentence."""

import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from sqlalchemy import text

from merit_opt.errors import UserError
from merit_opt.search.storage import open_storage

OPENER = """
import sys
from merit_opt.search.storage import open_storage
sys.stdin.readline()
open_storage(sys.argv[1]).create_new_study([2], sys.argv[2])
"""


def pragma(path: Path, name: str) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute(f"PRAGMA {name}").fetchone()[0])


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("storage") / "deep" / "merit.db"
    open_storage(f"sqlite:///{path}").engine.dispose()
    return path


def test_a_new_file_keeps_a_write_ahead_log(made):
    assert pragma(made, "journal_mode") == "wal"


def test_its_connections_sync_less_and_wait_for_locks(made):
    storage = open_storage(f"sqlite:///{made}")
    with storage.engine.connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 1
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == 60_000
    storage.engine.dispose()


def test_studies_are_there_when_it_is_opened_again(made):
    storage = open_storage(f"sqlite:///{made}")
    optuna.create_study(storage=storage, study_name="kept")
    storage.engine.dispose()
    again = open_storage(f"sqlite:///{made}")
    assert "kept" in optuna.get_all_study_names(again)
    again.engine.dispose()


def test_one_killed_while_making_it_leaves_nothing_half_made(tmp_path, monkeypatch):
    def killed(*_: object) -> None:
        raise SystemExit

    path = tmp_path / "merit.db"
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", killed)
        with pytest.raises(SystemExit):
            open_storage(f"sqlite:///{path}")
    assert not path.exists()
    open_storage(f"sqlite:///{path}").engine.dispose()
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
    storage.engine.dispose()


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


@pytest.mark.parametrize("url", ["garbage", "nosuch://host/x", "sqlite:///{file}/merit.db"])
def test_an_address_that_leads_nowhere_is_told_in_one_line(tmp_path, url):
    file = tmp_path / "a_file"
    file.touch()
    with pytest.raises(UserError, match=r"^cannot open the study storage [^\n]+$"):
        open_storage(url.format(file=file))


def test_the_password_of_a_server_that_is_away_is_not_told():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = f"postgresql://me:p%40ss@word@127.0.0.1:{port}/studies"
    with pytest.raises(UserError) as refused:
        open_storage(url)
    told = str(refused.value)
    assert told.startswith(
        f"cannot open the study storage postgresql://…@127.0.0.1:{port}/studies: "
    )
    assert not any(part in told for part in ("me:", "p%40ss", "p@ss", "word@", "\n"))


def test_a_file_that_another_process_recovers_is_opened_once_it_is_free(made, monkeypatch):
    connect, held = sqlite3.connect, iter([True, True, False])

    def recovering(path):
        if next(held):
            raise sqlite3.OperationalError("database is locked")
        return connect(path)

    monkeypatch.setattr("merit_opt.search.storage.RECOVERY_SECONDS", 0.01)
    monkeypatch.setattr("merit_opt.search.storage.sqlite3.connect", recovering)
    open_storage(f"sqlite:///{made}").engine.dispose()
    assert next(held, None) is None


def test_a_file_that_stays_locked_is_told(made, monkeypatch):
    def locked(_path):
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr("merit_opt.search.storage.RECOVERY_SECONDS", 0.01)
    monkeypatch.setattr("merit_opt.search.storage.sqlite3.connect", locked)
    with pytest.raises(UserError, match=r"cannot open the study storage .*database is locked"):
        open_storage(f"sqlite:///{made}")
