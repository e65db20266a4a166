import hashlib
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.merging.operands import Operands
from merit_opt.merging.task_vectors import largest, random_mask
from merit_opt.merging.tensors import merge_tensor
from merit_opt.recipe.rules import (
    DareLinear,
    DareTies,
    Lerp,
    TaskArithmetic,
    Ties,
    TiesByCount,
)

NAME = "layers.3.mlp.up_proj.weight"
STEPS = {torch.float32: 2.0**-23, torch.bfloat16: 2.0**-7, torch.float16: 2.0**-10}

coefficients = st.floats(0.0, 1.0, exclude_min=True)
inner = st.floats(0.01, 0.99)
scales = st.floats(0.1, 3.0)
densities = st.floats(0.0, 1.0, exclude_min=True)
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(list(STEPS))


def operands(seed, dtype=torch.float32, shape=(6, 10)):
    generator = torch.Generator().manual_seed(seed)
    vlm, backbone, base = (torch.randn(shape, generator=generator).to(dtype) for _ in range(3))
    return Operands(NAME, vlm, backbone, base)


def vectors(vlm, backbone, base=None):
    """Operands whose task vectors are these."""
    t_vlm, t_backbone = torch.tensor(vlm), torch.tensor(backbone)
    start = torch.zeros_like(t_vlm) if base is None else base
    return Operands(NAME, start + t_vlm, start + t_backbone, start)


def largest_of(given):
    return torch.stack([given.vlm, given.backbone, given.base]).double().abs().amax(0)


@given(coefficients, seeds, dtypes)
def test_task_arithmetic_at_scale_one_is_lerp_to_rounding(coefficient, seed, dtype):
    given = operands(seed, dtype)
    one = merge_tensor(TaskArithmetic(coefficient, 1.0), given).double()
    other = merge_tensor(Lerp(coefficient), given).double()
    slack = 4 * STEPS[torch.float32] * largest_of(given) + STEPS[dtype] * other.abs()
    assert ((one - other).abs() <= slack + 1e-7).all()


@given(coefficients, scales, seeds, dtypes)
def test_task_arithmetic_is_its_formula_to_rounding(coefficient, scale, seed, dtype):
    given = operands(seed, dtype)
    vlm, backbone, base = (t.double() for t in (given.vlm, given.backbone, given.base))
    exact = base + scale * ((1.0 - coefficient) * (vlm - base) + coefficient * (backbone - base))
    merged = merge_tensor(TaskArithmetic(coefficient, scale), given).double()
    slack = 16 * STEPS[torch.float32] * largest_of(given) + STEPS[dtype] * exact.abs()
    assert ((merged - exact).abs() <= slack + 1e-7).all()


@given(coefficients, scales, seeds, dtypes, seeds)
def test_dare_that_drops_nothing_is_the_rule_it_stands_before(
    coefficient, scale, seed, dtype, mask_seed
):
    given = operands(seed, dtype)
    for dare, plain in (
        (DareLinear(coefficient, scale, 1.0, mask_seed), TaskArithmetic(coefficient, scale)),
        (DareTies(coefficient, scale, 1.0, mask_seed), Ties(coefficient, scale, 1.0)),
    ):
        assert torch.equal(merge_tensor(dare, given), merge_tensor(plain, given))


@given(inner, scales, seeds)
def test_ties_of_vectors_that_agree_everywhere_is_task_arithmetic(coefficient, scale, seed):
    given = operands(seed)
    shared = (given.vlm - given.base).sign()
    agreeing = replace(given, backbone=given.base + shared * (given.backbone - given.base).abs())
    ties = merge_tensor(Ties(coefficient, scale, 1.0), agreeing)
    plain = merge_tensor(TaskArithmetic(coefficient, scale), agreeing)
    assert torch.allclose(ties, plain, rtol=0.0, atol=1e-5)
    # By count they are divided by two, so that twice the scale is the same.
    by_count = merge_tensor(TiesByCount(coefficient, 2 * scale, 1.0), agreeing)
    assert torch.allclose(by_count, plain, rtol=0.0, atol=1e-5)


# Entry by entry: both agree, VLM larger, backbone larger, one zero, both zero, equal and opposite.
BY_HAND = vectors([1.0, 4.0, -1.0, 0.0, 0.0, 2.0], [2.0, -1.0, 4.0, -3.0, 0.0, -2.0])


def test_ties_elects_by_weight_and_averages_by_weight():
    assert merge_tensor(Ties(0.5, 1.0, 1.0), BY_HAND).tolist() == [1.5, 4, 4, -3, 0, 2]
    assert merge_tensor(Ties(0.75, 2.0, 1.0), BY_HAND).tolist() == [3.5, 8, 8, -6, 0, -4]
    outvoted = merge_tensor(Ties(0.875, 1.0, 1.0), BY_HAND)
    assert outvoted.tolist() == [1.875, -1, 4, -3, 0, -2]


def test_ties_by_count_elects_without_weights_and_divides_by_how_many_agree():
    assert merge_tensor(TiesByCount(0.5, 1.0, 1.0), BY_HAND).tolist() == [0.75, 2, 2, -1.5, 0, 1]
    heavier = merge_tensor(TiesByCount(0.875, 1.0, 1.0), BY_HAND)
    assert heavier.tolist() == [0.9375, 0.5, 3.5, -2.625, 0, 0.25]


@given(scales, densities, seeds)
def test_a_vlm_of_weight_zero_has_no_vote(scale, density, seed):
    given = operands(seed)
    for rule in (Ties(1.0, scale, density), TiesByCount(1.0, scale, density)):
        other = replace(given, vlm=-3.0 * given.vlm)
        assert torch.equal(merge_tensor(rule, given), merge_tensor(rule, other))
        kept = largest(given.backbone - given.base, density)
        alone = torch.where(kept, scale * (given.backbone - given.base), 0.0) + given.base
        assert torch.allclose(merge_tensor(rule, given), alone, rtol=0.0, atol=1e-5)


@given(densities, seeds, dtypes, st.sampled_from([(1,), (7,), (6, 10), (3, 4, 5)]))
def test_trimming_keeps_so_many_entries_and_no_dropped_one_is_larger(density, seed, dtype, shape):
    vector = operands(seed, dtype, shape).vlm
    kept = largest(vector, density)
    assert kept.shape == shape
    assert kept.sum() == max(1, int(density * vector.numel()))
    if not kept.all():
        assert vector[~kept].abs().max() <= vector[kept].abs().min()


@given(densities)
def test_of_equal_entries_trimming_keeps_the_first(density):
    kept = largest(torch.full((5, 8), -0.25), density).flatten().tolist()
    count = max(1, int(density * 40))
    assert kept == [True] * count + [False] * (40 - count)


def test_of_equal_entries_trimming_keeps_as_many_as_larger_ones_leave_room_for():
    kept = largest(torch.tensor([1.0, -3.0, -1.0, 1.0, 2.0, 1.0]), 0.7)
    assert kept.tolist() == [True, True, True, False, True, False]


def test_trimming_is_by_tensor_and_not_by_row():
    vector = torch.tensor([[1.0, 2.0], [30.0, -40.0]])
    assert largest(vector, 0.5).tolist() == [[False, False], [True, True]]


def test_masks_differ_by_seed_tensor_and_model():
    ones = torch.ones(40, 50)
    given = Operands(NAME, ones, ones, torch.zeros(40, 50))
    # Kept entries are 2, so that half of each model's is 1 where its mask is True.
    both = merge_tensor(DareLinear(0.5, 1.0, 0.5, 7), given)
    backbone = merge_tensor(DareLinear(1.0, 1.0, 0.5, 7), given) / 2
    other_tensor = replace(given, name="layers.4.mlp.up_proj.weight")
    masks = [
        backbone,
        both - backbone,
        merge_tensor(DareLinear(1.0, 1.0, 0.5, 8), given) / 2,
        merge_tensor(DareLinear(1.0, 1.0, 0.5, 7), other_tensor) / 2,
    ]
    for mask in masks:
        assert set(mask.flatten().tolist()) == {0.0, 1.0}
    for one, other in combinations(masks, 2):
        assert abs(float((one == other).float().mean()) - 0.5) < 0.06


def test_the_two_rules_of_dare_have_the_same_masks():
    given = operands(2)
    linear, ties = (kind(1.0, 1.0, 0.5, 7) for kind in (DareLinear, DareTies))
    dropped = [merge_tensor(rule, given) == given.base for rule in (linear, ties)]
    assert torch.equal(*dropped)
    assert 10 < dropped[0].sum() < 50


def test_masks_are_these_for_ever():
    mask = random_mask(torch.Size((64, 64)), 0.5, f"0/vlm/{NAME}")
    digest = hashlib.sha256(bytes(mask.flatten().tolist())).hexdigest()[:12]
    assert digest == "d4908279761e"


def test_masks_do_not_depend_on_what_torch_makes_by_default():
    plain = random_mask(torch.Size((64, 64)), 0.5, "0/vlm/x")
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        with torch.device("meta"):
            found = random_mask(torch.Size((64, 64)), 0.5, "0/vlm/x")
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(found, plain)


def test_an_entry_is_kept_above_its_draw_and_not_at_it():
    draw = 2_522_050 / 2**24
    masks = [random_mask(torch.Size((1,)), d, "0/vlm/x") for d in (draw, draw + 2.0**-24)]
    assert masks == [False, True]


def test_masks_do_not_depend_on_values_dtype_or_earlier_merges():
    rule = DareLinear(1.0, 1.0, 0.3, 5)
    ones, base = torch.ones(30, 30), torch.zeros(30, 30)
    first = merge_tensor(rule, Operands(NAME, ones, ones, base)) != 0.0
    merge_tensor(rule, Operands("layers.0.other", ones, ones, base))
    half = [tensor.bfloat16() for tensor in (ones, -5.0 * ones, base)]
    assert torch.equal(merge_tensor(rule, Operands(NAME, *half)) != 0.0, first)


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_the_expectation_of_dare_is_the_whole_task_vector(density):
    given = operands(1, shape=(50,))
    runs = 2000
    total = torch.zeros(50)
    for seed in range(runs):
        total += merge_tensor(DareLinear(0.4, 1.3, density, seed), given) - given.base
    whole = merge_tensor(TaskArithmetic(0.4, 1.3), given) - given.base
    # Of one entry t, kept with probability p and divided by it: variance t^2 (1 - p) / p.
    parts = torch.stack([0.6 * (given.vlm - given.base), 0.4 * (given.backbone - given.base)])
    deviation = 1.3 * (parts.square().sum(0) * (1 - density) / density / runs).sqrt()
    assert ((total / runs - whole).abs() / deviation).max() < 4.0


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_dare_keeps_entries_at_the_rate_of_its_density(density):
    entries = 200_000
    mask = random_mask(torch.Size((entries,)), density, "0/vlm/layers.0.x")
    deviation = (density * (1 - density) / entries) ** 0.5
    assert abs(float(mask.float().mean()) - density) < 4 * deviation


def test_dare_ties_lets_only_kept_entries_vote():
    given = vectors([1.0] * 400, [-3.0] * 400)
    kept = [random_mask(torch.Size((400,)), 0.5, f"9/{m}/{NAME}") for m in ("vlm", "backbone")]
    merged = merge_tensor(DareTies(0.5, 1.0, 0.5, 9), given)
    expected = torch.where(kept[1], -6.0, torch.where(kept[0], 2.0, 0.0))
    assert torch.equal(merged, expected)


def test_half_precision_is_computed_in_float32_and_rounded_once():
    for dtype in (torch.bfloat16, torch.float16):
        given = operands(3, dtype)
        wide = Operands(NAME, given.vlm.float(), given.backbone.float(), given.base.float())
        for rule in (
            TaskArithmetic(0.3, 0.7),
            Ties(0.3, 1.2, 0.4),
            TiesByCount(1 / 9, 1.8, 0.2),
            DareLinear(0.3, 1.0, 0.5, 1),
            DareTies(0.3, 1.0, 0.5, 1),
        ):
            assert torch.equal(merge_tensor(rule, given), merge_tensor(rule, wide).to(dtype))


def test_below_density_one_even_a_small_coefficient_is_not_the_vlm():
    given = operands(4)
    near = {
        rule: merge_tensor(rule, given) for rule in (Ties(1e-6, 1.0, 1.0), Ties(1e-6, 1.0, 0.5))
    }
    apart = [float((merged - given.vlm).abs().max()) for merged in near.values()]
    assert apart[1] > 0.1


def test_the_weights_of_bring_reason_to_vision_are_one_point_six_and_zero_point_two():
    given = vectors([1.0, 0.0, 2.0], [0.0, 1.0, 1.0])
    merged = merge_tensor(TiesByCount(1 / 9, 1.8, 1.0), given)
    assert torch.allclose(merged, torch.tensor([1.6, 0.2, (1.6 * 2.0 + 0.2) / 2]))
