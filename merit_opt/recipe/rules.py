"""How two tensors become one, as values; `merit_opt.merging` holds the arithmetic.

Every rule has a coefficient, the backbone's share: the VLM weighs ``1 - coefficient`` and the
backbone ``coefficient``. Rules of task vectors weigh what each model has learned since the base
model that both grew from, ``tensor - base``, and multiply the sum by a scale.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, get_args

from merit_opt.errors import UserError

MAX_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True)
class _Numbers:
    """A rule's fields are numbers, each checked by its name.

    1 and 1.0 are equal, so their JSON and digest must be too: every field has one type.
    """

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _CHECKED[field.name](getattr(self, field.name)))


@dataclass(frozen=True, slots=True)
class Lerp(_Numbers):
    """Linear interpolation ``(1 - coefficient) * vlm + coefficient * backbone``.

    Attributes:
        coefficient: In (0, 1]; 1 is the backbone's tensor. Zero is not a merge: a recipe says
            "keep the VLM's" with None.

    Raises:
        UserError: The coefficient is not a number in (0, 1].
    """

    coefficient: float


@dataclass(frozen=True, slots=True)
class Slerp(_Numbers):
    """Along the great circle between the directions of the two tensors, each one long vector.

    Tensors within 1.8 degrees of one line, and those of length zero, are interpolated linearly.

    Attributes:
        coefficient: In (0, 1], the share of the angle; 1 is the backbone's tensor.

    Raises:
        UserError: The coefficient is not a number in (0, 1].
    """

    coefficient: float


@dataclass(frozen=True, slots=True)
class TaskArithmetic(_Numbers):
    """``base + scale * ((1 - coefficient) * t_vlm + coefficient * t_backbone)``.

    Attributes:
        coefficient: In (0, 1], the weight of the backbone's task vector.
        scale: Above 0 and finite; at 1 this is `Lerp`, since the base cancels.

    Raises:
        UserError: A field lies outside its range.
    """

    coefficient: float
    scale: float


@dataclass(frozen=True, slots=True)
class Ties(_Numbers):
    """Trim, elect a sign, average what agrees (TIES, arXiv 2306.01708).

    Each task vector keeps its largest entries. An entry's sign is that of the weighted sum; the
    vectors that have this sign are averaged by weight, ``sum(w * t) / sum(w)``. With equal weights
    it is the paper's disjoint mean, with scale for its lambda.

    Attributes:
        coefficient: In (0, 1], the weight of the backbone's task vector.
        scale: Above 0 and finite.
        density: In (0, 1], the share of entries that each tensor's task vector keeps.

    Raises:
        UserError: A field lies outside its range.
    """

    coefficient: float
    scale: float
    density: float


@dataclass(frozen=True, slots=True)
class TiesByCount(_Numbers):
    """TIES as the code of *Bring Reason to Vision* (arXiv 2505.05464) and PEFT compute it.

    The sign is that of the unweighted sum, and the weighted sum of the vectors that have it is
    divided by how many they are: where one vector stands alone, its entry is multiplied by its
    weight. That paper's weights 1.6 and 0.2 are scale 1.8 and coefficient 1/9. A model of weight
    zero has no vote.

    Attributes:
        coefficient: In (0, 1]; the backbone's task vector weighs ``scale * coefficient``.
        scale: Above 0 and finite.
        density: In (0, 1], the share of entries that each tensor's task vector keeps.

    Raises:
        UserError: A field lies outside its range.
    """

    coefficient: float
    scale: float
    density: float


@dataclass(frozen=True, slots=True)
class DareLinear(_Numbers):
    """Drop entries at random, rescale the rest, then as `TaskArithmetic` (arXiv 2311.03099).

    An entry of a task vector is kept with probability density and then divided by it, so that the
    expectation is the whole vector's. The code of *Bring Reason to Vision* drops the result of
    that division, so that its DARE shrinks the vectors; this one does not.

    Attributes:
        coefficient: In (0, 1], the weight of the backbone's task vector.
        scale: Above 0 and finite.
        density: In (0, 1], the probability with which an entry is kept.
        seed: 0 to 2**32 - 1. With the tensor's name and the model it makes the mask, the same on
            every device and in every order.

    Raises:
        UserError: A field lies outside its range.
    """

    coefficient: float
    scale: float
    density: float
    seed: int


@dataclass(frozen=True, slots=True)
class DareTies(_Numbers):
    """Drop and rescale as `DareLinear`, then elect signs and average as `Ties`.

    Attributes:
        coefficient: In (0, 1], the weight of the backbone's task vector.
        scale: Above 0 and finite.
        density: In (0, 1], the probability with which an entry is kept.
        seed: 0 to 2**32 - 1; the masks are those of `DareLinear`.

    Raises:
        UserError: A field lies outside its range.
    """

    coefficient: float
    scale: float
    density: float
    seed: int


TaskVectorRule = TaskArithmetic | Ties | TiesByCount | DareLinear | DareTies
Rule = Lerp | Slerp | TaskVectorRule

RuleAt = Callable[[float], Rule | None]
"""Coefficient in [0, 1] -> its rule; 0 is None, since mask 0 and coefficient 0 are one."""


def rule_name(kind: type[Rule]) -> str:
    """A rule's name in JSON and on the command line, such as `ties_by_count`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


RULES: dict[str, type[Rule]] = {rule_name(kind): kind for kind in get_args(Rule)}


def lerp(coefficient: float) -> Lerp | None:
    """The linear rule at a coefficient in [0, 1]."""
    return Lerp(float(coefficient)) if coefficient else None


def rule_at(name: str, numbers: Sequence[float]) -> RuleAt:
    """The rule called `name` with all numbers but its coefficient given, in order.

    Raises:
        UserError: No such rule, the wrong count of numbers, or one outside its range; so does the
            function that comes back.
    """
    names = field_names(rule_kind(name))[1:]
    if len(numbers) != len(names):
        form = ":".join((name, *map(str.upper, names)))
        raise UserError(
            f"{name} takes {len(names)} numbers after its name, {form}; got {len(numbers)}"
        )
    rule = make_rule(name, {"coefficient": 1.0, **dict(zip(names, numbers, strict=True))})
    return lambda coefficient: replace(rule, coefficient=coefficient) if coefficient else None


def rule_from(text: str) -> RuleAt:
    """The rule that `NAME[:NUMBER…]` stands for, its numbers but the coefficient in order.

    Raises:
        UserError: See `rule_at`; or what stands for a number is none.
    """
    name, *words = text.split(":")
    return rule_at(name, [number(word) for word in words])


def number(word: str) -> float:
    """What stands after a colon.

    Raises:
        UserError: It is no number.
    """
    try:
        return float(word)
    except ValueError:
        raise UserError(f"expected a number after the colon, got {word!r}") from None


def make_rule(name: str, values: Mapping[str, object]) -> Rule:
    """The rule called `name` with a number for each of its fields.

    Raises:
        UserError: No such rule, a field missing or not its own, no number, or one out of range.
    """
    kind = rule_kind(name)
    names = field_names(kind)
    wrong = {
        "lacks": [field for field in names if field not in values],
        "has no": sorted(values.keys() - set(names)),
    }
    if found := [f"{verb} {', '.join(found)[:200]}" for verb, found in wrong.items() if found]:
        raise UserError(f"a rule {name} has {', '.join(names)}; this one {' and '.join(found)}")
    for field, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"a rule's {field} must be a number, got {repr(value)[:80]}")
    numbers: Mapping[str, Any] = values
    return kind(**numbers)


def rule_kind(name: str) -> type[Rule]:
    """The class of the rule called `name`.

    Raises:
        UserError: There is none; the message names the nearest.
    """
    if name not in RULES:
        [near] = get_close_matches(name[:60], RULES, n=1, cutoff=0.0)
        raise UserError(
            f"there is no rule {name[:60]!r}; did you mean {near}? The rules are {', '.join(RULES)}"
        )
    return RULES[name]


def field_names(kind: type[Rule]) -> tuple[str, ...]:
    """The names of a rule's numbers, the coefficient first."""
    return tuple(field.name for field in fields(kind))


def spelled(rule: Rule) -> str:
    """A rule as the command line takes it after a form, such as `ties:0.3:1:0.2`, name first."""
    numbers = (f"{getattr(rule, field)!r}" for field in field_names(type(rule)))
    return ":".join([rule_name(type(rule)), *numbers])


def needs_base(rule: Rule) -> bool:
    """Whether the rule asks for the base model that both models grew from."""
    return isinstance(rule, TaskVectorRule)


def _coefficient(value: float) -> float:
    if not 0.0 < value <= 1.0:
        raise UserError(
            f"a merge coefficient must lie in (0, 1], got {value!r}; "
            "to keep the VLM's weights leave the layer out of the recipe"
        )
    return float(value)


def _scale(value: float) -> float:
    if not 0.0 < value <= sys.float_info.max:
        raise UserError(
            f"a rule's scale must be finite and above 0, got {value!r}; "
            "1 adds the weighted task vectors as they are"
        )
    return float(value)


def _density(value: float) -> float:
    if not 0.0 < value <= 1.0:
        raise UserError(f"a rule's density must lie in (0, 1], got {value!r}; 1 keeps every entry")
    return float(value)


def _seed(value: float) -> int:
    if not 0 <= value <= MAX_SEED or value != int(value):
        raise UserError(
            f"a rule's seed must be a whole number from 0 to {MAX_SEED}, got {value!r}"
        )
    return int(value)


_CHECKED: dict[str, Callable[[Any], float]] = {
    "coefficient": _coefficient,
    "scale": _scale,
    "density": _density,
    "seed": _seed,
}
