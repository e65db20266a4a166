"""A worker shows that it lives, and what it had is asked again when it does so no longer."""

import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from sqlalchemy.exc import OperationalError

from merit_opt.search.heartbeat import Heartbeat
from merit_opt.search.leases import LEASE, Lease, Reaper, give_up, reap
from merit_opt.search.processes import this_process
from merit_opt.search.samplers import PROPOSAL, RETRY_OF, SUGGESTED, proposal_index


def running(world):
    """A trial that a process asked for and did not tell."""
    study = world.study()
    trial = study.ask()
    world.space.suggest(trial)
    return study.trials[trial.number]


def reaped(world, retries: int = 2) -> int:
    return reap(world.study(), Reaper(world.storage), retries)


def states(study) -> list[str]:
    return [t.state.name for t in study.trials]


def beats_of(world) -> int:
    return world.study().trials[0].user_attrs[LEASE]["beat"]


def wait_for(holds) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_this_process_runs_and_is_no_other():
    me = this_process()
    assert me.is_here
    assert not me.is_gone
    assert replace(me, started=f"{me.started}0").is_gone
    for elsewhere in (replace(me, host="other", pid=2**22), replace(me, place="x", pid=2**22)):
        assert not elsewhere.is_here
        assert not elsewhere.is_gone


def test_a_process_that_ended_is_gone_even_before_its_parent_heard():
    code = "from merit_opt.search.processes import this_process as p; q = p(); print(q.pid, q.started)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    pid, started = child.stdout.readline().split()
    other = replace(this_process(), pid=int(pid), started=started)
    wait_for(lambda: other.is_gone)
    child.communicate()
    assert other.is_gone


def test_a_trial_that_runs_has_a_beating_heart(world):
    world.storage.grace = 0.04
    trial = running(world)
    with Lease(world.storage) as lease:
        lease.take(trial._trial_id)
        assert beats_of(world) == 0
        with lease.beating(trial._trial_id):
            wait_for(lambda: beats_of(world) >= 3)
    last = beats_of(world)
    time.sleep(0.05)
    assert beats_of(world) == last


def test_a_heart_outlives_a_storage_that_is_away():
    beats: list[int] = []

    def beat() -> None:
        beats.append(1)
        if len(beats) < 4:
            raise OperationalError("", {}, Exception("the server closed the connection"))

    with Heartbeat(beat, 0.005):
        wait_for(lambda: len(beats) > 5)
    assert not [t for t in threading.enumerate() if t.name == "heartbeat"]


def test_a_heart_that_never_beats_stops_with_its_worker():
    with Heartbeat(lambda: pytest.fail("too early"), 3600.0):
        pass
    assert not [t for t in threading.enumerate() if t.name == "heartbeat"]


def test_a_beat_counts_an_outage_and_does_not_wait(world, monkeypatch):
    def away(*_: object) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    world.storage.patience = 3600.0
    monkeypatch.setattr(world.storage._inner, "set_trial_user_attr", away)
    trial = running(world)
    world.storage.grace = 0.04
    with Lease(world.storage) as lease, lease.beating(trial._trial_id):
        wait_for(lambda: world.storage.outages > 2)


def test_a_kill_between_queueing_and_failing_doubles_nothing(world, monkeypatch):
    running(world)

    def killed(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(world.storage, "set_trial_state_values", killed)
        with pytest.raises(SystemExit):
            reaped(world)
    assert states(world.study()) == ["RUNNING", "WAITING"]
    assert reaped(world) == 1
    assert states(world.study()) == ["FAIL", "WAITING"]


def test_a_repeat_that_dies_too_keeps_the_first_one_s_place(world):
    running(world)
    for repeats in range(1, 4):
        reaped(world, retries=3)
        trial = running(world)
        assert trial.number == repeats
        assert trial.user_attrs[RETRY_OF] == repeats - 1
    study = world.study()
    assert {proposal_index(study, t) for t in study.trials} == {0}
    assert len({tuple(t.params.values()) for t in study.trials}) == 1
    assert proposal_index(study, running(world)) == 1


def test_what_else_is_kept_with_a_trial_its_repeat_has_too(world):
    study = world.study()
    trial = study.ask()
    world.space.suggest(trial)
    trial.set_user_attr("phase", "cold")
    trial.set_user_attr(SUGGESTED, value=True)
    reaped(world)
    repeat = study.trials[1]
    assert repeat.user_attrs["phase"] == "cold"
    assert repeat.user_attrs[PROPOSAL] == 0
    assert repeat.system_attrs["fixed_params"] == trial.params


def test_what_was_not_drawn_to_its_end_is_drawn_again(world):
    study = world.study()
    trial = study.ask()
    [first, *_] = world.space.distributions
    drawn = trial.suggest_int(first, 0, 1)
    study._storage.set_trial_system_attr(trial._trial_id, "noted", 1)
    reaped(world)
    repeat = study.trials[1]
    assert not {"fixed_params", "noted"} & repeat.system_attrs.keys()
    again = world.study().ask()
    world.space.suggest(again)
    assert again.params[first] == drawn
    assert proposal_index(study, study.trials[1]) == 0


def test_a_trial_may_be_interrupted_more_often_than_its_workers_may_die(world):
    for number in range(6):
        running(world)
        give_up(world.study(), world.storage, number)
    assert states(world.study()) == ["FAIL"] * 6 + ["WAITING"]
    assert reaped(world) == 0


def test_one_interrupted_while_the_storage_is_away_is_left_to_the_next_start(world, monkeypatch):
    def away(*_: object, **__: object) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    world.storage.patience = 3600.0
    trial = running(world)
    with monkeypatch.context() as patch:
        patch.setattr(world.storage._inner, "get_all_trials", away)
        give_up(world.study(), world.storage, trial.number)
    assert states(world.study()) == ["RUNNING"]
    assert reaped(world) == 1


def test_two_workers_of_one_process_have_two_leases(world):
    with Lease(world.storage) as one, Lease(world.storage) as other:
        assert one.id != other.id
        lease_of_one, study = running(world), world.study()
        one.take(lease_of_one._trial_id)
        assert reaped(world) == 0
    assert reaped(world) == 1
    assert states(study) == ["FAIL", "WAITING"]
