"""What a prior puts first is tried once, under its name, within the study's count."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from optuna.trial import TrialState

from merit_opt.errors import TrialFailed, UserError
from merit_opt.recipe.constructors import attention, base
from merit_opt.search.priors import PRIOR, SEED, Prior
from merit_opt.search.samplers import random
from merit_opt.search.spaces import Layerwise, Merit, Switch
from merit_opt.search.trial import record_of
from merit_opt.search.warm_start import (
    Room,
    WarmStarter,
    as_warm_start,
    kept_prior,
    scans,
    seeds,
)
from merit_opt.tracking import rows
from merit_opt.tracking.record import StudyRecord
from tests.unit.search.conftest import ANSWER, LAYERS, SLOPES

SPACE = Layerwise(LAYERS, 0.1, 1.0)
CONTROLS = 6
SCAN = [f"layer:{i}" for i in range(LAYERS)]


def promising(gains, losses=None):
    """A prior of layers with these TR slopes and TP losses."""
    return Prior("gradient", tuple(gains), tuple(-x for x in losses or [0.0] * len(gains)), 4.0)


def layers_of(found):
    return {seed.name: seed.recipe.coefficients() for seed in found}


def named(study):
    return [(t.number, t.user_attrs[SEED]) for t in study.trials if SEED in t.user_attrs]


def recipes(study):
    """Name -> merged layers of every finished seed."""
    records = [record_of(t) for t in study.trials if SEED in t.user_attrs]
    return {r.name: r.recipe.coefficients() for r in records}


@pytest.mark.parametrize(
    ("n_layers", "depths"),
    [(6, [1, 2, 3]), (9, [1, 2, 3, 4]), (28, [2, 4, 6, 8, 11]), (1, [1]), (36, [3, 6, 8, 11, 15])],
)
def test_depths_grow_with_the_model(n_layers, depths):
    space = Layerwise(n_layers, 0.1, 1.0)
    found = seeds(promising([1.0 + i for i in range(n_layers)]), space, 2.0)
    assert [seed.name for seed in found] == [f"gradient:{k}" for k in depths]
    for seed, k in zip(found, depths, strict=True):
        assert seed.recipe == attention(n_layers, dict.fromkeys(range(n_layers)[-k:], 1.0))
        assert space.params(seed.recipe) == seed.params


def test_only_layers_that_promise_enough_and_lose_little_are_in_seeds():
    gains = [0.05, 1.0, 0.9, -0.5, 0.0, 0.9]
    losses = [0.0, 0.1, 0.2, -1.0, 0.0, -0.5]
    assert layers_of(seeds(promising(gains, losses), SPACE, 2.0)) == {
        "gradient:1": {5: 1.0},
        "gradient:2": {1: 1.0, 5: 1.0},
    }


def test_a_prior_that_promises_nothing_seeds_nothing():
    for gains in ([0.0] * LAYERS, [-1.0] * LAYERS):
        assert seeds(promising(gains), SPACE, 2.0) == []


def test_seeds_of_a_space_of_two_states_leave_the_others_in_the_first():
    space = Merit(3, 0.25, 0.75)
    assert layers_of(seeds(promising([0.0, 1.0, 0.0]), space, 2.0)) == {
        "gradient:1": {0: 0.25, 1: 0.75, 2: 0.25}
    }


@dataclass(frozen=True)
class Blocks:
    """Two switches of three layers each."""

    inner: Layerwise = SPACE

    def __getattr__(self, name):
        return getattr(self.inner, name)

    @property
    def switches(self):
        def joined(own, key):
            return {k: v for switch in own for k, v in getattr(switch, key).items()}

        halves = (self.inner.switches[:3], self.inner.switches[3:])
        return tuple(
            Switch(tuple(s.layers[0] for s in own), joined(own, "off"), joined(own, "on"), ())
            for own in halves
        )


def test_switches_of_several_layers_promise_their_sum_and_are_scanned_as_one():
    found = seeds(promising([0.4, 0.4, 0.4, 1.0, 0.0, 0.0]), Blocks(), 2.0)
    assert layers_of(found) == {
        "gradient:1": dict.fromkeys((0, 1, 2), 1.0),
    }
    assert [seed.name for _, seed in scans(Blocks())] == ["layer:0-2", "layer:3-5"]


def test_a_recipe_outside_the_space_is_no_seed():
    narrow = SimpleNamespace(
        switches=SPACE.switches,
        suggest=SPACE.suggest,
        params=lambda recipe: None if len(recipe.merged_layers) > 1 else SPACE.params(recipe),
    )
    found = seeds(promising([1.0, 2.0, 3.0, 0.0, 0.0, 0.0]), narrow, 2.0)
    assert [seed.name for seed in found] == ["gradient:1"]


def test_an_unknown_warm_start_is_a_sentence():
    with pytest.raises(UserError, match="one of none, gradient, scan; got 'grad'"):
        as_warm_start("grad")


def test_the_gradient_s_seeds_come_right_after_the_controls(world):
    world.warm_start = "gradient"
    result = world.run(20)
    study = world.study()
    assert named(study) == [(6, "gradient:1"), (7, "gradient:2")]
    assert recipes(study) == {"gradient:1": {4: 1.0}, "gradient:2": {1: 1.0, 4: 1.0}}
    assert result["trials"] == {"complete": 20, "pruned": 0, "failed": 0, "cached": 0}
    roles = {r.name: r.role for r in world.told.trials if r.name.startswith("gradient")}
    assert roles == {"gradient:1": "trial", "gradient:2": "trial"}


def test_the_prior_is_of_the_unmerged_model_and_the_parts_that_the_space_merges(world):
    world.warm_start = "gradient"
    world.run(9)
    assert world.engine.screened == [(base(LAYERS), world.split.search, ("attention",))]
    assert kept_prior(world.study()) == Prior("gradient", SLOPES["TR"], SLOPES["TP"], 4.0)


def test_the_bill_is_told_in_the_result(world):
    world.warm_start = "gradient"
    result = world.run(12)
    assert json.loads(json.dumps(result["prior"])) == {
        "source": "gradient",
        "bill": 4.0,
        "reasoning": list(SLOPES["TR"]),
        "perception": list(SLOPES["TP"]),
    }
    world.warm_start = "none"
    other = type(world)(world.folder / "other", world.split)
    assert other.run(9)["prior"] is None


def test_a_resumed_study_uses_the_prior_it_has(world):
    world.warm_start = "gradient"
    world.run(9)
    before = [t.params for t in world.study().trials]
    world.run(20)
    assert len(world.engine.screened) == 1
    assert [t.params for t in world.study().trials][: len(before)] == before
    names = [name for _, name in named(world.study())]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("stop", [2, 7, 8, 13])
@pytest.mark.parametrize("source", ["gradient", "scan"])
def test_a_study_stopped_anywhere_has_the_same_trials(world, tmp_path, split, source, stop):
    whole = type(world)(tmp_path / "whole", split, warm_start=source, sampler=random())
    whole.run(25)

    def interrupt(recipe, count):
        if count == stop + 1:
            raise KeyboardInterrupt

    world.warm_start, world.sampler = source, random()
    world.engine.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        world.run(25)
    world.engine.before = lambda recipe, count: None
    world.run(25)
    assert told(world.study()) == told(whole.study())


def told(study):
    """Parameters, value and name of every finished trial, whatever the order."""
    done = (t for t in study.trials if t.state == TrialState.COMPLETE)
    return sorted((str(t.params), t.value, t.user_attrs.get(SEED, "")) for t in done)


def test_workers_that_start_together_differentiate_once_and_seed_once(world):
    def slowly():
        time.sleep(0.3)

    world.engine.before_screen = slowly
    started = threading.Barrier(2)

    def worker(study):
        starter = WarmStarter(
            source="gradient",
            study=study,
            bench=world.bench(),
            room=Room(20, 0),
            storage=world.storage,
            screen=lambda parts: world.engine.screen(base(LAYERS), world.split.search, parts),
        )
        started.wait()
        starter()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(worker, [world.study(), world.study()]))
    assert len(world.engine.screened) == 1
    assert [name for _, name in named(world.study())] == ["gradient:1", "gradient:2"]


def test_a_screen_that_is_interrupted_is_made_again(world):
    def interrupt():
        raise KeyboardInterrupt

    world.warm_start = "gradient"
    world.engine.before_screen = interrupt
    with pytest.raises(KeyboardInterrupt):
        world.run(9)
    assert PRIOR not in world.study().user_attrs
    world.engine.before_screen = lambda: None
    world.run(9)
    assert kept_prior(world.study()) is not None


def test_a_screen_that_fails_stops_the_study_with_what_to_do(world):
    def fail():
        raise TrialFailed("out of memory")

    world.warm_start = "gradient"
    world.engine.before_screen = fail
    with pytest.raises(UserError, match=r"screen failed: out of memory; give sampler\.warm_start"):
        world.run(9)


def test_a_scan_tries_every_layer_alone_and_then_the_best_together(world):
    world.warm_start = "scan"
    world.run(30)
    study = world.study()
    names = [name for _, name in named(study)]
    assert names[:LAYERS] == SCAN
    assert [number for number, _ in named(study)][:LAYERS] == list(range(6, 12))
    found = recipes(study)
    assert all(found[f"layer:{i}"] == {i: 1.0} for i in range(LAYERS))
    assert found["scan:2"] == dict.fromkeys(ANSWER, 1.0)
    prior = kept_prior(study)
    assert (prior.source, prior.bill) == ("scan", 6.0)
    gains = prior.gains(2.0)
    assert sorted(range(LAYERS), key=gains.__getitem__)[-2:] == [1, 4]
    assert world.engine.screened == []


def test_a_scan_s_best_layer_is_not_tried_twice(world):
    world.warm_start = "scan"
    world.run(30)
    known = [record_of(t).recipe.digest for t in world.study().trials if SEED in t.user_attrs]
    assert len(set(known)) == len(known)
    assert "scan:1" not in recipes(world.study())


def test_a_scan_s_trials_are_measured_in_full_where_others_are_stopped(world):
    world.warm_start, world.curtails = "scan", True
    world.run(40)
    states = {
        t.user_attrs[SEED]: t.state.name for t in world.study().trials if SEED in t.user_attrs
    }
    assert {states[name] for name in SCAN} == {"COMPLETE"}
    assert "PRUNED" in {t.state.name for t in world.study().trials}


def test_a_layer_whose_trial_failed_promises_nothing(world, failing):
    def before(recipe, count):
        if recipe == attention(LAYERS, {4: 1.0}):
            raise TrialFailed("out of memory")

    world.warm_start = "scan"
    world.engine.before = before
    world.run(30)
    prior = kept_prior(world.study())
    assert (prior.reasoning[4], prior.perception[4]) == (0.0, 0.0)
    assert all(4 not in r for n, r in recipes(world.study()).items() if n.startswith("scan"))


def test_a_scan_that_does_not_fit_is_refused_before_it_begins(world):
    world.warm_start = "scan"
    with pytest.raises(UserError, match=r"takes 6 trials .* study\.trials=16 leaves room for 5"):
        world.run(16)
    assert world.engine.asked == [(base(LAYERS), world.split.search)]


def test_seeds_leave_room_for_the_controls_at_the_end(world):
    world.warm_start = "gradient"
    study = world.run(12) and world.study()
    assert [name for _, name in named(study)] == ["gradient:1"]


def test_seeds_are_no_controls_on_confirm(world):
    world.warm_start = "gradient"
    result = world.run(20)
    assert not [c for c in result["confirm"]["controls"] if c["name"].startswith("gradient")]


def test_a_seed_may_win(world):
    world.warm_start = "gradient"
    result = world.run(9, random_layers=0)
    assert result["best"]["number"] == 7


def test_trackers_are_told_its_name(world):
    world.warm_start = "gradient"
    world.run(12)
    trial = next(r for r in world.told.trials if r.name == "gradient:1")
    assert rows.run_name(trial) == f"gradient:1 {trial.value:.3f} 1L"
    tags = rows.tags(StudyRecord("s", "f", {}, ""), trial)
    assert (tags["role"], tags["seed"]) == ("trial", "gradient:1")
    assert "seed" not in rows.tags(StudyRecord("s", "f", {}, ""), world.told.trials[0])
