"""What every rule promises; a new rule is one row."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, fields, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from merit_opt.errors import UserError
from merit_opt.merging.operands import Operands
from merit_opt.merging.tensors import merge_tensor
from merit_opt.recipe.recipe import PARTS, LayerMerge, Recipe, from_json
from merit_opt.recipe.recipe import to_json as recipe_json
from merit_opt.recipe.rules import (
    RULES,
    DareLinear,
    DareTies,
    Lerp,
    Rule,
    Slerp,
    TaskArithmetic,
    Ties,
    TiesByCount,
    field_names,
    make_rule,
    needs_base,
    rule_at,
    rule_name,
)

RuleOf = Callable[[float], Rule]


@dataclass(frozen=True)
class Row:
    """Rules of one class by coefficient.

    Attributes:
        some: Any other fields.
        whole: Those with which coefficient 1 is the backbone.
        same: Those with which equal models are left as they are, to rounding.
    """

    some: RuleOf
    whole: RuleOf
    same: RuleOf


ROWS: dict[type, Row] = {
    Lerp: Row(Lerp, Lerp, Lerp),
    Slerp: Row(Slerp, Slerp, Slerp),
    TaskArithmetic: Row(
        lambda c: TaskArithmetic(c, 0.7),
        lambda c: TaskArithmetic(c, 1.0),
        lambda c: TaskArithmetic(c, 1.0),
    ),
    Ties: Row(
        lambda c: Ties(c, 1.3, 0.4),
        lambda c: Ties(c, 1.0, 1.0),
        lambda c: Ties(c, 1.0, 1.0),
    ),
    # Two vectors that agree are divided by two.
    TiesByCount: Row(
        lambda c: TiesByCount(c, 1.8, 0.2),
        lambda c: TiesByCount(c, 1.0, 1.0),
        lambda c: TiesByCount(c, 2.0, 1.0),
    ),
    DareLinear: Row(
        lambda c: DareLinear(c, 0.9, 0.5, 3),
        lambda c: DareLinear(c, 1.0, 1.0, 3),
        lambda c: DareLinear(c, 1.0, 1.0, 3),
    ),
    DareTies: Row(
        lambda c: DareTies(c, 1.1, 0.5, 2**32 - 1),
        lambda c: DareTies(c, 1.0, 1.0, 0),
        lambda c: DareTies(c, 1.0, 1.0, 0),
    ),
}

BITS = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}
STEPS = {torch.float32: 2.0**-23, torch.bfloat16: 2.0**-7, torch.float16: 2.0**-10}
SPECIAL = (0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e-40, 3.0)
NAME = "layers.3.self_attn.q_proj.weight"
coefficients = st.floats(0.0, 1.0, exclude_min=True)
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(list(BITS))

every_rule = pytest.mark.parametrize("row", ROWS.values(), ids=[r.__name__ for r in ROWS])


def operands(seed: int, dtype: torch.dtype, shape: tuple[int, ...] = (4, 6)) -> Operands:
    generator = torch.Generator().manual_seed(seed)
    vlm, backbone, base = (torch.randn(shape, generator=generator).to(dtype) for _ in range(3))
    return Operands(NAME, vlm, backbone, base)


def tensors(given: Operands) -> list[Tensor]:
    return [tensor for tensor in (given.vlm, given.backbone, given.base) if tensor is not None]


def same_bits(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(
        one.view(BITS[one.dtype]), other.view(BITS[other.dtype])
    )


def test_every_rule_has_arithmetic_a_name_and_a_row() -> None:
    assert merge_tensor.registry.keys() - {object} == set(RULES.values()) == ROWS.keys()


def test_the_rules_are_called_so() -> None:
    assert {name: field_names(kind) for name, kind in RULES.items()} == {
        "lerp": ("coefficient",),
        "slerp": ("coefficient",),
        "task_arithmetic": ("coefficient", "scale"),
        "ties": ("coefficient", "scale", "density"),
        "ties_by_count": ("coefficient", "scale", "density"),
        "dare_linear": ("coefficient", "scale", "density", "seed"),
        "dare_ties": ("coefficient", "scale", "density", "seed"),
    }


@every_rule
@given(coefficient=coefficients, seed=seeds, dtype=dtypes)
def test_a_merge_is_a_new_tensor_of_the_same_kind(row, coefficient, seed, dtype):
    given = operands(seed, dtype)
    before = [tensor.clone() for tensor in tensors(given)]
    for rule in (row.some(coefficient), row.whole(1.0)):
        merged = merge_tensor(rule, given)
        of_kind = (given.vlm.dtype, given.vlm.shape, given.vlm.device)
        assert (merged.dtype, merged.shape, merged.device) == of_kind
        merged.fill_(7.0)
        assert all(map(same_bits, tensors(given), before))


@every_rule
@given(coefficient=coefficients, seed=seeds, dtype=dtypes)
def test_the_same_merge_twice_has_the_same_bits(row, coefficient, seed, dtype):
    given = operands(seed, dtype)
    one = merge_tensor(row.some(coefficient), given)
    torch.rand(3)  # no rule draws from the shared stream, nor changes it
    assert same_bits(one, merge_tensor(row.some(coefficient), given))


@every_rule
@given(seed=seeds, dtype=dtypes)
def test_coefficient_one_is_the_backbone_bit_for_bit(row, seed, dtype):
    given = operands(seed, dtype)
    given.backbone[0, 0], given.vlm[0, 1:] = -0.0, 1e4
    assert same_bits(merge_tensor(row.whole(1.0), given), given.backbone)


@every_rule
@pytest.mark.parametrize("dtype", BITS)
def test_coefficient_one_keeps_the_bits_of_zeros_infinities_and_nan(row, dtype):
    backbone = torch.tensor(SPECIAL, dtype=dtype)
    given = Operands(NAME, torch.ones_like(backbone), backbone, torch.ones_like(backbone))
    assert same_bits(merge_tensor(row.whole(1.0), given), backbone)


@every_rule
@given(coefficient=st.floats(2.0**-20, 1.0 - 2.0**-20), seed=seeds, dtype=dtypes)
def test_a_tensor_merged_with_itself_is_itself(row, coefficient, seed, dtype):
    given = operands(seed, dtype)
    given = replace(given, backbone=given.vlm.clone())
    rule = row.same(coefficient)
    merged = merge_tensor(rule, given)
    if not needs_base(rule):
        assert same_bits(merged, given.vlm)
    # The task vector is rounded to float32, and so is its sum with the base.
    largest = torch.maximum(given.vlm.abs(), given.base.abs()).double()
    slack = 4 * STEPS[torch.float32] * largest + STEPS[dtype] * given.vlm.abs().double()
    assert ((merged.double() - given.vlm.double()).abs() <= slack).all()


@every_rule
@given(coefficient=coefficients, seed=seeds, dtype=dtypes)
def test_the_layout_in_memory_does_not_matter(row, coefficient, seed, dtype):
    given = operands(seed, dtype)
    plain = merge_tensor(row.some(coefficient), given)
    for name in ("vlm", "backbone", "base"):
        turned = replace(given, **{name: getattr(given, name).T.contiguous().T})
        assert same_bits(plain, merge_tensor(row.some(coefficient), turned).contiguous())


@every_rule
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 3, 4)])
def test_every_shape_can_be_merged(row, shape):
    merged = merge_tensor(row.some(0.5), operands(1, torch.bfloat16, shape))
    assert merged.shape == shape
    assert torch.isfinite(merged).all()


@every_rule
@pytest.mark.parametrize("dtype", BITS)
def test_zeros_merge_to_zeros(row, dtype):
    zeros = torch.zeros(3, 5, dtype=dtype)
    assert (merge_tensor(row.some(0.3), Operands(NAME, zeros, zeros, zeros)) == 0.0).all()


@pytest.mark.parametrize(
    ("vlm", "other", "message"),
    [
        (torch.ones(2, 3), torch.ones(3, 2), r"cannot merge \(2, 3\) .* with \(3, 2\) "),
        (torch.ones(2, 3), torch.ones(1, 3), r"cannot merge \(2, 3\) .* with \(1, 3\) "),
        (torch.ones(3), torch.ones(()), r"cannot merge \(3,\) .* with \(\) "),
        (torch.ones(2), torch.ones(2).bfloat16(), r"torch\.float32 with \(2,\) torch\.bfloat16"),
    ],
    ids=["turned", "broadcast", "scalar", "dtype"],
)
def test_tensors_of_different_kinds_are_refused(vlm, other, message):
    with pytest.raises(ValueError, match=message):
        Operands(NAME, vlm, other, None)
    with pytest.raises(ValueError, match=message):
        Operands(NAME, vlm, vlm, other)


@every_rule
@pytest.mark.parametrize("coefficient", [0.5, 1.0])
def test_a_rule_of_task_vectors_without_a_base_is_named(row, coefficient):
    rule = row.whole(coefficient)
    given = replace(operands(0, torch.float32), base=None)
    if not needs_base(rule):
        assert merge_tensor(rule, given).shape == given.vlm.shape
        return
    message = f"rule {rule_name(type(rule))} merges .* and {NAME} has none"
    with pytest.raises(ValueError, match=message):
        merge_tensor(rule, given)


@every_rule
@given(seed=seeds)
def test_a_rule_asks_for_the_base_exactly_when_it_depends_on_it(row, seed):
    given = operands(seed, torch.float32)
    rule = row.some(0.5)
    moved = merge_tensor(rule, replace(given, base=given.base + 1.0))
    assert torch.equal(moved, merge_tensor(rule, given)) is not needs_base(rule)


@every_rule
@given(coefficient=coefficients)
def test_a_rule_is_a_value_that_survives_json(row, coefficient):
    rule = row.some(coefficient)
    assert rule == row.some(coefficient)
    assert hash(rule) == hash(row.some(coefficient))
    for part in PARTS:
        recipe = Recipe((LayerMerge(**{part: rule}), LayerMerge()))
        assert from_json(recipe_json(recipe)) == recipe
        assert recipe.needs_base is needs_base(rule)
        assert recipe.coefficients(part) == {0: coefficient}


@every_rule
@given(coefficient=coefficients)
def test_a_rule_is_made_of_its_name_and_numbers(row, coefficient):
    rule = row.some(coefficient)
    name, (own, *others) = rule_name(type(rule)), [getattr(rule, f.name) for f in fields(rule)]
    assert own == coefficient
    assert rule_at(name, others)(coefficient) == rule
    assert rule_at(name, others)(0.0) is None
    assert make_rule(name, {f.name: getattr(rule, f.name) for f in fields(rule)}) == rule


@every_rule
def test_a_rule_cannot_be_changed(row):
    with pytest.raises(FrozenInstanceError):
        row.some(0.5).coefficient = 0.4
    with pytest.raises((AttributeError, TypeError)):
        object.__setattr__(row.some(0.5), "other", 1)


@every_rule
def test_no_field_has_a_default(row):
    kind = type(row.some(0.5))
    for name in field_names(kind):
        values = {f: getattr(row.some(0.5), f) for f in field_names(kind) if f != name}
        with pytest.raises(TypeError, match=f"missing 1 required .* '{name}'"):
            kind(**values)


@every_rule
@pytest.mark.parametrize("coefficient", [0.0, -0.5, 1.5, float("nan")])
def test_a_coefficient_out_of_range_is_refused(row, coefficient):
    with pytest.raises(UserError, match=r"must lie in \(0, 1\], got"):
        row.some(coefficient)


OUT_OF_RANGE = {
    "scale": ([0.0, -1.0, float("inf"), float("nan"), 10**400], r"scale must be finite and above"),
    "density": ([0.0, -0.1, 1.0000001, float("nan"), 2], r"density must lie in \(0, 1\], got"),
    "seed": ([-1, 2**32, 0.5, float("nan"), float("inf")], r"seed must be a whole number from 0"),
}


@every_rule
def test_every_other_number_out_of_range_is_refused(row):
    rule = row.some(0.5)
    for name in field_names(type(rule))[1:]:
        values, message = OUT_OF_RANGE[name]
        for value in values:
            with pytest.raises(UserError, match=message):
                replace(rule, **{name: value})


@every_rule
def test_equal_numbers_of_another_type_are_the_same_rule_to_the_letter(row):
    rule = row.whole(1.0)
    ones = {
        f.name: int(getattr(rule, f.name)) if f.name != "seed" else float(rule.seed)
        for f in fields(rule)
    }
    recipes = [Recipe((LayerMerge(one),)) for one in (rule, replace(rule, **ones))]
    assert recipe_json(recipes[0]) == recipe_json(recipes[1])


def test_a_rule_without_arithmetic_is_named() -> None:
    with pytest.raises(TypeError, match="no merge arithmetic for rule int"):
        merge_tensor(3, operands(0, torch.float32))
