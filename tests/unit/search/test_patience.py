"""A storage that was away loses nothing and does nothing twice."""

import errno
import sqlite3
from collections.abc import Callable, Iterator

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState, create_trial
from sqlalchemy.exc import IntegrityError, OperationalError, PendingRollbackError
from sqlalchemy.orm import Session

from merit_opt.search.storage.faults import StorageAway, StorageFailed, may_pass, reason
from merit_opt.search.storage.memory import in_memory
from merit_opt.search.storage.patient import TOKEN, PatientStorage
from merit_opt.search.storage.sqlite import open_sqlite


def lost() -> OperationalError:
    return OperationalError(
        "COMMIT", {}, sqlite3.OperationalError("database is locked"), connection_invalidated=True
    )


class Server:
    """Fails the next calls of a storage's methods, before they are done or after."""

    def __init__(self, storage: PatientStorage, monkeypatch: pytest.MonkeyPatch) -> None:
        self._inner = storage._inner
        self._patch = monkeypatch

    def fail(
        self,
        name: str,
        times: int,
        *,
        is_done: bool = False,
        error: Callable[[], Exception] = lost,
    ) -> None:
        """The next `times` calls of the method fail, although they were done if `is_done`."""
        real, left = getattr(self._inner, name), [times]

        def failing(*given: object, **named: object) -> object:
            found = real(*given, **named) if is_done or not left[0] else None
            if left[0]:
                left[0] -= 1
                raise error()
            return found

        self._patch.setattr(self._inner, name, failing)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("merit_opt.search.storage.patient.FIRST_PAUSE", 0.001)
    monkeypatch.setattr("merit_opt.search.storage.patient.LAST_PAUSE", 0.002)


@pytest.fixture
def storage() -> PatientStorage:
    found = in_memory()
    found.patience = 60.0
    return found


@pytest.fixture
def server(storage: PatientStorage, monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(storage, monkeypatch)


@pytest.fixture
def study(storage: PatientStorage) -> optuna.Study:
    return optuna.create_study(storage=storage, study_name="s", direction="maximize")


CALLS = [
    "create_new_trial",
    "set_trial_param",
    "set_trial_user_attr",
    "set_trial_state_values",
    "get_trial",
    "get_all_trials",
]


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_a_trial_is_told_once_whatever_call_the_connection_is_lost_at(
    study, server, name, is_done
):
    server.fail(name, 3, is_done=is_done)
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    trial.set_user_attr("record", 1)
    study.tell(trial, 0.5)
    (kept,) = study.trials
    assert (kept.number, kept.state, kept.values) == (0, TrialState.COMPLETE, [0.5])
    assert (kept.params, kept.user_attrs) == (trial.params, {"record": 1})


@pytest.mark.parametrize("is_done", [False, True])
def test_a_queued_trial_is_queued_once(study, server, is_done):
    server.fail("create_new_trial", 2, is_done=is_done)
    study.add_trial(create_trial(state=TrialState.WAITING, user_attrs={"control": 1}))
    (kept,) = study.trials
    assert (kept.state, kept.user_attrs) == (TrialState.WAITING, {"control": 1})


def test_a_trial_that_another_ended_otherwise_is_not_taken_for_told(study, storage, server):
    trial = study.ask()
    server.fail("set_trial_state_values", 1)
    real = storage._inner.set_trial_state_values

    def other_first(trial_id: int, *given: object) -> bool:
        try:
            return real(trial_id, *given)
        except OperationalError:
            real(trial_id, TrialState.FAIL, None)
            raise

    storage._inner.set_trial_state_values = other_first  # type: ignore[method-assign]
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study.tell(trial, 0.5)


@pytest.fixture
def unacknowledged(tmp_path, monkeypatch) -> Iterator[PatientStorage]:
    """An SQLite file whose commits succeed and are reported lost, the first three times."""
    storage = open_sqlite(url=f"sqlite:///{tmp_path}/merit.db", patience=60.0, grace=60.0)
    yield storage
    storage.close()


def test_a_commit_without_acknowledgement_makes_one_trial(unacknowledged, monkeypatch):
    study = optuna.create_study(storage=unacknowledged, study_name="s", direction="maximize")
    commit, left = Session.commit, [7]

    def lose(session: Session) -> None:
        commit(session)
        if left[0]:
            left[0] -= 1
            raise lost()

    monkeypatch.setattr("optuna.storages._rdb.storage.random.random", lambda: 0.0)
    monkeypatch.setattr(Session, "commit", lose)
    trial = study.ask()
    assert left == [0]
    study.tell(trial, 0.5)
    assert [(t.number, t.value) for t in study.trials] == [(0, 0.5)]


def test_what_was_decided_while_the_storage_was_away_is_decided_again(study, storage, server):
    looks = []

    def decide() -> int:
        looks.append(len(study.get_trials()))
        if not looks[-1]:
            study.add_trial(create_trial(state=TrialState.WAITING))
        return len(study.get_trials())

    server.fail("create_new_trial", 1, is_done=True)
    assert storage.in_turn("s", decide) == 1
    assert looks == [0, 1]


def test_it_says_once_that_it_waits_and_once_that_it_is_over(study, storage, server, monkeypatch):
    monkeypatch.setattr("merit_opt.search.storage.patient.SILENT_SECONDS", 0.0)
    said: list[str] = []
    storage.warn = said.append
    server.fail("get_all_trials", 5)
    study.get_trials()
    waits, back = said
    assert waits == (
        "the study storage in memory is away (database is locked); waiting for it for up to 60 "
        "seconds"
    )
    assert back == "the study storage is back after 0 seconds"


def test_a_short_absence_is_not_worth_a_word(study, storage, server):
    said: list[str] = []
    storage.warn = said.append
    server.fail("get_all_trials", 3)
    study.get_trials()
    assert said == []
    assert storage.outages == 1


def test_patience_ends_in_a_sentence(study, storage, server):
    storage.patience = 0.02
    server.fail("get_all_trials", 10**6)
    with pytest.raises(StorageAway) as ended:
        study.get_trials()
    assert str(ended.value) == (
        "the study storage in memory is away (database is locked), for longer than "
        "storage.patience=0.02 seconds; every told trial is kept: give the same command again once "
        "it is back"
    )


@pytest.mark.parametrize(
    "error",
    [
        lambda: OSError(errno.ENOSPC, "No space left on device"),
        lambda: OSError(errno.EROFS, "Read-only file system"),
        lambda: sqlite3.OperationalError("attempt to write a readonly database"),
        lambda: OperationalError("", {}, sqlite3.OperationalError("database or disk is full")),
        lambda: OperationalError("", {}, sqlite3.OperationalError("no such table: trials")),
        lambda: IntegrityError("", {}, Exception("UNIQUE constraint failed")),
    ],
)
def test_what_cannot_pass_is_told_at_once(study, storage, server, error):
    server.fail("set_trial_user_attr", 10**6, error=error)
    trial = study.ask()
    with pytest.raises(StorageFailed) as told:
        trial.set_user_attr("record", 1)
    assert str(told.value).startswith(f"the study storage in memory failed: {reason(error())}; ")
    assert "every told trial is kept: give the same command again" in str(told.value)


class OfServer(Exception):
    """As psycopg's errors are."""

    def __init__(self, state: str | None, told: str) -> None:
        super().__init__(told)
        self.sqlstate = state


OfServer.__name__ = "OperationalError"


@pytest.mark.parametrize(
    ("state", "told", "passes"),
    [
        ("57P01", "terminating connection due to administrator command", True),
        ("57P03", "the database system is starting up", True),
        ("08006", "connection failure", True),
        ("53300", "too many connections", True),
        ("40P01", "deadlock detected", True),
        ("53100", "could not extend file: No space left on device", False),
        ("25006", "cannot execute INSERT in a read-only transaction", False),
        ("42P01", 'relation "trials" does not exist', False),
        (None, "connection failed: Connection refused", True),
        (None, "server closed the connection unexpectedly", True),
        (None, 'FATAL:  password authentication failed for user "me"', False),
        (None, 'FATAL:  database "nowhere" does not exist', False),
    ],
)
def test_what_may_pass_is_known_by_its_state(state, told, passes):
    error = StorageInternalError("An exception is raised during the commit.")
    error.__cause__ = OperationalError("SELECT 1", {}, OfServer(state, told))
    assert may_pass(error) is passes
    assert reason(error) == told


def test_a_transaction_that_broke_with_its_connection_may_pass():
    error = PendingRollbackError("Can't reconnect until invalid transaction is rolled back.")
    assert may_pass(StorageInternalError()) is False
    assert may_pass(error) is True


def test_a_reason_has_no_password():
    error = OSError("cannot reach postgresql://me:secret@host/x")
    assert "secret" not in reason(error)


def test_the_token_is_no_attribute_of_the_user_s(study):
    trial = study.ask()
    kept = study.trials[trial.number]
    assert kept.user_attrs == {}
    assert TOKEN in kept.system_attrs
