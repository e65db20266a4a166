"""A prior says what layers promise, whatever it was made of."""

import pytest

from merit_opt.evaluation.screen import Screen
from merit_opt.models.alignment import AlignedTensor
from merit_opt.recipe.constructors import full, layer_swap, uniform
from merit_opt.search.priors import Prior, prior_of_scan, prior_of_screen

PRIOR = Prior("gradient", (1.0, 0.5, -0.2), (-0.25, 0.1, 0.3), 4.0)


def screen():
    """Three layers whose attention promises 1, 2, 3 and whose MLP promises 10, 20, 30."""
    slopes = {
        AlignedTensor(i, part, name): (i + 1.0) * size
        for i in range(3)
        for part, name, size in (
            ("attention", "q", 0.25),
            ("attention", "v", 0.75),
            ("mlp", "up", 10.0),
        )
    }
    return Screen({"TR": slopes, "TP": {t: -s for t, s in slopes.items()}}, {}, {}, 10.0, 2.0)


def test_it_reads_itself_back():
    assert Prior.from_dict(PRIOR.to_dict()) == PRIOR


def test_gains_weigh_a_loss_of_perception_and_no_gain_of_it():
    assert PRIOR.gains(2.0) == (0.5, 0.5, -0.2)


def test_layers_that_move_together_promise_their_sum():
    assert PRIOR.of([0, 2]) == (pytest.approx(0.8), pytest.approx(0.05))
    assert PRIOR.of([]) == (0.0, 0.0)


def test_a_screen_promises_what_the_space_merges():
    found = prior_of_screen(screen(), uniform(3, 1.0))
    assert (found.source, found.bill) == ("gradient", 5.0)
    assert found.reasoning == (1.0, 2.0, 3.0)
    assert found.perception == (-1.0, -2.0, -3.0)
    both = prior_of_screen(screen(), full(3, 1.0, parts=("attention", "mlp")))
    assert both.reasoning == (11.0, 22.0, 33.0)
    assert prior_of_screen(screen(), layer_swap(3, 2, 1.0)).reasoning == (0.0, 0.0, 33.0)


def test_a_scan_s_trial_of_several_layers_is_shared_by_them():
    found = prior_of_scan(4, [((0,), (0.1, -0.2)), ((1, 2), (0.4, 0.0))])
    assert found == Prior("scan", (0.1, 0.2, 0.2, 0.0), (-0.2, 0.0, 0.0, 0.0), 2.0)
