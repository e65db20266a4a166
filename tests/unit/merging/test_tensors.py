import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.errors import UserError
from merit_opt.merging.operands import Operands
from merit_opt.merging.tensors import merge_tensor
from merit_opt.recipe.rules import DareTies, Lerp, Slerp, Ties

# One unit in the last place of the larger input: twice the rounding of the result.
ROUNDING = {torch.float32: 2.0**-22, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-10}

coefficients = st.floats(0.0, 1.0, exclude_min=True)
dtypes = st.sampled_from(list(ROUNDING))
vectors = st.lists(
    st.tuples(st.floats(-8.0, 8.0, width=16), st.floats(-8.0, 8.0, width=16)),
    min_size=1,
    max_size=8,
)


def merge(rule, vlm, backbone):
    return merge_tensor(rule, Operands("layers.0.x", vlm, backbone, None))


def pair(rows, dtype):
    vlm, backbone = torch.tensor(rows, dtype=torch.float64).to(dtype).T
    return vlm.contiguous(), backbone.contiguous()


@given(vectors, coefficients, dtypes)
def test_lerp_is_its_formula_to_rounding(rows, coefficient, dtype):
    vlm, backbone = pair(rows, dtype)
    merged = merge(Lerp(coefficient), vlm, backbone).double()
    exact = (1.0 - coefficient) * vlm.double() + coefficient * backbone.double()
    largest = torch.maximum(vlm.double().abs(), backbone.double().abs())
    assert ((merged - exact).abs() <= ROUNDING[dtype] * largest + 1e-7).all()


@given(vectors, coefficients, dtypes)
def test_lerp_lies_between_its_ends_to_rounding(rows, coefficient, dtype):
    vlm, backbone = pair(rows, dtype)
    merged = merge(Lerp(coefficient), vlm, backbone).double()
    low = torch.minimum(vlm, backbone).double()
    high = torch.maximum(vlm, backbone).double()
    slack = ROUNDING[dtype] * torch.maximum(low.abs(), high.abs())
    assert (merged >= low - slack).all()
    assert (merged <= high + slack).all()


@given(vectors, st.floats(2.0**-20, 1.0 - 2.0**-20), dtypes)
def test_swapping_models_and_coefficient_is_the_same_merge_to_rounding(rows, coefficient, dtype):
    vlm, backbone = pair(rows, dtype)
    one = merge(Lerp(coefficient), vlm, backbone).double()
    other = merge(Lerp(1.0 - coefficient), backbone, vlm).double()
    largest = torch.maximum(vlm.double().abs(), backbone.double().abs())
    assert ((one - other).abs() <= 2 * ROUNDING[dtype] * largest + 1e-7).all()


@given(vectors, st.integers(-12, 12), st.sampled_from([0.25, 0.5, 0.75]))
def test_scaling_both_models_by_a_power_of_two_scales_the_merge_exactly(rows, power, coefficient):
    vlm, backbone = pair(rows, torch.float32)
    merged = merge(Lerp(coefficient), vlm, backbone)
    scaled = merge(Lerp(coefficient), vlm * 2.0**power, backbone * 2.0**power)
    assert torch.equal(scaled, merged * 2.0**power)


@pytest.mark.parametrize("dtype", ROUNDING)
def test_exact_values_are_exact(dtype):
    vlm = torch.tensor([0.0, 1.0, -2.0, 4.0], dtype=dtype)
    backbone = torch.tensor([1.0, 1.0, 2.0, -4.0], dtype=dtype)
    merged = {c: merge(Lerp(c), vlm, backbone).tolist() for c in (0.25, 0.5, 0.75)}
    assert merged == {
        0.25: [0.25, 1.0, -1.0, 2.0],
        0.5: [0.5, 1.0, 0.0, 0.0],
        0.75: [0.75, 1.0, 1.0, -2.0],
    }


def turned(degrees, length, dimensions=2):
    vector = torch.zeros(dimensions)
    vector[0], vector[1] = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return length * vector


@given(st.floats(3.0, 176.0), st.floats(0.01, 0.99), st.floats(0.5, 20.0))
def test_slerp_turns_by_a_share_of_the_angle_and_keeps_the_length(angle, coefficient, length):
    merged = merge(Slerp(coefficient), turned(0.0, length), turned(angle, length))
    expected = turned(coefficient * angle, length)
    # Near a line the sine of the angle is small, and rounding is magnified by its inverse.
    slack = 1e-6 * length / math.sin(math.radians(angle)) ** 2
    assert torch.allclose(merged, expected, rtol=0.0, atol=slack)


@given(st.floats(0.01, 0.99), st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
def test_slerp_of_nearly_one_direction_either_way_is_lerp(coefficient, dtype):
    vlm = turned(0.0, 1.0)
    for angle in (0.0, 1.5, 179.0, 180.0):
        backbone = turned(angle, 3.0)
        exact = merge(Lerp(coefficient), vlm.to(dtype), backbone.to(dtype))
        assert torch.equal(merge(Slerp(coefficient), vlm.to(dtype), backbone.to(dtype)), exact)
    apart = [merge(kind(coefficient), vlm, turned(2.0, 3.0)) for kind in (Slerp, Lerp)]
    assert not torch.equal(*apart)


@pytest.mark.parametrize("dtype", ROUNDING)
def test_slerp_with_a_tensor_of_zeros_is_lerp(dtype):
    zeros, others = torch.zeros(3, dtype=dtype), torch.tensor([4.0, -8.0, 0.0], dtype=dtype)
    assert merge(Slerp(0.25), zeros, others).tolist() == [1.0, -2.0, 0.0]
    assert merge(Slerp(0.25), others, zeros).tolist() == [3.0, -6.0, 0.0]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(("length", "rule"), [(0.9e-8, Lerp), (1.1e-8, Slerp)])
def test_slerp_takes_a_length_up_to_a_hundred_millionth_for_none(which, length, rule):
    lengths = [1.0, 1.0]
    lengths[which] = length
    vlm, backbone = turned(0.0, lengths[0]), turned(90.0, lengths[1])
    half = math.sqrt(0.5) if rule is Slerp else 0.5
    assert torch.allclose(merge(Slerp(0.5), vlm, backbone), half * (vlm + backbone), atol=0.0)


def test_slerp_takes_a_tensor_as_one_vector():
    generator = torch.Generator().manual_seed(0)
    vlm, backbone = torch.randn(2, 6, 4, generator=generator)
    whole = merge(Slerp(0.3), vlm, backbone)
    assert torch.equal(merge(Slerp(0.3), vlm.flatten(), backbone.flatten()), whole.flatten())
    row = merge(Slerp(0.3), vlm[:1], backbone[:1])
    assert not torch.allclose(row, whole[:1])


def test_slerp_of_half_precision_is_that_of_float32_rounded_once():
    generator = torch.Generator().manual_seed(0)
    vlm, backbone = (300.0 * torch.randn(2, 40, 40, generator=generator)).half()
    assert vlm.double().norm() ** 2 > torch.finfo(torch.float16).max
    merged = merge(Slerp(0.3), vlm, backbone)
    assert torch.equal(merged, merge(Slerp(0.3), vlm.float(), backbone.float()).half())


def test_slerp_does_not_depend_on_threads():
    generator = torch.Generator().manual_seed(0)
    vlm, backbone = (torch.randn(700, 700, generator=generator) for _ in range(2))
    operands = Operands("q", vlm, vlm + 0.5 * backbone, None)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(merge_tensor(Slerp(0.3), operands))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("which", ["vlm", "backbone", "base"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("rule", [Ties(0.5, 1.0, 0.5), DareTies(0.5, 1.0, 0.1, 0)])
def test_task_vectors_never_hide_what_is_not_finite(which, value, rule):
    generator = torch.Generator().manual_seed(0)
    tensors = {n: torch.randn(4, 4, generator=generator) for n in ("vlm", "backbone", "base")}
    tensors[which][1, 2] = value
    with pytest.raises(
        UserError, match=rf"q of the {which if which != 'vlm' else 'VLM'} holds NaN"
    ):
        merge_tensor(rule, Operands("q", **tensors))


def test_damaged_tensors_are_all_named_and_the_remedy_with_them():
    sound, damaged = torch.ones(2), torch.tensor([1.0, float("nan")])
    with pytest.raises(UserError) as caught:
        merge_tensor(Ties(0.5, 1.0, 0.5), Operands("q", damaged, sound, damaged))
    assert str(caught.value) == (
        "q of the VLM and the base holds NaN or infinities, of which no task vector can be made; "
        "give a sound checkpoint"
    )
