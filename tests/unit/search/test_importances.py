"""Importances of what recipes do."""

import random
from collections import Counter

import pytest

from merit_opt.recipe.constructors import attention, full
from merit_opt.search.importances import FEWEST, importances
from tests.reports import ANSWER, LAYERS, trial, trials


def shares(found, evaluator):
    return {i.layer: i.share for i in found if i.evaluator == evaluator}


@pytest.mark.parametrize("evaluator", ["PED-ANOVA", "fANOVA"])
def test_every_layer_has_a_share_and_they_sum_to_one(evaluator):
    own = shares(importances(trials(), seed=0), evaluator)
    assert set(own) == set(range(LAYERS))
    assert sum(own.values()) == pytest.approx(1.0)
    assert min(own.values()) >= 0.0


@pytest.mark.parametrize("evaluator", ["PED-ANOVA", "fANOVA"])
def test_of_many_recipes_the_layers_that_matter_are_found(evaluator):
    rng = random.Random(0)
    drawn = [
        {i: rng.choice([0.5, 1.0]) for i in range(LAYERS) if rng.random() < 0.5}
        for _ in range(200)
    ]
    told = [
        trial(i, attention(LAYERS, own), value=sum(own.get(layer, 0.0) for layer in ANSWER))
        for i, own in enumerate(drawn)
    ]
    own = shares(importances(told, seed=0), evaluator)
    assert {layer for layer, _ in Counter(own).most_common(2)} == set(ANSWER)


def test_they_are_the_same_each_time():
    assert importances(trials(), seed=0) == importances(trials(), seed=0)


def test_a_coefficient_that_never_changed_has_none():
    told = [trial(i, attention(LAYERS, {1: 0.5 + i / 100, 2: 1.0})) for i in range(30)]
    assert {i.layer for i in importances(told, seed=0)} == {1}


def test_controls_that_merge_other_parts_are_left_out():
    other = [trial(100, full(LAYERS, 1.0), role="control", name="full:1", value=-9.0)]
    assert importances([*trials(), *other], seed=0) == importances(trials(), seed=0)


def test_too_few_trials_have_none():
    assert importances(trials()[: FEWEST - 1], seed=0) == ()
    assert importances([], seed=0) == ()
