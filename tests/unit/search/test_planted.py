"""The planted testbed of experiment 0006, on the packaged VLM with signs turned in two layers."""

import sys

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from merit_opt.evaluation.evaluation import role_means
from merit_opt.models.tiny import tiny_folder
from merit_opt.models.tiny.decoys import turn_signs
from merit_opt.recipe.constructors import attention, base, uniform

USEFUL, DECOYS = (3, 5), (4, 8)
SOME = (attention(9, {3: 0.7, 8: 0.4}), uniform(9, 0.5), attention(9, {0: 0.2, 3: 0.7, 8: 1.0}))
ROUNDING = 2e-5


@pytest.fixture(scope="module")
def modules(repo):
    """The experiment's scripts, which import each other by name."""
    folder = str(repo / "experiments" / "0006-search-efficiency")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        import draws
        import planted

        yield draws, planted
    for name in ("draws", "planted", "batched", "testbed"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def testbed(modules, tmp_path_factory):
    draws, planted = modules
    folder, source = tmp_path_factory.mktemp("decoys"), tiny_folder("vlm_planted_3_5")
    model = AutoModelForImageTextToText.from_pretrained(source, dtype=torch.bfloat16)
    turn_signs(model.model.language_model, DECOYS, seed=0)
    model.save_pretrained(folder / "vlm")
    AutoProcessor.from_pretrained(source).save_pretrained(folder / "vlm")
    draw = draws.Draw(seed=0, layers=USEFUL, decoys=DECOYS)
    size = planted.Size(search=20, held_out=30)
    return planted.Planted(draw, folder / "vlm", folder, size)


def test_its_probabilities_are_the_engine_s(testbed):
    assert 0.0 < testbed.engine_difference(SOME, testbed.suite) <= ROUNDING


def test_what_was_measured_before_changes_no_bit(testbed, modules):
    _, planted = modules
    packs, _ = testbed._batched(testbed.suite)
    warm, cold = (planted.Batched(testbed.live, packs, kept) for kept in (40, 0))
    chain = (base(9), *SOME, attention(9, {3: 0.7, 8: 0.9}), SOME[0])
    for recipe in chain:
        fresh = planted.Batched(testbed.live, packs, 0)
        answers = [b.answers(recipe) for b in (warm, cold, fresh)]
        assert torch.equal(answers[0], answers[1])
        assert torch.equal(answers[0], answers[2])


def test_measuring_leaves_the_vlm_its_own_bits(testbed):
    before = [p.clone() for p in testbed.live.model.parameters()]
    testbed._batched(testbed.suite)[1].answers(SOME[2])
    assert all(map(torch.equal, before, testbed.live.model.parameters()))


def test_scores_stand_in_the_suite_s_order_and_are_found_again(testbed, modules):
    _, planted = modules
    found = testbed.measure(SOME[0])
    assert found.ids == tuple(s.id for s in testbed.suite.samples)
    assert (found.suite, found.recipe) == (testbed.suite.digest, SOME[0].digest)
    again = planted.Planted(testbed.draw, testbed.source.vlm, testbed._folder, testbed._size)
    again._batched = None
    assert again.measure(SOME[0]) == found


def test_held_out_questions_are_about_other_clips(testbed):
    searched, held_out = testbed.suite.samples, testbed.held_out_suite.samples
    assert not {s.media[0].digest for s in searched} & {s.media[0].digest for s in held_out}


def test_decoys_fool_the_distance_and_not_the_scan(testbed):
    distance, scan = testbed.distance, testbed.prior("scan").gains(2.0)
    assert min(distance[k] for k in DECOYS) > max(distance[k] for k in range(9) if k not in DECOYS)
    assert set(sorted(range(9), key=lambda layer: -scan[layer])[:2]) == set(USEFUL)
    assert max(map(abs, (scan[k] for k in DECOYS))) < min(scan[k] for k in USEFUL) / 4


def test_decoys_answer_as_well_as_ever_and_hurt_half_way(testbed, tiny_pair_live):
    restored = testbed.restored(USEFUL, 1.0)
    assert testbed.oracle == restored
    with_decoys = attention(9, {**restored.coefficients(), **dict.fromkeys(DECOYS, 0.5)})
    values = [testbed.gain(r, testbed.suite, "probability") for r in (restored, with_decoys)]
    assert values[0] > values[1] + 0.01


def test_the_useful_layers_help_alone_and_are_needed(testbed):
    assert testbed.useful == testbed.helpful == {*USEFUL}
    assert testbed.without(3) == testbed.restored((5,), 1.0)
    assert testbed.held_out_gain(testbed.oracle) > testbed.held_out_gain(testbed.best_uniform)
    tr, tp = testbed.held_out(testbed.oracle)
    means = role_means(
        testbed.answers(testbed.oracle, testbed.held_out_suite),
        testbed.held_out_suite,
        "accuracy",
    )
    assert (tr, tp) == (means["TR"], means["TP"])


def test_the_gradient_is_the_product_s_screen_near_the_finite_difference(testbed):
    gradient, difference = testbed.prior("gradient"), testbed.finite_difference_prior("margin")
    for role in ("reasoning", "perception"):
        slopes, steps = getattr(gradient, role), getattr(difference, role)
        # Layer 0 carries perception: its answers bend within the step of the difference.
        assert slopes[1:] == pytest.approx(steps[1:], rel=0.05, abs=0.05)


def test_a_prior_is_billed_once(testbed, modules):
    assert testbed.prior("scan").bill == 9.0
    gradient = testbed.prior("gradient")
    assert gradient.bill > 2.0
    again = modules[1].Planted(testbed.draw, testbed.source.vlm, testbed._folder, testbed._size)
    again._engine = None
    assert again.prior("gradient") == gradient
