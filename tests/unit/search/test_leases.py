"""A trial belongs to a process while that process lives, and is asked again once it is dead."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from merit_opt.search.leases import LEASE, Lease, ask_again, ask_dead_again
from merit_opt.search.samplers import PROPOSAL, RETRY_OF, proposal_index

HOLDER = """
import sys, time
from pathlib import Path
from merit_opt.search.leases import Lease
with Lease(Path(sys.argv[1])) as lease:
    print(lease.id, flush=True)
    time.sleep(300)
"""


def running(world, lease: str | None, **params: float):
    """A trial that a process asked for and did not tell."""
    study = world.study()
    trial = study.ask()
    world.space.suggest(trial)
    if lease is not None:
        trial.set_user_attr(LEASE, lease)
    return study.trials[trial.number]


def states(study) -> list[str]:
    return [t.state.name for t in study.trials]


def test_a_trial_of_a_living_worker_is_left_alone(world, tmp_path):
    with Lease(tmp_path) as lease:
        running(world, lease.id)
        assert ask_dead_again(world.study(), tmp_path) == 0
    assert states(world.study()) == ["RUNNING"]


def test_a_trial_of_a_worker_that_ended_is_asked_again(world, tmp_path):
    with Lease(tmp_path) as lease:
        pass
    trial = running(world, lease.id)
    assert ask_dead_again(world.study(), tmp_path) == 1
    study = world.study()
    assert states(study) == ["FAIL", "WAITING"]
    assert study.trials[1].user_attrs == {RETRY_OF: 0, PROPOSAL: 0}
    again = study.ask()
    world.space.suggest(again)
    assert again.params == trial.params


def test_a_lease_dies_with_its_process(world, tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        running(world, process.stdout.readline().strip())
        assert ask_dead_again(world.study(), tmp_path) == 0
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert ask_dead_again(world.study(), tmp_path) == 1
    finally:
        process.kill()
        process.communicate()
    assert states(world.study()) == ["FAIL", "WAITING"]


def test_a_trial_of_another_host_is_left_alone(world, tmp_path):
    running(world, "elsewhere/1/abcd")
    assert ask_dead_again(world.study(), tmp_path) == 0


def test_a_trial_killed_before_it_had_a_lease_is_asked_again(world, tmp_path):
    running(world, None)
    assert ask_dead_again(world.study(), tmp_path) == 1


def test_asking_dead_trials_again_twice_doubles_nothing(world, tmp_path):
    running(world, None)
    ask_dead_again(world.study(), tmp_path)
    assert ask_dead_again(world.study(), tmp_path) == 0
    assert states(world.study()) == ["FAIL", "WAITING"]


def test_a_kill_between_queueing_and_failing_doubles_nothing(world, tmp_path, monkeypatch):
    trial, study = running(world, None), world.study()

    def killed(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(study, "tell", killed)
        with pytest.raises(SystemExit):
            ask_again(study, trial)
    assert states(study) == ["RUNNING", "WAITING"]
    assert ask_dead_again(world.study(), tmp_path) == 1
    assert states(world.study()) == ["FAIL", "WAITING"]


def test_a_repeat_that_dies_too_keeps_the_first_one_s_place(world, tmp_path):
    running(world, None)
    for repeats in range(1, 4):
        ask_dead_again(world.study(), tmp_path)
        trial = running(world, None)
        assert trial.number == repeats
        assert trial.user_attrs[RETRY_OF] == repeats - 1
    study = world.study()
    assert {proposal_index(study, t) for t in study.trials} == {0}
    assert len({tuple(t.params.values()) for t in study.trials}) == 1
    assert proposal_index(study, running(world, None)) == 1


def test_a_worker_leaves_no_file_behind(tmp_path: Path):
    with Lease(tmp_path / "workers"):
        assert list((tmp_path / "workers").glob("*.lock"))
    assert not list((tmp_path / "workers").glob("*.lock"))


def test_two_workers_of_one_process_have_two_leases(tmp_path):
    with Lease(tmp_path) as one, Lease(tmp_path) as other:
        assert one.id != other.id
