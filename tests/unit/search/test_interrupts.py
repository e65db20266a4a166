import os
import signal
import threading
from collections.abc import Callable

import pytest

from merit_opt.search.interrupts import interrupts_allowed, interrupts_held


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def handler():
    """Whatever a test does, the handler it found is there again."""
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


def interrupted(steps: Callable[[], None]) -> None:
    with pytest.raises(KeyboardInterrupt):
        steps()


def test_ctrl_c_waits_for_the_end_of_the_block():
    said = []

    @interrupts_held()
    def steps() -> None:
        press()
        said.append("written")

    interrupted(steps)
    assert said == ["written"]


def test_ctrl_c_waits_no_longer_than_for_the_next_place_where_it_may_come():
    @interrupts_held()
    def steps() -> None:
        press()
        with interrupts_allowed():
            pytest.fail("it was kept waiting")

    interrupted(steps)


def test_where_it_may_come_it_comes_at_once_and_what_follows_is_held_again():
    said = []

    @interrupts_held()
    def steps() -> None:
        try:
            with interrupts_allowed():
                press()
                said.append("never")
        except KeyboardInterrupt:
            press()
            said.append("queued again")
            raise

    interrupted(steps)
    assert said == ["queued again"]


def test_the_second_ctrl_c_is_not_kept_waiting():
    @interrupts_held()
    def steps() -> None:
        press()
        press()
        pytest.fail("the second one was held as well")

    interrupted(steps)


def test_an_error_in_the_block_is_what_the_caller_sees():
    @interrupts_held()
    def steps() -> None:
        press()
        raise ValueError("full")

    with pytest.raises(ValueError, match="full"):
        steps()


def test_a_thread_holds_nothing():
    outcome = []

    def run() -> None:
        with interrupts_held(), interrupts_allowed():
            outcome.append("ran")

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert outcome == ["ran"]
