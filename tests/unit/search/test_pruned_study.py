"""Studies whose proposals a test may stop."""

from dataclasses import replace

import pytest
from optuna.trial import TrialState

from merit_opt.errors import UserError
from merit_opt.search import pruners
from merit_opt.search.pruners import Stopping
from merit_opt.search.samplers import random, tpe
from merit_opt.search.storage.memory import in_memory
from merit_opt.search.trial import best, record_of, run_trial, told_records

RULES = {
    "wilcoxon": pruners.wilcoxon(p=0.2, first=6, every=3)(random()),
    "median": pruners.median(startup=8, first=6, every=3)(random()),
}


@pytest.fixture(params=RULES.values(), ids=RULES)
def pruned(request, world):
    world.sampler, world.pruning = random(), request.param
    return world


def test_a_stopped_trial_has_a_count_and_neither_value_nor_bound(pruned):
    study = pruned.work(60)
    stopped = [t for t in study.trials if t.state == TrialState.PRUNED]
    assert stopped
    for trial in stopped:
        record = record_of(trial)
        assert trial.values is None
        assert trial.intermediate_values == {}
        assert (record.value, record.values, record.cached) == (None, (), False)
        assert record.metrics.keys() == {"questions"}
        assert 6 <= record.metrics["questions"] < len(pruned.split.search.samples)


def test_controls_are_never_stopped(pruned):
    study = pruned.work(60)
    controls = [t for t in study.trials if "control" in t.user_attrs]
    assert len(controls) > 5
    assert {t.state for t in controls} == {TrialState.COMPLETE}


def test_a_study_stopped_and_resumed_equals_an_uninterrupted_one(pruned, tmp_path):
    pruned.run(40)
    states = [(t.params, t.state) for t in pruned.study().trials]
    other = replace(
        pruned, folder=tmp_path / "o", storage=in_memory(), engine=type(pruned.engine)()
    )

    def interrupt(recipe, count):
        if count == 27:
            raise KeyboardInterrupt

    other.engine.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        other.run(40)
    other.engine.before = lambda recipe, count: None
    other.run(40)
    found = [(t.params, t.state) for t in other.study().trials if t.state != TrialState.FAIL]
    assert found == states
    assert TrialState.PRUNED in [state for _, state in states]


def test_what_another_worker_measured_is_heard_of_without_measuring_it_anew(pruned):
    study = pruned.work(30, random_layers=0)
    leader, asked = best(study), len(pruned.engine.asked)
    newcomer = pruned.bench().stopping
    assert newcomer.stop(told_records(study), leader, leader.value) is not None
    assert len(pruned.engine.asked) == asked


def test_what_the_cache_does_not_know_stops_nothing(pruned):
    study = pruned.work(30, random_layers=0)
    leader = best(study)
    blind = Stopping(pruned.pruning.make(pruned.bench().yardstick), lambda recipe: {})
    assert blind.stop(told_records(study), leader, leader.value) is None


def test_two_workers_in_turn_stop_what_one_alone_does(pruned):
    pruned.work(60, random_layers=0)
    alone = [(t.params, t.state) for t in pruned.study().trials]
    other = replace(pruned, storage=in_memory(), engine=type(pruned.engine)())
    study = other.work(20, random_layers=0)
    benches = other.bench(), other.bench()
    for i in range(20, 60):
        run_trial(study, study.ask(), benches[i % 2])
    assert [(t.params, t.state) for t in study.trials] == alone
    assert TrialState.PRUNED in [state for _, state in alone]


def test_without_the_leader_s_scores_nothing_is_stopped(world):
    stops = RULES["wilcoxon"].make(world.bench().yardstick)
    assert stops.stop("unknown", 0.0) is None


def test_the_median_waits_for_its_trials(world):
    rule = world.bench().yardstick
    stops = pruners.median(startup=2, first=6, every=3)(random()).make(rule)
    stops.learn("a", rule.base.by_id)
    stops.learn("b", dict(list(rule.base.by_id.items())[:5]))
    assert stops.stop("a", 0.0) is None
    stops.learn("c", rule.base.by_id)
    assert stops.stop("a", 0.0) is not None


def test_numbers_of_a_rule_are_part_of_what_a_study_is_known_by():
    names = {
        pruners.wilcoxon(p=p, first=6, every=3)(tpe(n_startup_trials=1)).name for p in (0.1, 0.2)
    }
    assert len(names) == 2


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: pruners.wilcoxon(p=0.0, first=2, every=1),
            r"pruner\.p lies between 0 and 1, got 0",
        ),
        (
            lambda: pruners.wilcoxon(p=0.1, first=1, every=1),
            r"pruner\.first is 2 or more .* got 1",
        ),
        (lambda: pruners.median(startup=0, first=2, every=1), r"pruner\.startup is 1 or more"),
        (lambda: pruners.median(startup=1, first=2, every=0), r"got 2 and 0"),
    ],
)
def test_a_value_out_of_its_range_is_refused(make, sentence):
    with pytest.raises(UserError, match=sentence):
        make()
