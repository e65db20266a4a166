"""The final comparison, on samples that the search never saw."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from merit_opt.data.suite import Suite
from merit_opt.errors import TrialFailed
from merit_opt.evaluation.evaluation import Evaluation, role_means
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.evaluation.stats import Difference, paired_difference
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe

ComparedRole = Literal["TR", "TP"]
ROLES: tuple[ComparedRole, ...] = ("TR", "TP")


@dataclass(frozen=True, slots=True)
class Contender:
    """One recipe on confirm, in accuracy.

    Attributes:
        name: `best` or a control's name.
        recipe: What was measured.
        TR: Mean accuracy on temporal reasoning.
        TP: Mean accuracy on temporal perception.
        objective: Of these accuracies against the base's.
    """

    name: str
    recipe: Recipe
    TR: float
    TP: float
    objective: float


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The winner, the base and every control on confirm.

    Attributes:
        n: Samples by role.
        base: The unmerged VLM.
        best: The winner.
        difference: Winner minus base by role, paired per sample, clustered by video.
        controls: In the order they were run.
        failed: Control -> why it could not be measured.
        evaluation: The winner's, sample by sample.
    """

    n: dict[ComparedRole, int]
    base: Contender
    best: Contender
    difference: dict[ComparedRole, Difference]
    controls: tuple[Contender, ...]
    failed: dict[str, str]
    evaluation: Evaluation


def confirm(
    winner: Recipe,
    controls: Sequence[tuple[str, Recipe]],
    *,
    suite: Suite,
    objective: PenalisedGain,
    evaluate: Callable[[Recipe], Evaluation],
    seed: int,
) -> Confirmation:
    """Measure winner, base and controls in full on `suite`.

    Args:
        winner: The study's best recipe.
        controls: Name and recipe of each control but the base.
        suite: The confirm samples.
        objective: Applied to accuracies here, whatever the search optimised.
        evaluate: Measures one recipe on `suite`.
        seed: Of the resampling.

    Raises:
        TrialFailed: The base or the winner cannot be measured.
    """
    base_evaluation = evaluate(constructors.base(len(winner.layers)))
    base_means = role_means(base_evaluation, suite, "accuracy")

    def contender(name: str, recipe: Recipe, evaluation: Evaluation) -> Contender:
        means = role_means(evaluation, suite, "accuracy")
        return Contender(name, recipe, means["TR"], means["TP"], objective(means, base_means))

    best_evaluation = evaluate(winner)
    measured: list[Contender] = []
    failed: dict[str, str] = {}
    for name, recipe in controls:
        try:
            measured.append(contender(name, recipe, evaluate(recipe)))
        except TrialFailed as failure:
            failed[name] = str(failure)
    return Confirmation(
        n={role: len(_ids(suite, role)) for role in ROLES},
        base=contender("base", constructors.base(len(winner.layers)), base_evaluation),
        best=contender("best", winner, best_evaluation),
        difference=compare(base_evaluation, best_evaluation, suite, seed),
        controls=tuple(measured),
        failed=failed,
        evaluation=best_evaluation,
    )


def compare(
    base: Evaluation, other: Evaluation, suite: Suite, seed: int
) -> dict[ComparedRole, Difference]:
    """`other` minus `base` in accuracy, by role."""
    first, second = base.measured("accuracy"), other.measured("accuracy")
    groups = {s.id: s.group_id for s in suite.samples}
    return {
        role: paired_difference(
            {i: first[i] for i in _ids(suite, role) if i in first},
            {i: second[i] for i in _ids(suite, role) if i in second},
            groups,
            seed,
        )
        for role in ROLES
    }


def _ids(suite: Suite, role: ComparedRole) -> list[str]:
    return [s.id for s in suite.samples if suite.role(s) == role]
