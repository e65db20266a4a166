"""What every rule promises; a new rule is one row."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from merit_opt.errors import UserError
from merit_opt.merging.tensors import merge_tensor
from merit_opt.recipe.recipe import PARTS, LayerMerge, Recipe, from_json
from merit_opt.recipe.recipe import to_json as recipe_json
from merit_opt.recipe.rules import Lerp

RULES: dict[type, Callable[[float], Any]] = {
    Lerp: Lerp,
}

BITS = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}
SPECIAL = (0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e-40, 3.0)
coefficients = st.floats(0.0, 1.0, exclude_min=True)
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(list(BITS))

every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=[r.__name__ for r in RULES])


def tensors(seed: int, dtype: torch.dtype, shape: tuple[int, ...] = (4, 6)) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).to(dtype) for _ in range(2)]


def same_bits(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(
        one.view(BITS[one.dtype]), other.view(BITS[other.dtype])
    )


def test_every_registered_rule_has_a_row() -> None:
    assert merge_tensor.registry.keys() - {object} == RULES.keys()


@every_rule
@given(coefficient=coefficients, seed=seeds, dtype=dtypes)
def test_a_merge_is_a_new_tensor_of_the_same_kind(rule, coefficient, seed, dtype):
    vlm, backbone = tensors(seed, dtype)
    before = vlm.clone(), backbone.clone()
    merged = merge_tensor(rule(coefficient), vlm, backbone)
    assert (merged.dtype, merged.shape, merged.device) == (vlm.dtype, vlm.shape, vlm.device)
    merged.fill_(7.0)
    assert same_bits(vlm, before[0])
    assert same_bits(backbone, before[1])


@every_rule
@given(coefficient=coefficients, seed=seeds, dtype=dtypes)
def test_the_same_merge_twice_has_the_same_bits(rule, coefficient, seed, dtype):
    vlm, backbone = tensors(seed, dtype)
    one = merge_tensor(rule(coefficient), vlm, backbone)
    assert same_bits(one, merge_tensor(rule(coefficient), vlm, backbone))


@every_rule
@given(seed=seeds, dtype=dtypes)
def test_coefficient_one_is_the_backbone_bit_for_bit(rule, seed, dtype):
    vlm, backbone = tensors(seed, dtype)
    backbone[0, 0], vlm[0, 1:] = -0.0, 1e4
    assert same_bits(merge_tensor(rule(1.0), vlm, backbone), backbone)


@every_rule
@pytest.mark.parametrize("dtype", BITS)
def test_coefficient_one_keeps_the_bits_of_zeros_infinities_and_nan(rule, dtype):
    backbone = torch.tensor(SPECIAL, dtype=dtype)
    assert same_bits(merge_tensor(rule(1.0), torch.ones_like(backbone), backbone), backbone)


@every_rule
@given(coefficient=coefficients, seed=seeds, dtype=dtypes)
def test_a_tensor_merged_with_itself_is_itself(rule, coefficient, seed, dtype):
    vlm, _ = tensors(seed, dtype)
    assert same_bits(merge_tensor(rule(coefficient), vlm, vlm.clone()), vlm)


@every_rule
@given(coefficient=coefficients, seed=seeds, dtype=dtypes)
def test_the_layout_in_memory_does_not_matter(rule, coefficient, seed, dtype):
    vlm, backbone = tensors(seed, dtype)
    plain = merge_tensor(rule(coefficient), vlm, backbone)
    turned = merge_tensor(rule(coefficient), vlm.T.contiguous().T, backbone)
    assert same_bits(plain, turned.contiguous())


@every_rule
@pytest.mark.parametrize(
    ("vlm", "backbone", "message"),
    [
        (torch.ones(2, 3), torch.ones(3, 2), r"cannot merge \(2, 3\) .* with \(3, 2\) "),
        (torch.ones(2, 3), torch.ones(1, 3), r"cannot merge \(2, 3\) .* with \(1, 3\) "),
        (torch.ones(3), torch.ones(()), r"cannot merge \(3,\) .* with \(\) "),
        (torch.ones(2), torch.ones(2).bfloat16(), r"torch\.float32 with \(2,\) torch\.bfloat16"),
    ],
    ids=["turned", "broadcast", "scalar", "dtype"],
)
@pytest.mark.parametrize("coefficient", [0.5, 1.0])
def test_tensors_of_different_kinds_are_refused(rule, coefficient, vlm, backbone, message):
    with pytest.raises(ValueError, match=message):
        merge_tensor(rule(coefficient), vlm, backbone)


@every_rule
@given(coefficient=coefficients)
def test_a_rule_is_a_value_that_survives_json(rule, coefficient):
    assert rule(coefficient) == rule(coefficient)
    assert hash(rule(coefficient)) == hash(rule(coefficient))
    for part in PARTS:
        recipe = Recipe((LayerMerge(**{part: rule(coefficient)}), LayerMerge()))
        assert from_json(recipe_json(recipe)) == recipe


@every_rule
@pytest.mark.parametrize("coefficient", [0.0, -0.5, 1.5, float("nan")])
def test_a_coefficient_out_of_range_is_refused(rule, coefficient):
    with pytest.raises(UserError, match=r"must lie in \(0, 1\], got"):
        rule(coefficient)


def test_a_rule_without_arithmetic_is_named() -> None:
    with pytest.raises(TypeError, match="no merge arithmetic for rule int"):
        merge_tensor(3, torch.ones(2), torch.ones(2))
