"""Effects of changing a model: measured one after the other, compared sample by sample."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, TypeVar

from merit_opt.attribution.method import Bench, Model
from merit_opt.data.suite import Role, Suite
from merit_opt.errors import TrialFailed
from merit_opt.evaluation.evaluation import Evaluation
from merit_opt.evaluation.masking import Masking
from merit_opt.evaluation.stats import holm, paired_difference, verdict
from merit_opt.evaluation.yardstick import LEAST_ANSWERED
from merit_opt.recipe.recipe import Recipe

T = TypeVar("T")

ROLES: tuple[Role, ...] = ("TR", "TP")
Unit = Literal["accuracy", "probability"]
UNITS: tuple[Unit, ...] = ("accuracy", "probability")
COMPARING = "comparing answers"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a change is made, and which: what rows of one table are told apart by.

    Attributes:
        method: The method's name.
        variant: Of the method.
        model: What is changed: the unmerged VLM or the recipe's model.
        layer: Decoder layer.
        part: Its part, or several joined by +.
        head_group: One key/value head with its query heads; None is all.
        coefficient: What the part is merged at; None where it is not.
    """

    method: str
    variant: str
    model: Model
    layer: int
    part: str
    head_group: int | None = None
    coefficient: float | None = None

    @property
    def name(self) -> str:
        """For people."""
        group = "" if self.head_group is None else f" head group {self.head_group}"
        at = "" if self.coefficient is None else f" at {self.coefficient:g}"
        return f"{self.variant} {self.part} of layer {self.layer}{group}{at} ({self.model})"


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """One model to be measured.

    Attributes:
        name: For people.
        recipe: What is merged.
        masking: What is masked in it, if anything.
    """

    name: str
    recipe: Recipe
    masking: Masking | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of plans.

    Attributes:
        evaluations: By the plan's name.
        failed: Name -> why it could not be measured.
    """

    evaluations: Mapping[str, Evaluation]
    failed: dict[str, str]

    def told(self, name: str, make: Callable[[Evaluation], Iterable[T]]) -> list[T]:
        """What `make` says of an evaluation; nothing where it, or that, failed."""
        if (found := self.evaluations.get(name)) is None:
            return []
        try:
            return list(make(found))
        except TrialFailed as failure:
            self.failed[name] = str(failure)
            return []


def measured(bench: Bench, plans: Sequence[Plan], stage: str) -> Measured:
    """Measure all plans; what was measured before comes from the engine's cache."""
    found: dict[str, Evaluation] = {}
    failed: dict[str, str] = {}
    for done, plan in enumerate(plans):
        bench.reporter.stage(stage, done, len(plans))
        try:
            found[plan.name] = bench.engine.evaluate(plan.recipe, bench.suite, plan.masking)
        except TrialFailed as failure:
            failed[plan.name] = str(failure)
    bench.reporter.stage(stage, len(plans), len(plans))
    return Measured(found, failed)


@dataclass(frozen=True, slots=True)
class Change:
    """Of one role's mean, over the samples that were scored on both sides.

    Attributes:
        role: TR or TP.
        n: Samples.
        reference: Mean before.
        score: Mean after.
        difference: After minus before: positive where the change raises the score.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: Two-sided, of no difference.
        unit: Of the means.
    """

    role: Role
    n: int
    reference: float
    score: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    unit: str


def changes(reference: Evaluation, other: Evaluation, suite: Suite, seed: int) -> Iterator[Change]:
    """By role and unit, paired by sample and clustered by medium.

    Raises:
        TrialFailed: Of a role too few samples were scored after the change.
    """
    for role, unit, one, other_side, groups in _sides(reference, other, suite):
        found = paired_difference(one, other_side, groups, seed)
        yield Change(
            role=role,
            n=found.n,
            reference=_mean(one),
            score=_mean(other_side),
            difference=found.estimate,
            low=found.low,
            high=found.high,
            p=found.p,
            unit=unit,
        )


def plain_changes(reference: Evaluation, other: Evaluation, *, suite: Suite) -> Iterator[Change]:
    """As `changes`, without intervals.

    Raises:
        TrialFailed: As `changes` does.
    """
    for role, unit, one, other_side, _ in _sides(reference, other, suite):
        before, after = _mean(one), _mean(other_side)
        yield Change(role, len(one), before, after, after - before, None, None, None, unit)


Side = dict[str, float]


def _sides(
    reference: Evaluation, other: Evaluation, suite: Suite
) -> Iterator[tuple[Role, Unit, Side, Side, Mapping[str, str]]]:
    """Role, unit, both sides over the samples they share, and the samples' groups."""
    for role in ROLES:
        groups = {s.id: s.group_id for s in suite.samples if suite.role(s) == role}
        for unit in UNITS:
            one, second = reference.measured(unit), other.measured(unit)
            known = groups.keys() & one.keys()
            shared = sorted(known & second.keys())
            if unit == "accuracy" and len(shared) < max(1, LEAST_ANSWERED * len(known)):
                raise TrialFailed(
                    f"of the {len(known)} {role} samples that were answered before, only "
                    f"{len(shared)} could be scored"
                )
            if shared:
                yield (
                    role,
                    unit,
                    {i: one[i] for i in shared},
                    {i: second[i] for i in shared},
                    groups,
                )


def _mean(side: Side) -> float:
    return sum(side.values()) / len(side)


def compared(
    bench: Bench,
    plans: Mapping[Place, Plan],
    found: Measured,
    references: Mapping[Model, Evaluation],
) -> list[dict[str, Any]]:
    """Rows of the table of layers, of all that could be measured.

    Args:
        bench: On what.
        plans: Where each was to be made a change.
        found: What became of them.
        references: Of each model that was changed, unchanged.
    """
    rows: list[dict[str, Any]] = []
    for done, (place, plan) in enumerate(plans.items()):
        bench.reporter.stage(COMPARING, done, len(plans))
        change = partial(changes, references[place.model], suite=bench.suite, seed=bench.seed)
        rows += [row(place, one) for one in found.told(plan.name, change)]
    bench.reporter.stage(COMPARING, len(plans), len(plans))
    return rows


def row(place: Place, change: Change) -> dict[str, Any]:
    """As the tables of layers have it."""
    return {**asdict(place), **asdict(change)}


def significant(rows: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Which differences stand Holm's correction over all of these rows."""
    corrected = holm([row["p"] for row in rows])
    return [
        verdict(one["low"], one["high"], p) == "significant"
        for one, p in zip(rows, corrected, strict=True)
    ]


def signed(one: Mapping[str, Any]) -> str:
    """A row's difference with its interval, for people."""
    if one["low"] is None:
        return f"{one['difference']:+.3f}"
    return f"{one['difference']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]"
