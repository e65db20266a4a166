"""What a user is told before a study whose trials do not suffice for its sampler."""

import pytest

from merit_opt.search.abilities import short_of_trials
from merit_opt.search.flip_sampler import flips
from merit_opt.search.samplers import tpe
from merit_opt.search.spaces import Grouped, Layerwise

FLIPS = flips(max_pairs=30, least_share=0.05)
COEFFICIENTS = (0.25, 0.5, 0.75)
CONTROLS = 13
SPACES = {
    "nine": (Layerwise(9, 0.1, 1.0), 2 * 9 + 15),
    "many": (Layerwise(28, 0.1, 1.0), 2 * 28 + 15),
    "grouped": (Grouped(28, 4, 0.1, 1.0), 2 * 4 + 15),
}


@pytest.mark.parametrize(("space", "wanted"), SPACES.values(), ids=SPACES)
def test_the_number_that_is_told_suffices_and_one_less_does_not(world, space, wanted):
    def told(trials: int) -> str | None:
        budget = world.budget(trials, uniform=COEFFICIENTS)
        return short_of_trials(FLIPS, "flips", space, budget)

    enough = wanted + CONTROLS
    assert told(enough) is None
    remark = told(enough - 1)
    assert remark is not None
    assert f"about {wanted} proposals" in remark
    assert f"room for {wanted - 1} beside {CONTROLS} controls" in remark
    assert remark.endswith(f"study.trials={enough} suffices")


def test_the_default_suits_the_embedded_pair_and_not_one_of_28_layers(world):
    budget = world.budget(60, uniform=COEFFICIENTS)
    remarks = [short_of_trials(FLIPS, "flips", SPACES[n][0], budget) for n in ("nine", "many")]
    assert [remark is None for remark in remarks] == [True, False]


def test_without_room_for_controls_none_is_left_for_proposals(world):
    remark = short_of_trials(FLIPS, "flips", Layerwise(6, 0.1, 1.0), world.budget(3))
    assert remark is not None
    assert "room for 0 beside" in remark


def test_other_samplers_have_no_climbs(world):
    sampler = tpe(n_startup_trials=1)
    assert short_of_trials(sampler, "tpe", Layerwise(28, 0.1, 1.0), world.budget(3)) is None
