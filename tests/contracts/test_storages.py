"""What every storage of a study promises. A new storage is a row of STORAGES."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

import optuna
import pytest
from optuna.trial import TrialState

from merit_opt.errors import UserError
from merit_opt.search.leases import DEATHS, LEASE, STOPPED, Lease, Reaper, reap, was_taken
from merit_opt.search.processes import this_process
from merit_opt.search.samplers import PROPOSAL, RETRY_OF, SUGGESTED
from merit_opt.search.storage.patient import PatientStorage
from tests.storages import STORAGES, new_place, opened

Open = Callable[[], PatientStorage]


@pytest.fixture(params=STORAGES)
def kind(request) -> str:
    return request.param


@pytest.fixture
def place(kind, tmp_path, request) -> str:
    return new_place(kind, tmp_path / "deep" / "kept", request)


@pytest.fixture
def open_it(kind, place) -> Iterator[Open]:
    """Opens the same storage again and again."""
    made: list[PatientStorage] = []

    def make() -> PatientStorage:
        made.append(opened(kind, place))
        return made[-1]

    yield make
    for storage in made:
        storage.close()


def study_in(storage: PatientStorage) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(
        storage=storage, study_name="s", direction="maximize", load_if_exists=True
    )


def running(study: optuna.Study, sign: dict | None) -> optuna.Trial:
    """A trial that a worker asked for and did not tell."""
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    trial.set_user_attr(SUGGESTED, value=True)
    if sign is not None:
        trial.set_user_attr(LEASE, sign)
    return trial


def sign(**changes: object) -> dict:
    elsewhere = replace(this_process(), host="elsewhere")
    return {"id": "other", **asdict(elsewhere), "beat": 7, "time": "noon", **changes}


def states(study: optuna.Study) -> list[str]:
    return [t.state.name for t in study.get_trials(deepcopy=False)]


class Clock:
    """Goes as it is told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_was_told_is_there_when_it_is_opened_again(open_it):
    study = study_in(open_it())
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    trial.set_user_attr("record", {"é": [1, 0.5]})
    study.tell(trial, 0.25)
    (kept,) = study_in(open_it()).trials
    assert (kept.state, kept.value, kept.params) == (TrialState.COMPLETE, 0.25, trial.params)
    assert kept.user_attrs == {"record": {"é": [1, 0.5]}}


def test_a_trial_of_a_living_worker_is_left_alone(open_it):
    storage = open_it()
    study = study_in(storage)
    with Lease(storage) as lease:
        trial = running(study, None)
        lease.take(trial._trial_id)
        assert reap(study, Reaper(storage), 2) == 0
    assert states(study) == ["RUNNING"]


def test_a_trial_of_a_worker_that_ended_is_failed_with_the_reason_and_asked_again(open_it):
    storage = open_it()
    study = study_in(storage)
    with Lease(storage) as lease:
        trial = running(study, None)
        lease.take(trial._trial_id)
    assert reap(study, Reaper(storage), 2) == 1
    assert states(study) == ["FAIL", "WAITING"]
    me = this_process()
    assert study.trials[0].user_attrs[STOPPED] == f"its worker {me.host}/{me.pid} stopped"
    assert study.trials[1].user_attrs == {RETRY_OF: 0, PROPOSAL: 0, DEATHS: 1}
    again = study.ask()
    assert again.suggest_float("x", 0.0, 1.0) == trial.params["x"]


def test_a_dead_process_of_this_host_is_known_at_once(open_it):
    done = subprocess.Popen([sys.executable, "-c", "pass"])
    done.wait()
    storage = open_it()
    study = study_in(storage)
    running(study, sign(**asdict(replace(this_process(), pid=done.pid))))
    running(study, sign(**asdict(replace(this_process(), started="0"))))
    assert reap(study, Reaper(storage), 2) == 2


def test_a_trial_of_another_host_is_taken_once_its_heart_stood_still_for_long(open_it):
    storage, clock = open_it(), Clock()
    study, reaper = study_in(storage), Reaper(storage, clock)
    trial = running(study, sign())
    for now, beat, dead in (
        (1000, 7, 0),
        (1059, 7, 0),
        (1059, 8, 0),
        (1118, 8, 0),
        (1119, 8, 1),
    ):
        clock.now = float(now)
        trial.set_user_attr(LEASE, sign(beat=beat))
        assert reap(study, reaper, 2) == dead, now
    why = study.trials[0].user_attrs[STOPPED]
    assert why == (
        f"its worker elsewhere/{os.getpid()} stopped: no heartbeat for 60 seconds, the last at noon"
    )


def test_a_wall_clock_that_jumps_changes_nothing(open_it):
    storage, clock = open_it(), Clock()
    study, reaper = study_in(storage), Reaper(storage, clock)
    trial = running(study, sign())
    for time_told in ("2000-01-01", "1970-01-01", "2099-01-01"):
        trial.set_user_attr(LEASE, sign(time=time_told))
        assert reap(study, reaper, 2) == 0
    clock.now += 61
    assert reap(study, reaper, 2) == 1


def test_time_in_which_the_storage_was_away_does_not_count(open_it):
    storage, clock = open_it(), Clock()
    study, reaper = study_in(storage), Reaper(storage, clock)
    running(study, sign())
    assert reap(study, reaper, 2) == 0
    clock.now += 600
    storage.outages += 1
    assert reap(study, reaper, 2) == 0
    clock.now += 61
    assert reap(study, reaper, 2) == 1


def test_a_trial_killed_before_it_had_a_lease_is_asked_again(open_it):
    storage = open_it()
    study = study_in(storage)
    running(study, None)
    assert reap(study, Reaper(storage), 2) == 1
    assert reap(study, Reaper(storage), 2) == 0
    assert states(study) == ["FAIL", "WAITING"]


def test_a_proposal_is_given_up_after_its_retries(open_it):
    storage = open_it()
    study = study_in(storage)
    for _ in range(3):
        running(study, None)
        reap(study, Reaper(storage), 2)
    assert states(study) == ["FAIL", "FAIL", "FAIL"]
    assert len({tuple(t.params.items()) for t in study.trials}) == 1
    assert {t.user_attrs.get(PROPOSAL, 0) for t in study.trials} == {0}


def test_a_worker_that_only_seemed_dead_and_told_is_counted_once(open_it):
    storage, other = open_it(), open_it()
    study = study_in(storage)
    trial = running(study, sign())
    slow = study_in(other)
    slow.get_trials()
    seen = study.trials
    slow.tell(trial.number, 0.5)
    reaper = Reaper(storage, Clock())
    reaper.dead = lambda _: [(seen[0], "it seemed dead")]
    reap(study, reaper, 2)
    assert states(study_in(other)) == ["COMPLETE", "FAIL"]
    assert was_taken(study_in(other), 1)
    assert "was told after all" in study.trials[1].user_attrs[STOPPED]


def test_a_tell_after_the_trial_was_taken_is_refused(open_it):
    storage, other = open_it(), open_it()
    study = study_in(storage)
    trial = running(study, None)
    taker = study_in(other)
    assert reap(taker, Reaper(other), 2) == 1
    with pytest.raises((ValueError, RuntimeError)):
        study.tell(trial, 0.5)
    assert states(taker) == ["FAIL", "WAITING"]


def test_one_turn_at_a_time(open_it):
    inside, most = [0], [0]

    def decide() -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.002)
        inside[0] -= 1

    def worker(storage: PatientStorage) -> None:
        for _ in range(5):
            storage.in_turn("s", decide)

    threads = [threading.Thread(target=worker, args=(open_it(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == ([0], [1])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"patience": -1.0}, r"storage\.patience must be 0 or more seconds, got -1\.0"),
        ({"patience": float("nan")}, r"storage\.patience must be 0 or more seconds"),
        ({"grace": 0.0}, r"storage\.grace must be above 0 seconds, got 0\.0"),
    ],
)
def test_seconds_out_of_range_are_refused(kind, place, change, sentence):
    with pytest.raises(UserError, match=sentence):
        opened(kind, place, **change)
