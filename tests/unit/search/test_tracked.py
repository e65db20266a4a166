"""Losing the tracker never stops a study, and its next start repairs the record."""

import pytest

from merit_opt.search.flip_sampler import PHASE, flips
from merit_opt.tracking.record import TrackingUnavailable


class Absent:
    """A tracker that is away for the calls of these numbers, the first being 1."""

    def __init__(self, away: set[int]) -> None:
        self.away, self.calls = away, 0
        self.kept: dict[int, str] = {}
        self.studies: list[str] = []
        self.outcomes: list[object] = []
        self.standings: list[tuple[int, float] | None] = []
        self.leaders: list[int] = []

    def _call(self) -> None:
        self.calls += 1
        if self.calls in self.away:
            raise TrackingUnavailable(f"server away at {self.calls}")

    def start(self, study) -> None:
        self._call()
        self.studies.append(study.uid)

    def missing(self, numbers) -> set[int]:
        self._call()
        return set(numbers) - self.kept.keys()

    def log_trial(self, trial, standing) -> None:
        self._call()
        self.kept[trial.number] = trial.recipe.digest
        self.standings.append(standing and (standing.last.number, standing.best.value))

    def log_leader(self, leader) -> None:
        self.leaders.append(leader.number)

    def log_numbers(self, numbers) -> None:
        self._call()

    def finish(self, outcome) -> None:
        self._call()
        self.outcomes.append(outcome)


def test_a_tracker_that_is_there_keeps_everything_without_a_word(world):
    tracker = Absent(set())
    world.run(9, tracker)
    assert tracker.kept == {r.number: r.recipe.digest for r in world.told.trials}
    assert len(tracker.outcomes) == 1
    assert world.told.warnings == []


@pytest.mark.parametrize("away", [{1}, {3, 4, 5}, set(range(1, 99))])
def test_an_absence_is_told_once_and_the_study_goes_on(world, away):
    tracker = Absent(away)
    result = world.run(9, tracker)
    assert result["trials"]["complete"] == 9
    (warning,) = world.told.warnings
    assert warning == (
        f"server away at {min(away)}; the study goes on, and its next start repairs the record"
    )


def test_two_absences_are_told_twice(world):
    world.run(9, Absent({4, 8}))
    assert len(world.told.warnings) == 2


def test_the_next_start_repairs_what_is_missing(world):
    tracker = Absent({4, 5, 8})
    world.run(9, tracker)
    assert len(tracker.kept) == 6
    tracker.away = set()
    world.run(9, tracker)
    assert tracker.kept == {r.number: r.recipe.digest for r in world.told.trials}
    assert len(set(tracker.studies)) == 1


def test_any_other_error_of_a_tracker_is_a_bug(world):
    tracker = Absent(set())
    tracker.log_trial = lambda trial, standing: 1 / 0
    with pytest.raises(ZeroDivisionError):
        world.run(9, tracker)
    world.run(9)
    assert world.study().user_attrs["fingerprint"] == {"pair": "p", "space": "s"}


def test_a_trial_is_kept_with_how_the_study_stood(world):
    tracker = Absent(set())
    world.run(12, tracker)
    proposals = [r for r in world.told.trials if r.role == "trial"]
    drawn = [standing for standing in tracker.standings if standing is not None]
    assert drawn == sorted(drawn)
    assert drawn[-1] == (max(r.number for r in proposals), max(r.value for r in proposals))
    assert tracker.standings[0] is None  # the base is no proposal


def test_each_leader_is_shown_once_and_the_last_is_the_winner(world):
    tracker = Absent(set())
    result = world.run(12, tracker)
    assert len(tracker.leaders) == len(set(tracker.leaders))
    assert tracker.leaders[-1] == result["best"]["number"]


def test_a_repair_draws_what_was_drawn_before(world):
    seen, late = Absent(set()), Absent(set())
    world.run(12, seen)
    world.run(12, late)
    assert late.standings == seen.standings
    assert late.leaders == seen.leaders[-1:]


def test_the_tracker_is_told_which_phase_of_flips_proposed_a_trial(world):
    world.sampler = flips(max_pairs=2, least_share=0.05)
    world.run(16)
    phases = [trial.phase for trial in world.told.trials]
    assert phases == [t.user_attrs[PHASE] for t in world.study().trials]
    assert {"control", "flip"} <= set(phases)
