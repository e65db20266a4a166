"""A storage that cannot be opened is told in one line, without passwords."""

import importlib.util
import socket
from pathlib import Path

import pytest

from merit_opt.errors import UserError
from merit_opt.search.storage.journal import open_journal
from merit_opt.search.storage.postgres import open_postgres
from merit_opt.search.storage.sqlite import open_sqlite

SECONDS = {"patience": 0.0, "grace": 60.0}


def test_a_file_where_a_folder_should_be_is_told(tmp_path):
    file = tmp_path / "a_file"
    file.touch()
    line = r"^cannot open the study storage [^\n]+a_file[^\n]+$"
    with pytest.raises(UserError, match=line):
        open_sqlite(url=f"sqlite:///{file}/merit.db", **SECONDS)
    with pytest.raises(UserError, match=line):
        open_journal(path=file / "merit.journal", **SECONDS)


@pytest.mark.parametrize("url", ["garbage", "mysql://me:secret@host/x", "postgresql://host/x"])
def test_an_address_of_another_kind_names_the_three_there_are(url):
    with pytest.raises(UserError) as refused:
        open_sqlite(url=url, **SECONDS)
    told = str(refused.value)
    assert "secret" not in told
    for kind in ("storage=sqlite", "storage=postgres", "storage=journal"):
        assert kind in told


def test_an_sqlite_address_is_none_of_a_server():
    with pytest.raises(UserError, match="storage=sqlite takes"):
        open_postgres(url="sqlite:///merit.db", **SECONDS)


def test_an_address_is_no_path_of_a_journal():
    with pytest.raises(UserError, match=r"storage\.path is a file, got postgresql:"):
        open_journal(path=Path("postgresql://host/x"), **SECONDS)


def test_a_file_of_something_else_is_no_journal_and_left_as_it_was(tmp_path):
    foreign = tmp_path / "notes.txt"
    for content in ("dear diary\n", '{"a": 1}\n'):
        foreign.write_text(content)
        with pytest.raises(UserError, match="it is a file of something else; choose another"):
            open_journal(path=foreign, **SECONDS)
        assert foreign.read_text() == content


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_the_password_of_a_server_that_is_away_is_not_told(closed_port):
    pytest.importorskip("psycopg")
    url = f"postgresql://me:p%40ss@word@127.0.0.1:{closed_port}/studies"
    with pytest.raises(UserError) as refused:
        open_postgres(url=url, **SECONDS)
    told = str(refused.value)
    assert told.startswith(
        f"cannot open the study storage postgresql://…@127.0.0.1:{closed_port}/studies: "
    )
    assert not any(part in told for part in ("me:", "p%40ss", "p@ss", "word@", "\n"))


def test_a_missing_driver_is_told_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"needs the package psycopg; .*merit-opt\[postgres\]"):
        open_postgres(url="postgresql://host/x", **SECONDS)


def test_an_address_that_cannot_be_read_is_told_without_its_password(capsys):
    from merit_opt.cli.main import run

    url = "postgresql://me:secret@host/x?host=/a"
    assert run(["check", "storage=postgres", f"storage.url={url}"]) == 2
    told = capsys.readouterr().err
    assert "cannot be read: quote it" in told
    assert "secret" not in told
