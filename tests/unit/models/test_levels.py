from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.errors import UserError
from merit_opt.models.forward import embed, finish
from merit_opt.models.levels import HiddenLevels, LevelBudget, choose_levels
from merit_opt.recipe.constructors import attention, base

PLENTY = LevelBudget(device=2**30, host=0, prefixes=0)
starts = st.dictionaries(st.integers(0, 7), st.floats(0.0, 1.0), max_size=8)


def expected_layers(shares, levels):
    return sum(s * (f - max(k for k in (0, *levels) if k <= f)) for f, s in shares.items())


@given(starts, st.integers(0, 8))
def test_no_other_choice_of_levels_leaves_fewer_layers(shares, most):
    chosen = choose_levels(shares, most)
    assert list(chosen) == sorted(set(chosen))
    assert len(chosen) <= most
    assert 0 not in chosen
    others = (c for n in range(most + 1) for c in combinations(range(1, 8), n))
    least = min(expected_layers(shares, c) for c in others)
    assert expected_layers(shares, chosen) == pytest.approx(least, abs=1e-12)


def test_a_deep_model_s_levels_are_chosen_at_once():
    shares = {layer: 0.5 ** (layer + 1) for layer in range(80)}
    chosen = choose_levels(shares, 15)
    assert chosen == tuple(range(1, 16))


@pytest.mark.parametrize("field", ["device", "host", "prefixes"])
def test_a_negative_budget_is_refused(field):
    with pytest.raises(UserError, match="0 or more"):
        LevelBudget(**{"device": 0, "host": 0, "prefixes": 0} | {field: -1})


@pytest.fixture
def through(tiny_pair_live):
    """What the last layer makes of a pack under a recipe, and where its forward began."""

    @torch.no_grad()
    def run(levels, pack, recipe):
        with tiny_pair_live.merged(recipe):
            start, hidden = levels.begin(tiny_pair_live, pack, recipe)
            return start, levels.finish(tiny_pair_live, pack, recipe, start, hidden)

    return run


@torch.no_grad()
def fresh(pair, pack, recipe):
    with pair.merged(recipe):
        return finish(pair, pack, embed(pair, pack), 0)


def test_starts_at_the_last_kept_level_below_the_recipe(through, small_packs, tiny_pair_live):
    levels = HiddenLevels((2, 5), PLENTY)
    pack = small_packs[0]
    begun = {}
    assert through(levels, pack, base(9))[0] == 0
    for first in range(9):
        recipe = attention(9, {first: 0.6})
        begun[first], hidden = through(levels, pack, recipe)
        assert torch.equal(hidden, fresh(tiny_pair_live, pack, recipe))
    assert begun == {0: 0, 1: 0, 2: 2, 3: 2, 4: 2, 5: 5, 6: 5, 7: 5, 8: 5}


def test_levels_are_kept_on_the_way_by_any_recipe_above_them(through, small_packs):
    levels = HiddenLevels((2, 5), PLENTY)
    assert through(levels, small_packs[0], attention(9, {4: 0.5}))[0] == 0
    assert through(levels, small_packs[0], attention(9, {7: 0.5}))[0] == 2
    assert through(levels, small_packs[0], attention(9, {7: 0.6}))[0] == 5
    assert through(levels, small_packs[1], attention(9, {7: 0.5}))[0] == 0


def test_a_spent_budget_keeps_nothing_more(through, small_packs):
    pack = small_packs[0]
    one = pack.rows * 96 * 4
    levels = HiddenLevels((2, 5), LevelBudget(device=one, host=0, prefixes=0))
    for _ in range(2):
        through(levels, pack, base(9))
    assert through(levels, pack, attention(9, {7: 0.5}))[0] == 2
    roomier = HiddenLevels((2, 5), LevelBudget(device=one, host=one, prefixes=0))
    through(roomier, pack, base(9))
    assert through(roomier, pack, attention(9, {7: 0.5}))[0] == 5


def test_merged_beginnings_are_kept_only_where_asked_and_the_oldest_go(
    through, small_packs, tiny_pair_live
):
    pack = small_packs[0]
    parents = [attention(9, {1: c, 8: 0.5}) for c in (0.2, 0.4)]
    children = [attention(9, {1: c, 6: 0.9}) for c in (0.2, 0.4)]
    for prefixes, begun in ((0, [0, 0]), (1, [0, 5]), (2, [5, 5])):
        levels = HiddenLevels((5,), LevelBudget(device=2**30, host=0, prefixes=prefixes))
        for recipe in parents:
            through(levels, pack, recipe)
        # The younger child first: its parent is the one that a single place holds.
        found = {c: through(levels, pack, c) for c in reversed(children)}
        assert [found[c][0] for c in children] == begun
        for child, (_, hidden) in found.items():
            assert torch.equal(hidden, fresh(tiny_pair_live, pack, child))


def test_a_kept_recipe_keeps_all_its_levels_of_all_packs(through, small_packs):
    levels = HiddenLevels((3, 5, 7), LevelBudget(device=2**30, host=0, prefixes=1))
    for pack in small_packs[:3]:
        through(levels, pack, attention(9, {1: 0.2, 8: 0.5}))
    for pack in small_packs[:3]:
        assert through(levels, pack, attention(9, {1: 0.2, 8: 0.7}))[0] == 7


def test_merged_recipes_stay_within_the_budget_too(through, small_packs):
    pack = small_packs[0]
    one = pack.rows * 96 * 4
    levels = HiddenLevels((5,), LevelBudget(device=one, host=0, prefixes=1))
    through(levels, pack, attention(9, {1: 0.2, 8: 0.5}))
    assert through(levels, pack, attention(9, {1: 0.2, 8: 0.7}))[0] == 5
    through(levels, pack, attention(9, {1: 0.3, 8: 0.5}))
    assert through(levels, pack, attention(9, {1: 0.3, 8: 0.7}))[0] == 5
    through(levels, pack, base(9))
    assert through(levels, pack, attention(9, {8: 0.5}))[0] == 0
    levels.forget(pack)
    through(levels, pack, base(9))
    assert through(levels, pack, attention(9, {8: 0.5}))[0] == 5
