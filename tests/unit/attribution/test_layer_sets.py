import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.attribution.layer_sets import (
    contrasts,
    draw_sets,
    permutation_p,
    require_draws,
)
from merit_opt.errors import UserError


@st.composite
def worlds(draw):
    n_layers = draw(st.integers(2, 28))
    selected = draw(st.sets(st.integers(0, n_layers - 1), min_size=1, max_size=n_layers - 1))
    return n_layers, tuple(sorted(selected)), draw(st.integers(20, 40)), draw(st.integers(0, 99))


@given(worlds())
def test_sets_are_distinct_of_one_size_and_never_the_selected_one(world):
    n_layers, selected, count, seed = world
    found = draw_sets(n_layers, selected, count, seed)
    assert found.selected == selected
    pools = {"random": n_layers, "unselected": n_layers - len(selected)}
    for kind, pool in pools.items():
        drawn = found.by_kind()[kind]
        assert len(set(drawn)) == len(drawn)
        assert selected not in drawn
        for one in drawn:
            assert one == tuple(sorted(set(one)))
            assert len(one) == len(selected)
            assert set(one) <= set(range(n_layers))
            assert kind == "random" or not set(one) & set(selected)
        possible = math.comb(pool, len(selected)) - (kind == "random")
        assert len(drawn) == min(count, possible)


@given(worlds())
def test_a_seed_draws_the_same_sets_whatever_the_order_of_the_selected(world):
    n_layers, selected, count, seed = world
    one, other = (draw_sets(n_layers, s, count, seed) for s in (selected, selected[::-1]))
    assert one == other


def test_another_seed_draws_other_sets():
    one, other = (draw_sets(28, (3, 5, 9), 20, seed) for seed in (0, 1))
    assert one.random != other.random


@pytest.mark.parametrize(
    ("n_layers", "selected", "count"), [(9, (), 20), (3, (0, 1, 2), 20), (9, (1,), 0)]
)
def test_there_may_be_nothing_to_compare_with(n_layers, selected, count):
    assert draw_sets(n_layers, selected, count, 0) is None


@pytest.mark.parametrize("count", [1, 19, -1])
def test_too_few_draws_are_refused(count):
    with pytest.raises(UserError, match=f"0 or at least 20, got {count}"):
        require_draws(count)


@given(st.lists(st.floats(-1, 1), min_size=1), st.floats(-1, 1))
def test_a_p_value_is_a_rank_among_all_sets_and_never_zero(others, selected):
    p = permutation_p(selected, others)
    rank = sorted([selected, *others], reverse=True)
    assert p == (len(rank) - rank[::-1].index(selected)) / len(rank)
    assert permutation_p(2.0, others) == 1 / (1 + len(others))
    assert permutation_p(-2.0, others) == 1.0


def rows(drops, **facts):
    """Of the table of sets: kind -> (TR drop, TP drop) of each draw."""
    return [
        {"variant": "zero", "model": "merged", "part": "attention", "unit": "accuracy"}
        | {"set": kind, "draw": draw, "role": role, "difference": -drop}
        | facts
        for kind, pairs in drops.items()
        for draw, pair in enumerate(pairs)
        for role, drop in zip(("TR", "TP"), pair, strict=True)
    ]


def test_a_contrast_says_how_selected_layers_stand_out():
    others = [(0.1, 0.1)] * 19 + [(0.6, 0.6)]
    (found,) = contrasts(
        rows({"selected": [(0.5, 0.1)], "random": others, "unselected": others[:2]})
    )
    assert found["selected"] == pytest.approx({"TR": 0.5, "TP": 0.1, "TR - TP": 0.4, "ratio": 5.0})
    assert found["random"]["sets"] == 20
    assert found["random"]["mean"] == pytest.approx(
        {"TR": 0.125, "TP": 0.125, "TR - TP": 0.0, "ratio": 1.0}
    )
    assert found["random"]["p"] == {"TR": 2 / 21, "TP": 1.0, "TR - TP": 1 / 21}
    assert found["unselected"]["p"] == {"TR": 1 / 3, "TP": 1.0, "TR - TP": 1 / 3}


def test_a_ratio_to_no_drop_is_none_and_missing_sets_are_told_as_missing():
    (found,) = contrasts(rows({"selected": [(0.5, -0.1)], "random": [(0.1, 0.1)] * 20}))
    assert found["selected"]["ratio"] is None
    assert found["unselected"] == {"sets": 0, "failed": 0, "mean": None, "p": None}
    assert contrasts(rows({"random": [(0.1, 0.1)] * 20})) == []


@given(st.integers(0, 20), st.integers(0, 20))
def test_sets_that_failed_never_make_the_selected_one_stand_out(measured, failed):
    drops = {"selected": [(0.5, 0.1)], "random": [(0.1, 0.1)] * (1 + measured)}
    lost = rows({"random": [(0.0, 0.0)] * failed})[::2]
    (found,) = contrasts(rows(drops), lost)
    assert (found["random"]["sets"], found["random"]["failed"]) == (1 + measured, failed)
    as_great = rows({**drops, "random": drops["random"] + [(0.9, 0.1)] * failed})
    assert found["random"]["p"] == contrasts(as_great)[0]["random"]["p"]


def test_failed_sets_count_where_they_belong():
    drops = {"selected": [(0.5, 0.1)], "random": [(0.1, 0.1)], "unselected": [(0.1, 0.1)]}
    both = [*rows(drops), *rows(drops, variant="mean")]
    zero, mean = contrasts(both, rows({"unselected": [(0.0, 0.0)]}, variant="mean")[::2])
    assert [one[kind]["failed"] for one in (zero, mean) for kind in ("random", "unselected")] == [
        0, 0, 0, 1,
    ]  # fmt: skip


def test_variants_models_parts_and_units_are_told_apart():
    drops = {"selected": [(0.5, 0.1)], "random": [(0.1, 0.1)]}
    many = [
        *rows(drops),
        *rows(drops, variant="mean"),
        *rows(drops, model="base"),
        *rows(drops, part="mlp"),
        *rows(drops, unit="probability"),
    ]
    assert len(contrasts(many)) == 5
