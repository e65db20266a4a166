"""A worker whose time is over leaves the end of a study to those that are still at work."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from merit_opt.errors import UserError
from merit_opt.search.asking import Answer, Desk
from merit_opt.search.crew import Crew
from merit_opt.search.leases import Lease
from merit_opt.search.processes import Process
from merit_opt.search.trial import run_trial


@pytest.fixture
def lease(world) -> Iterator[Lease]:
    with Lease(world.storage) as held:
        yield held


def opened(world, lease: Lease, trials: int = 20) -> Desk:
    desk = Desk(world.study(), world.space, world.budget(trials), lease)
    desk.open()
    return desk


def test_between_two_trials_of_another_worker_a_late_one_waits(world, lease):
    with Lease(world.storage) as others:
        desk, late = opened(world, others), opened(world, lease)
        assert late.next(is_late=True) is Answer.WAIT
        run_trial(world.study(), desk.next(is_late=False), world.bench())
        assert late.next(is_late=True) is Answer.WAIT
        assert desk.next(is_late=True) is Answer.OVER
        assert late.next(is_late=True) is Answer.OVER


def test_nobody_waits_for_a_worker_that_has_stopped(world, lease):
    late = opened(world, lease)
    with Lease(world.storage) as others:
        opened(world, others)
        assert late.next(is_late=True) is Answer.WAIT
    assert late.next(is_late=True) is Answer.OVER


def test_nobody_waits_long_for_one_that_cannot_be_seen(world, lease, monkeypatch):
    with ExitStack() as away:
        elsewhere = Process("another host", "its place", 1, "long ago")
        monkeypatch.setattr("merit_opt.search.leases.this_process", lambda: elsewhere)
        desk = opened(world, away.enter_context(Lease(world.storage)))
        monkeypatch.undo()
        now = [0.0]
        crew = Crew(world.study(), lease)
        crew._reaper._clock = lambda: now[0]
        assert crew.is_at_work
        now[0] = world.storage.grace - 1
        run_trial(world.study(), desk.next(is_late=False), world.bench())
        assert crew.is_at_work  # its trial is a new sign
        now[0] += world.storage.grace - 1
        assert crew.is_at_work
        now[0] += 1
        assert not crew.is_at_work


def test_a_study_that_has_its_trials_waits_for_nobody(world, lease):
    world.work(7)
    with Lease(world.storage) as others:
        opened(world, others, 7)
        assert opened(world, lease, 7).next(is_late=True) is Answer.OVER


def test_hours_count_from_the_command_and_not_from_the_first_trial(world):
    world.engine.before = lambda recipe, count: time.sleep(0.2 if count == 1 else 0.0)
    with pytest.raises(UserError, match="no finished trial of the base yet"):
        world.run(20, hours=0.15 / 3600)
    assert len(world.engine.asked) == 1
