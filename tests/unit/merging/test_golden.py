"""Against mergekit and PEFT; tests/golden/make_rules.py says how their results were made."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from merit_opt.merging.operands import Operands
from merit_opt.merging.tensors import merge_tensor
from merit_opt.recipe.rules import RULES, field_names, make_rule

GOLDEN = load_file(Path(__file__).parents[2] / "golden" / "rules.safetensors")
CASES = sorted({name.partition("/")[0] for name in GOLDEN})
KINDS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
# One step of the narrow dtypes; a few of float32, for the order in which a sum is taken.
STEPS = {torch.bfloat16: 2.0**-7, torch.float16: 2.0**-10, torch.float32: 2.0**-21}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", RULES)
def test_a_rule_agrees_with_another_implementation(case, name):
    of_case = {key.partition("/")[2]: GOLDEN[key] for key in GOLDEN if key.startswith(f"{case}/")}
    operands = Operands("layers.0.x", *(of_case[key] for key in ("vlm", "backbone", "base")))
    expected = {key: value for key, value in of_case.items() if key.startswith(f"{name}:")}
    assert len(expected) in (3, 6)
    assert operands.vlm.dtype == KINDS[case.partition("-")[0]]
    for key, theirs in expected.items():
        numbers = map(float, key.split(":")[1:])
        rule = make_rule(name, dict(zip(field_names(RULES[name]), numbers, strict=True)))
        ours = merge_tensor(rule, operands)
        assert ours.dtype == theirs.dtype
        apart = (ours.double() - theirs.double()).abs()
        largest = torch.stack([of_case[k].double().abs() for k in ("vlm", "backbone", "base")])
        # Where terms cancel, the rounding is that of the largest of them.
        sizes = largest.amax(0) if ours.dtype == torch.float32 else theirs.double().abs()
        assert (apart <= STEPS[ours.dtype] * sizes + 1e-7).all(), key


def test_every_rule_has_golden_results_in_every_dtype():
    kinds = {name.split(":")[0].partition("/")[::2] for name in GOLDEN if ":" in name}
    assert {rule for _, rule in kinds} == RULES.keys()
    assert kinds == {(case, rule) for case in CASES for rule in RULES}
    assert {case.partition("-")[0] for case in CASES} == KINDS.keys()
