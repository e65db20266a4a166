"""A worker keeps its budget, outlives failed trials, and loses nothing when it is stopped."""

import threading
import time
from collections import Counter

import pytest
from optuna.trial import TrialState

from merit_opt.errors import UserError
from merit_opt.recipe.constructors import base
from merit_opt.search.controls import RANDOM_LAYERS, control_recipe, is_control
from merit_opt.search.leases import Lease
from merit_opt.search.samplers import CONTROL, proposal_index
from merit_opt.search.spaces import Layerwise
from merit_opt.search.trial import best, record_of
from merit_opt.search.worker import work

COMPLETE, FAIL, RUNNING, WAITING = (
    TrialState.COMPLETE,
    TrialState.FAIL,
    TrialState.RUNNING,
    TrialState.WAITING,
)


def states(study) -> Counter:
    return Counter(t.state for t in study.get_trials(deepcopy=False))


def control_names(study) -> list[str]:
    return [control_recipe(t.user_attrs[CONTROL])[0] for t in study.trials if is_control(t)]


def proposals(study) -> dict[int, dict[str, float]]:
    """Index -> parameters of every finished proposal and control."""
    return {proposal_index(study, t): t.params for t in study.trials if t.state == COMPLETE}


@pytest.mark.parametrize("trials", [1, 4, 6, 7, 9, 20])
def test_a_study_has_exactly_the_trials_asked_for_controls_included(world, trials):
    study = world.work(trials)
    assert states(study) == {COMPLETE: trials}
    assert len(world.engine.asked) == len(world.told.trials) == trials
    fixed = ["base", "backbone", "uniform:0.25", "uniform:0.5", "full:0.25", "full:0.5"]
    assert control_names(study)[:6] == fixed[:trials]


def test_the_last_of_the_budget_goes_to_random_layers(world):
    study = world.work(20)
    drawn = [name.startswith(RANDOM_LAYERS) for name in control_names(study)]
    assert drawn == [False] * 6 + [True] * 5
    assert [is_control(t) for t in study.trials] == [True] * 6 + [False] * 9 + [True] * 5


def test_asking_for_more_trials_goes_on_from_those_there_are(world):
    first = world.work(12)
    before = [(t.number, t.params, t.value) for t in first.trials]
    study = world.work(25)
    assert states(study) == {COMPLETE: 25}
    assert [(t.number, t.params, t.value) for t in study.trials][:12] == before
    assert len(set(control_names(study))) == len(control_names(study))


def test_a_finished_study_is_not_measured_again(world):
    world.work(8)
    asked = len(world.engine.asked)
    world.work(8)
    assert len(world.engine.asked) == asked


def test_a_failed_trial_has_its_reason_and_no_value_and_the_study_goes_on(world, failing):
    world.engine.before = failing({3, 8, 9, 12})
    study = world.work(14)
    assert states(study) == {COMPLETE: 14, FAIL: 4}
    failed = [t for t in study.trials if t.state == FAIL]
    assert [t.number for t in failed] == [2, 7, 8, 11]
    assert all(t.value is None and t.values is None for t in failed)
    records = [record_of(t) for t in failed]
    assert [r.why for r in records] == [f"out of memory at {n}" for n in (3, 8, 9, 12)]
    assert all(r.value is None and r.metrics == {} and r.state == "FAIL" for r in records)


def test_five_failures_in_a_row_stop_the_study_with_the_last_reason(world, failing):
    world.engine.before = failing(set(range(9, 99)))
    with pytest.raises(
        UserError, match=r"^5 trials in a row failed, the last: out of memory at 13$"
    ):
        world.work(30)
    assert states(world.study())[COMPLETE] == 8
    assert states(world.study())[RUNNING] == 0


def test_failures_that_are_not_in_a_row_never_stop_it(world, failing):
    world.engine.before = failing({n for n in range(7, 40) if n % 5})
    assert states(world.work(15))[COMPLETE] == 15


def test_a_bug_stops_the_worker_and_loses_nothing(world):
    def bug(recipe, count):
        if count == 9:
            raise ValueError("a bug")

    world.engine.before = bug
    with pytest.raises(ValueError, match="a bug"):
        world.work(15)
    assert states(world.study()) == {COMPLETE: 8, RUNNING: 1}
    hit = world.study().trials[8].params
    world.engine.before = lambda recipe, count: None
    study = world.work(15)
    assert states(study) == {COMPLETE: 15, FAIL: 1}
    assert proposals(study)[8] == hit


@pytest.mark.parametrize("moment", [1, 2, 9, 14])
def test_an_interrupted_trial_is_asked_again_with_the_same_parameters(world, moment):
    def interrupt(recipe, count):
        if count == moment:
            raise KeyboardInterrupt

    world.engine.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        world.work(15)
    assert states(world.study())[RUNNING] == 0
    hit, stopped = world.engine.asked[-1][0], world.study().trials[moment - 1]
    assert stopped.state == FAIL
    world.engine.before = lambda recipe, count: None
    study = world.work(15)
    assert states(study) == {COMPLETE: 15, FAIL: 1}
    assert sorted(proposals(study)) == list(range(15))
    assert proposals(study)[moment - 1] == stopped.params
    again = [r for r, _ in world.engine.asked[moment:] if r.digest == hit.digest]
    assert again


def test_a_study_whose_time_is_up_asks_no_more(world):
    study = world.work(20, hours=1e-9)
    assert states(study) == {WAITING: 6}
    assert world.engine.asked == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"trials": 0}, r"study\.trials is 1 or more .* got 0 and 5"),
        ({"trials": 5, "random_layers": -1}, "got 5 and -1"),
        ({"trials": 5, "hours": 0.0}, r"study\.hours must be above 0 or null, got 0\.0"),
        ({"trials": 5, "hours": float("nan")}, r"study\.hours must be above 0 or null, got nan"),
        ({"trials": 5, "uniform": (0.5, 0.0, 2.0)}, r"lie in \(0, 1\], got \[0\.0, 2\.0\]"),
    ],
)
def test_a_budget_out_of_range_is_refused(world, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        world.budget(**changes)


def test_workers_that_start_together_share_one_set_of_controls(world, monkeypatch):
    quick = Layerwise.params

    def slow(space, recipe):
        time.sleep(0.005)
        return quick(space, recipe)

    monkeypatch.setattr(Layerwise, "params", slow)
    budget = world.budget(24)
    together = threading.Barrier(4)
    crashes: list[BaseException] = []

    def worker() -> None:
        try:
            with Lease(world.storage) as lease:
                study, bench = world.study(), world.bench()
                together.wait()
                work(study, bench, budget=budget, lease=lease, watch=lambda *told: None)
        except BaseException as crash:  # noqa: BLE001
            crashes.append(crash)

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    study = world.study()
    assert crashes == []
    assert states(study) == {COMPLETE: 24}
    assert max(Counter(control_names(study)).values()) == 1
    indices = [proposal_index(study, t) for t in study.trials]
    assert len(set(indices)) == len(indices)


def test_the_leader_that_a_watcher_sees_never_falls(world):
    leaders: list[float] = []
    study = world.study()
    with Lease(world.storage) as lease:
        work(
            study,
            world.bench(),
            budget=world.budget(20),
            lease=lease,
            watch=lambda record, leader, done: leaders.append(leader.value),
        )
    assert leaders == sorted(leaders)
    assert leaders[-1] == best(study).value


def test_the_base_alone_is_a_study(world):
    study = world.work(1)
    assert best(study).recipe == base(6)
    assert best(study).value == 0.0
