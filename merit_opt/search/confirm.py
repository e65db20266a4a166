"""The final comparison, on samples that the search never saw."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from merit_opt.data.suite import Suite
from merit_opt.errors import TrialFailed
from merit_opt.evaluation.evaluation import Evaluation, role_means
from merit_opt.evaluation.gap import Gap, objective_gap
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.evaluation.stats import Difference, paired_difference
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe
from merit_opt.search.controls import RANDOM_LAYERS

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
        gap: How far the winner's objective lies above this one's.
    """

    name: str
    recipe: Recipe
    TR: float
    TP: float
    objective: float
    gap: Gap


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The winner, the base and every control on confirm.

    Attributes:
        n: Samples by role that winner and base were both scored on.
        base: The unmerged VLM.
        best: The winner.
        difference: Winner minus base by role, paired per sample, clustered by video.
        controls: In the order they were run.
        random_layers: How far the winner's objective lies above the mean of its random-layer
            controls; None without them.
        failed: Control -> why it could not be measured.
        evaluation: The winner's, sample by sample.
        base_evaluation: The unmerged VLM's.
    """

    n: dict[ComparedRole, int]
    base: Contender
    best: Contender
    difference: dict[ComparedRole, Difference]
    controls: tuple[Contender, ...]
    random_layers: Gap | None
    failed: dict[str, str]
    evaluation: Evaluation
    base_evaluation: Evaluation


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
    base = evaluate(constructors.base(len(winner.layers)))
    best = evaluate(winner)
    measured, failed = _measured(controls, evaluate)
    base_means = role_means(base, suite, "accuracy")
    difference = compare(base, best, suite, seed)

    def gap(*others: Evaluation) -> Gap:
        return objective_gap(
            objective, suite=suite, base=base, first=best, others=others, seed=seed
        )

    def contender(name: str, recipe: Recipe, evaluation: Evaluation) -> Contender:
        means = role_means(evaluation, suite, "accuracy")
        value = objective(means, base_means)
        return Contender(name, recipe, means["TR"], means["TP"], value, gap(evaluation))

    drawn = [e for name, _, e in measured if name.startswith(RANDOM_LAYERS)]
    return Confirmation(
        n={role: d.n for role, d in difference.items()},
        base=contender("base", constructors.base(len(winner.layers)), base),
        best=contender("best", winner, best),
        difference=difference,
        controls=tuple(contender(*found) for found in measured),
        random_layers=gap(*drawn) if drawn else None,
        failed=failed,
        evaluation=best,
        base_evaluation=base,
    )


def _measured(
    controls: Sequence[tuple[str, Recipe]], evaluate: Callable[[Recipe], Evaluation]
) -> tuple[list[tuple[str, Recipe, Evaluation]], dict[str, str]]:
    measured: list[tuple[str, Recipe, Evaluation]] = []
    failed: dict[str, str] = {}
    for name, recipe in controls:
        try:
            measured.append((name, recipe, evaluate(recipe)))
        except TrialFailed as failure:
            failed[name] = str(failure)
    return measured, failed


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
