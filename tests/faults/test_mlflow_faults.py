"""What becomes of tracking when processes are killed, servers silent and files strange."""

import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from merit_opt.errors import UserError
from merit_opt.recipe.constructors import uniform
from merit_opt.search.tracked import standing
from merit_opt.tracking.local_store import prepare
from merit_opt.tracking.record import StudyRecord, TrackingUnavailable, TrialRecord
from tests.faults.nursery import Nursery

STUDY = StudyRecord("tiny-clips", "f00d", {"pair": "tiny"}, "seed: 0\n", uid="u1")
NUMBERS = range(4)

WORKER = "tests.faults.test_mlflow_faults:keep_everything"


def trial(number: int) -> TrialRecord:
    recipe = uniform(9, (number + 1) / 10)
    return TrialRecord(number, "COMPLETE", "trial", "", recipe, number / 10, {}, {}, {})


def keep_everything(folder: str) -> int:
    """What a worker does that finds the trials told and nothing kept."""
    tracker = open_tracker(Path(folder))
    for number in tracker.missing(NUMBERS):
        tracker.log_trial(trial(number), standing([trial(n) for n in range(number + 1)]))
    return 0


def open_tracker(folder: Path):
    from merit_opt.tracking.mlflow import MlflowTracker

    uri = f"sqlite:///{folder}/mlflow.db"
    tracker = MlflowTracker(uri=uri, artifacts=None, experiment="merit_opt", patience=20.0)
    tracker.start(STUDY)
    return tracker


def rows(database: Path, question: str) -> list[tuple]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(question).fetchall()
    finally:
        connection.close()


def said(folder: Path) -> str:
    return (folder / "said").read_text()


def has_a_finished_run(database: Path) -> bool:
    try:
        return bool(rows(database, "SELECT 1 FROM runs WHERE status = 'FINISHED'"))
    except sqlite3.OperationalError:
        return False


def test_processes_killed_at_any_time_leave_one_whole_study(
    nursery: Nursery, tmp_path: Path
) -> None:
    database, unfinished = tmp_path / "mlflow.db", tmp_path / ".mlflow.db.unfinished"

    def start() -> int:
        return nursery.start(tmp_path, WORKER, str(tmp_path))

    begun = nursery.watch(start(), lambda: unfinished.exists() and unfinished.stat().st_size > 0)
    assert begun == -signal.SIGKILL
    assert not database.exists()

    victim, survivor = start(), start()
    killed = nursery.watch(victim, lambda: database.exists() and has_a_finished_run(database))
    assert (killed, nursery.code(survivor)) == (-signal.SIGKILL, 0), said(tmp_path)
    assert not list(tmp_path.glob(".mlflow.db.unfinished*"))

    keep_everything(str(tmp_path))
    parents = "SELECT 1 FROM tags WHERE key = 'role' AND value = 'study'"
    assert len(rows(database, parents)) == 1
    children = (
        "SELECT t.value, r.status FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid "
        "WHERE t.key = 'optuna_trial' AND r.lifecycle_stage = 'active'"
    )
    assert sorted(rows(database, children)) == [(str(n), "FINISHED") for n in NUMBERS]
    points = (
        "SELECT m.step FROM metrics m JOIN tags t ON t.run_uuid = m.run_uuid "
        "WHERE m.key = 'value' AND t.key = 'role' AND t.value = 'study'"
    )
    assert sorted(rows(database, points)) == [(n,) for n in NUMBERS]


KILLED_WRITER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA cache_size = 1")
connection.executemany("INSERT INTO runs VALUES (?)", [("x" * 4000,) for _ in range(200)])
os._exit(9)
"""


def test_what_a_killed_writer_left_half_written_is_undone(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE experiments (name TEXT)")
        connection.execute("CREATE TABLE runs (name TEXT)")
    whole = database.read_bytes()
    killed = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(database)], check=False)
    assert killed.returncode == 9
    assert database.read_bytes() != whole

    prepare(database, lambda _: pytest.fail("it is there already"))
    assert rows(database, "SELECT * FROM runs") == []
    assert database.read_bytes() == whole


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def dead_server() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["dead_server", "silent_server"])
def test_a_server_that_is_away_is_given_up_in_time(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    from merit_opt.tracking.mlflow import MlflowTracker

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    uri = request.getfixturevalue(kind).replace("//", "//user:secret@")
    tracker = MlflowTracker(uri=uri, artifacts=None, experiment="merit_opt", patience=2.0)
    begun = time.monotonic()
    with pytest.raises(TrackingUnavailable, match=r"MLflow at http://…@127\.0\.0\.1:") as caught:
        tracker.start(STUDY)
    assert "secret" not in str(caught.value)
    with pytest.raises(TrackingUnavailable, match="trials waiting to be written: 1"):
        tracker.log_trial(trial(0), None)
    assert time.monotonic() - begun < 30


def an_optuna_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE studies (study_id INTEGER)")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "make", [lambda path: path.write_bytes(b"garbage " * 1000), an_optuna_database]
)
def test_a_file_that_is_no_tracking_database_is_left_alone(tmp_path: Path, make) -> None:
    database = tmp_path / "mlflow.db"
    make(database)
    before = database.read_bytes()
    with pytest.raises(UserError, match=f"{database} exists but is not a tracking database"):
        open_tracker(tmp_path)
    assert database.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file where a folder should be")
    with pytest.raises(UserError, match=f"{tmp_path}/outputs/mlflow.db cannot be written"):
        open_tracker(tmp_path / "outputs")
