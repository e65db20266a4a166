"""What a person sees while a study runs, alone at the terminal or among other workers."""

import io

import pytest
from rich.console import Console

from merit_opt.cli.progress import _duration, display, now_and_then
from merit_opt.recipe.constructors import uniform
from merit_opt.tracking.record import TrialRecord

RECORD = TrialRecord(
    number=4,
    state="COMPLETE",
    role="trial",
    name="",
    recipe=uniform(3, 0.5),
    value=0.25,
    metrics={"TR": 0.75, "TP": 1.0},
    seconds={},
    cost={},
    why="",
    finished=None,
)


def shown(teller: str, *, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=60)
    with display(console, teller) as told:
        told.stage("loading the pair", 0, 1)
        told.trial(RECORD, RECORD, 5, 9)
        told.warn("little room")
    return console.file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_worker_among_others_draws_nothing_and_says_a_line_a_trial(terminal):
    assert shown("a, worker 1: ", terminal=terminal).splitlines() == [
        "a, worker 1: trial 4 TR 0.750 TP 1.000 │ best 4 TR 0.750 TP 1.000 3 layers (5 of 9)",
        "a, worker 1: warning: little room",
    ]


def test_a_long_stage_is_told_now_and_then_where_nothing_is_drawn():
    def told(*, terminal: bool) -> str:
        console = Console(file=io.StringIO(), force_terminal=terminal, width=60)
        with display(console, every=0.0) as shown:
            shown.stage("masking layers", 3, 9)
        return console.file.getvalue()

    assert told(terminal=False) == "masking layers (3 of 9)\n"
    assert "(3 of 9)" not in told(terminal=True)


def test_a_stage_says_about_how_long_it_still_takes_from_what_was_done_here():
    seconds = [0.0]
    console = Console(file=io.StringIO(), force_terminal=False, width=60)
    with display(console, every=0.0) as shown:
        shown._progress.get_time = lambda: seconds[0]
        for done in (3, 4, 6, 9):
            shown.stage("masking layers", done, 9)
            seconds[0] += 10.0
    assert console.file.getvalue().splitlines() == [
        "masking layers (3 of 9)",
        "masking layers (4 of 9; about 50 s left)",
        "masking layers (6 of 9; about 20 s left)",
        "masking layers (9 of 9; about 0 s left)",
    ]


def test_a_stage_that_begins_once_more_is_timed_from_there():
    seconds = [0.0]
    console = Console(file=io.StringIO(), force_terminal=False, width=60)
    with display(console, every=0.0) as shown:
        shown._progress.get_time = lambda: seconds[0]
        for done, pause in ((0, 10.0), (4, 10.0), (2, 1.0), (3, 1.0), (4, 0.0)):
            shown.stage("differentiating", done, 4)
            seconds[0] += pause
    assert console.file.getvalue().splitlines() == [
        "differentiating (0 of 4)",
        "differentiating (4 of 4; about 0 s left)",
        "differentiating (2 of 4)",
        "differentiating (3 of 4; about 1 s left)",
        "differentiating (4 of 4; about 0 s left)",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (89, "89 s"), (90, "2 min"), (5000, "83 min"), (5400, "1.5 h")],
)
def test_a_duration_has_few_digits(seconds, text):
    assert _duration(seconds) == text


def test_a_line_is_due_once_in_so_many_seconds():
    now = iter([0, 29, 30, 30, 59, 61, 61])
    due = now_and_then(30, lambda: next(now))
    assert [due() for _ in range(4)] == [False, True, False, True]


def test_alone_it_draws_at_a_terminal_only(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert shown("", terminal=False) == "warning: little room\n"
    drawn = shown("", terminal=True)
    assert "\x1b" in drawn
    assert "best 4" in drawn
