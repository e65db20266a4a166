import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.merging.tensors import merge_tensor
from merit_opt.recipe.rules import Lerp

# One unit in the last place of the larger input: twice the rounding of the result.
ROUNDING = {torch.float32: 2.0**-22, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-10}

coefficients = st.floats(0.0, 1.0, exclude_min=True)
dtypes = st.sampled_from(list(ROUNDING))
vectors = st.lists(
    st.tuples(st.floats(-8.0, 8.0, width=16), st.floats(-8.0, 8.0, width=16)),
    min_size=1,
    max_size=8,
)


def pair(rows, dtype):
    vlm, backbone = torch.tensor(rows, dtype=torch.float64).to(dtype).T
    return vlm.contiguous(), backbone.contiguous()


@given(vectors, coefficients, dtypes)
def test_lerp_is_its_formula_to_rounding(rows, coefficient, dtype):
    vlm, backbone = pair(rows, dtype)
    merged = merge_tensor(Lerp(coefficient), vlm, backbone).double()
    exact = (1.0 - coefficient) * vlm.double() + coefficient * backbone.double()
    largest = torch.maximum(vlm.double().abs(), backbone.double().abs())
    assert ((merged - exact).abs() <= ROUNDING[dtype] * largest + 1e-7).all()


@given(vectors, coefficients, dtypes)
def test_lerp_lies_between_its_ends_to_rounding(rows, coefficient, dtype):
    vlm, backbone = pair(rows, dtype)
    merged = merge_tensor(Lerp(coefficient), vlm, backbone).double()
    low = torch.minimum(vlm, backbone).double()
    high = torch.maximum(vlm, backbone).double()
    slack = ROUNDING[dtype] * torch.maximum(low.abs(), high.abs())
    assert (merged >= low - slack).all()
    assert (merged <= high + slack).all()


@given(vectors, st.floats(2.0**-20, 1.0 - 2.0**-20), dtypes)
def test_swapping_models_and_coefficient_is_the_same_merge_to_rounding(rows, coefficient, dtype):
    vlm, backbone = pair(rows, dtype)
    one = merge_tensor(Lerp(coefficient), vlm, backbone).double()
    other = merge_tensor(Lerp(1.0 - coefficient), backbone, vlm).double()
    largest = torch.maximum(vlm.double().abs(), backbone.double().abs())
    assert ((one - other).abs() <= 2 * ROUNDING[dtype] * largest + 1e-7).all()


@given(vectors, st.integers(-12, 12), st.sampled_from([0.25, 0.5, 0.75]))
def test_scaling_both_models_by_a_power_of_two_scales_the_merge_exactly(rows, power, coefficient):
    vlm, backbone = pair(rows, torch.float32)
    merged = merge_tensor(Lerp(coefficient), vlm, backbone)
    scaled = merge_tensor(Lerp(coefficient), vlm * 2.0**power, backbone * 2.0**power)
    assert torch.equal(scaled, merged * 2.0**power)


@pytest.mark.parametrize("dtype", ROUNDING)
def test_exact_values_are_exact(dtype):
    vlm = torch.tensor([0.0, 1.0, -2.0, 4.0], dtype=dtype)
    backbone = torch.tensor([1.0, 1.0, 2.0, -4.0], dtype=dtype)
    merged = {c: merge_tensor(Lerp(c), vlm, backbone).tolist() for c in (0.25, 0.5, 0.75)}
    assert merged == {
        0.25: [0.25, 1.0, -1.0, 2.0],
        0.5: [0.5, 1.0, 0.0, 0.0],
        0.75: [0.75, 1.0, 1.0, -2.0],
    }
