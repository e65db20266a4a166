"""A fork begins with what another study found, and is a study of its own."""

from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from merit_opt.errors import UserError
from merit_opt.recipe.constructors import attention
from merit_opt.recipe.recipe import to_json
from merit_opt.search.fork import FORKED_FROM, queue_fork, require_forkable
from merit_opt.search.spaces import Layerwise, Merit
from merit_opt.search.study import run_study
from merit_opt.search.trial import RECORD, best, record_of
from merit_opt.tracking.record import NoTracker

CONTROLS = 6


@pytest.fixture
def forking(world):
    """Runs the fork `new` of the study `s`, which has run 20 trials."""
    world.old = world.run(20)

    def run(trials, parts=None, forks="s", **changes):
        plan = world.plan(trials, parts or {"pair": "p", "space": "other"}, **changes)
        record = replace(plan.record, name="new")
        return run_study(
            replace(plan, record=record, folder=world.folder / "studies/new", forks=forks),
            storage=world.storage,
            tracker=NoTracker(),
            engine=world.engine,
            reporter=world.told,
        )

    run.world = world
    return run


def forked(storage):
    study = optuna.load_study(study_name="new", storage=storage)
    return study, [t for t in study.trials if FORKED_FROM in t.user_attrs]


def by_value(study):
    records = [record_of(t) for t in study.trials]
    mine = [r for r in records if r.role == "trial"]
    distinct = {r.recipe: r for r in sorted(mine, key=lambda r: (r.value, -r.number))}
    return sorted(distinct.values(), key=lambda r: (-r.value, r.number))


def test_a_fork_first_tries_the_old_proposals_best_first_behind_the_controls(forking):
    result = forking(40)
    study, found = forked(forking.world.storage)
    expected = by_value(forking.world.study())
    assert [t.user_attrs[FORKED_FROM] for t in found] == [["s", r.number] for r in expected]
    assert [t.number for t in found] == list(range(CONTROLS, CONTROLS + len(found)))
    assert [record_of(t).recipe for t in found] == [r.recipe for r in expected]
    assert result["forked_from"] == "s"
    assert result["trials"]["complete"] == 40
    assert best(study).value >= best(forking.world.study()).value


def test_what_did_not_change_is_answered_by_the_cache(forking):
    forking(40)
    study, found = forked(forking.world.storage)
    records = [record_of(t) for t in found]
    assert all(r.cached and not r.cost for r in records)
    assert not record_of(study.trials[-1]).cached


def test_recipes_outside_the_new_space_are_left_out(forking):
    world = forking.world
    world.space = Layerwise(6, 0.3, 0.8)
    forking(40)
    _, found = forked(world.storage)
    inside = [r for r in by_value(world.study()) if world.space.params(r.recipe) is not None]
    assert 0 < len(found) == len(inside) < len(by_value(world.study()))
    for trial in found:
        assert trial.params.keys() == world.space.distributions.keys()
        assert all(0.3 <= v <= 0.8 for k, v in trial.params.items() if "coefficient" in k)


def test_a_space_that_has_none_of_them_begins_anew(forking):
    forking.world.space = Merit(6, 0.0, 0.9)
    result = forking(20)
    _, found = forked(forking.world.storage)
    assert [record_of(t).recipe.merged_layers for t in found] in ([], [()])
    assert result["trials"]["complete"] == 20


def test_the_budget_keeps_room_for_controls_of_random_layers(forking):
    result = forking(CONTROLS + 5 + 3)
    study, found = forked(forking.world.storage)
    assert len(found) == 3
    assert {t.state for t in study.trials} == {TrialState.COMPLETE}
    assert sum("random-layers" in c["name"] for c in result["confirm"]["controls"]) == 5


def test_a_fork_that_is_resumed_queues_nothing_twice_and_more_where_there_is_room(forking):
    forking(CONTROLS + 5 + 3)
    forking(CONTROLS + 5 + 6)
    _, found = forked(forking.world.storage)
    numbers = [t.user_attrs[FORKED_FROM][1] for t in found]
    assert len(set(numbers)) == len(numbers) == 6


def test_a_fork_goes_on_with_the_study_it_was_made_from_and_no_other(forking):
    forking(20)
    optuna.create_study(storage=forking.world.storage, study_name="t", direction="maximize")
    before = len(forked(forking.world.storage)[0].trials)
    sentence = (
        r"study new is a fork of study s, and study\.name= now gives t: give study\.name=s to go on "
        r"with it, or another study\.fork=NEW for a fork of t"
    )
    with pytest.raises(UserError, match=sentence):
        forking(25, forks="t")
    assert len(forked(forking.world.storage)[0].trials) == before
    assert forking(25)["trials"]["complete"] == 25


def test_the_old_study_is_left_as_it_is(forking):
    before = forking.world.study().trials
    forking(20)
    assert forking.world.study().trials == before


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("s", "s", r"study\.fork=s is the name of the study to fork; give another"),
        ("t", "n", r"starts from study t, and there is none in this storage; .* \(s\)"),
    ],
)
def test_a_study_that_cannot_be_forked_says_why(world, old, new, sentence):
    world.study()
    with pytest.raises(UserError, match=sentence):
        require_forkable(world.storage, old, new)


def test_an_empty_storage_says_so(world):
    with pytest.raises(UserError, match="it holds no study yet"):
        require_forkable(world.storage, "s", "n")


class Careless:
    """A space that names parameters out of its own range."""

    n_layers = 6
    distributions = Layerwise(6, 0.1, 1.0).distributions

    def params(self, recipe):
        return dict.fromkeys(self.distributions, 5)


def test_parameters_out_of_range_are_never_queued(world):
    study = world.study()
    recipe = attention(6, {1: 0.5})
    kept = {"recipe": to_json(recipe), "metrics": {}, "seconds": {}, "why": "", "switched_on": 1}
    study.add_trial(create_trial(value=1.0, user_attrs={RECORD: kept}))
    assert queue_fork(study, study, Careless(), room=9) == 0
    assert queue_fork(study, study, world.space, room=9) == 1
