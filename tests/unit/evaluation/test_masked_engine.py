"""Masked models through the engine: what is kept between evaluations never shows in a score."""

import random

import pytest
import torch

from merit_opt.errors import TrialFailed, UserError
from merit_opt.evaluation.masking import Masking
from merit_opt.models import means
from merit_opt.models.means import means_of, module_sums
from merit_opt.recipe.constructors import attention, base, full
from merit_opt.recipe.intervention import Intervention

RESTORED = attention(9, {3: 1.0, 5: 1.0})
ROUNDING = 2e-5
EVERY_LAYER = dict.fromkeys(range(9), 1 / 9)
MASKS = [
    Intervention((4,), "attention", "zero"),
    Intervention((4,), "attention", "zero", 2),
    Intervention((3,), "attention", "inverse_width"),
    Intervention((3,), "attention", "inverse_width", 0),
    Intervention((3, 5), "attention", "revert"),
    Intervention((5,), "attention", "revert", 1),
    Intervention((2, 6), "mlp", "mean"),
    Intervention((8,), "mlp", "zero"),
    Intervention((8,), "attention", "mean", 3),
    Intervention((0,), "mlp", "inverse_width"),
]


@pytest.fixture
def over(half):
    """The samples that means are taken over."""
    return half


def test_every_mask_is_a_model_of_its_own(engine, few, over):
    asked = engine()
    found = [asked.evaluate(RESTORED, few), asked.evaluate(base(9), few)]
    found += [asked.evaluate(RESTORED, few, Masking(mask, over)) for mask in MASKS]
    of_base = [mask for mask in MASKS if mask.how != "revert"]
    found += [asked.evaluate(base(9), few, Masking(mask, over)) for mask in of_base]
    # All layers that the recipe merges, given back: the VLM.
    assert found[1].scores == found.pop(2 + MASKS.index(MASKS[4])).scores
    scores = [evaluation.scores for evaluation in found]
    assert all(one != other for i, one in enumerate(scores) for other in scores[:i])
    assert len({evaluation.recipe for evaluation in found}) == len(found)


@pytest.mark.parametrize(
    "kept",
    [
        {"levels_gib": 1.0, "prefixes": 0},
        {"levels_gib": 1.0, "prefixes": 1},
        {"levels_gib": 0.001, "prefixes": 3},
    ],
    ids=["base", "one recipe", "little"],
)
def test_what_is_kept_between_evaluations_changes_no_bit(engine, few, kept):
    subjects = [(r, None) for r in (base(9), RESTORED, full(9, 0.3))]
    subjects += [(RESTORED, Masking(mask, few)) for mask in MASKS]
    subjects += [
        (recipe, Masking(mask, few))
        for recipe in (base(9), full(9, 0.3))
        for mask in MASKS
        if mask.how != "revert"
    ]
    plain = engine()
    expected = {subject: plain.evaluate(subject[0], few, subject[1]) for subject in subjects}
    quick = engine(starts=EVERY_LAYER, **kept)
    random.Random(0).shuffle(subjects)
    for subject in subjects:
        assert quick.evaluate(subject[0], few, subject[1]) == expected[subject]


def test_a_mask_s_forward_begins_at_the_masked_layer(engine, few):
    asked = engine(starts=EVERY_LAYER, prefixes=1, levels_gib=1.0)
    for recipe in (base(9), RESTORED):
        asked.evaluate(recipe, few)
    for recipe in (base(9), RESTORED):
        for layer in (0, 4, 8):
            mask = Masking(Intervention((layer,), "mlp", "zero"), few)
            cost = asked.evaluate(recipe, few, mask).cost
            assert cost.layers_skipped == pytest.approx(layer / 9)


def test_a_masked_model_comes_from_the_cache_and_only_as_itself(engine, few, half, forwards):
    def measured(recipe, mask, over):
        before = len(forwards)
        found = engine("cache").evaluate(
            recipe, few, None if mask is None else Masking(mask, over)
        )
        return found, len(forwards) > before

    mean = Intervention((2,), "mlp", "mean")
    asked = [(RESTORED, None, few), (base(9), mean, few), (RESTORED, mean, few)]
    asked += [(RESTORED, mask, few) for mask in MASKS] + [(RESTORED, mean, half)]
    first = [measured(*one) for one in asked]
    again = [measured(*one) for one in asked]
    assert all(is_new for _, is_new in first)
    assert not any(is_new for _, is_new in again)
    assert [e for e, _ in first] == [e for e, _ in again]
    # Only a mean depends on what it is taken over.
    assert measured(RESTORED, MASKS[0], half)[1] is False


def test_a_screen_after_a_mask_is_of_the_unmasked_model(engine, few):
    asked = engine()
    expected = asked.screen(RESTORED, few, ("attention",)).slopes
    asked.evaluate(RESTORED, few, Masking(Intervention((4,), "attention", "zero"), few))
    assert asked.screen(RESTORED, few, ("attention",)).slopes == expected


def test_after_the_block_nothing_of_a_mask_is_left(engine, few, tiny_pair_live):
    before = {n: p.clone() for n, p in tiny_pair_live.model.named_parameters()}
    asked = engine()
    for mask in MASKS:
        asked.evaluate(RESTORED, few, Masking(mask, few))
    asked.__exit__(None, None, None)
    assert all(torch.equal(p, before[n]) for n, p in tiny_pair_live.model.named_parameters())
    hooks = [m._forward_hooks | m._forward_pre_hooks for m in tiny_pair_live.model.modules()]
    assert not any(hooks)


def test_what_cannot_be_masked_is_refused_and_the_engine_goes_on(engine, few):
    asked = engine()
    expected = asked.evaluate(RESTORED, few)
    wrong = [
        (Intervention((9,), "mlp", "zero"), r"layers run from 0 to 8; got \[9\]"),
        (Intervention((4,), "attention", "zero", 4), r"run from 0 to 3; got 4"),
        (Intervention((4,), "attention", "revert"), r"does not merge attention of layers \[4\]"),
    ]
    for mask, message in wrong:
        with pytest.raises(UserError, match=message):
            asked.evaluate(RESTORED, few, Masking(mask, few))
    assert engine().evaluate(RESTORED, few) == expected


@pytest.fixture
def memory_for(monkeypatch):
    """Let a pack of more than so many questions run out of memory half way up."""
    original = means.run_layers

    def limit(most):
        sizes = []

        def scarce(pair, pack, hidden, start, stop):
            sizes.append(len(pack.questions))
            if len(pack.questions) > most:
                original(pair, pack, hidden, start, stop // 2)
                raise torch.OutOfMemoryError("tried to allocate 2 GiB")
            return original(pair, pack, hidden, start, stop)

        monkeypatch.setattr(means, "run_layers", scarce)
        return sizes

    return limit


MEAN = Intervention((2, 6), "mlp", "mean")


def test_packs_that_do_not_fit_are_halved_for_means_as_for_scores(engine, few, memory_for, told):
    whole = engine().evaluate(RESTORED, few, Masking(MEAN, few))
    sizes = memory_for(3)
    asked = engine()
    found = asked.evaluate(RESTORED, few, Masking(MEAN, few))
    assert sizes == [5, 2, 3] * 3
    assert len(told.warnings) == 3
    assert "asking half of them at a time" in told.warnings[0]
    one, other = (e.measured("log_probability") for e in (found, whole))
    assert max(abs(one[i] - other[i]) for i in one) <= ROUNDING
    assert found.scores != asked.evaluate(RESTORED, few).scores
    # Halved for good, whatever the packs are put through the model for.
    sizes.clear()
    assert asked.evaluate(base(9), few, Masking(MEAN, few)).cost.halved == 3
    assert sizes == [2, 3] * 3
    assert len(told.warnings) == 3


def test_every_token_of_a_halved_pack_is_counted_once(engine, few, tiny_pair_live):
    packs = engine().live(RESTORED, few).packs
    one, *_ = packs
    first, second = one.halves()
    whole = module_sums(tiny_pair_live, one, 0)
    parts = [
        module_sums(tiny_pair_live, first, 0),
        module_sums(tiny_pair_live, second, second.prefix),
    ]
    assert sum(part.rows for part in parts) == whole.rows == one.rows
    halved, plain = means_of(parts), means_of([whole])
    assert halved.keys() == plain.keys()
    for place, mean in plain.items():
        assert torch.allclose(halved[place], mean, atol=1e-5)


@pytest.mark.parametrize("most", [0, 2])
def test_memory_that_does_not_suffice_for_means_fails_one_evaluation(
    engine, few, memory_for, most
):
    asked, masking = engine(), Masking(MEAN, few)
    memory_for(most)
    with pytest.raises(TrialFailed, match=r"^out of memory, with half .* too: tried to allocate"):
        asked.evaluate(RESTORED, few, masking)
    memory_for(9)
    assert asked.evaluate(RESTORED, few, masking).unscored == {}
