"""The final comparison, on samples that the search never saw."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from merit_opt.data.suite import Suite
from merit_opt.errors import TrialFailed
from merit_opt.evaluation.evaluation import Evaluation, paired_means, role_means
from merit_opt.evaluation.gap import Gap, objective_gap
from merit_opt.evaluation.objective import Objective
from merit_opt.evaluation.stats import Difference, holm, paired_difference
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe
from merit_opt.search.controls import RANDOM_LAYERS
from merit_opt.tracking.record import TrialRecord

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
        evaluation: Sample by sample.
    """

    name: str
    recipe: Recipe
    TR: float
    TP: float
    objective: float
    gap: Gap
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class Tested:
    """One of the search's best recipes on confirm, where its luck does not follow it.

    Attributes:
        number: Its trial.
        recipe: What was measured.
        search_objective: In accuracy, on the samples it was chosen by.
        objective: In accuracy, on confirm.
        TR: Mean accuracy on temporal reasoning, on confirm.
        TP: Mean accuracy on temporal perception, on confirm.
        difference: Its TR minus the base's.
        p_holm: p of that difference, corrected for testing so many recipes.
        gain: Its objective minus the base's, with an interval that is not corrected.
    """

    number: int
    recipe: Recipe
    search_objective: float
    objective: float
    TR: float
    TP: float
    difference: Difference
    p_holm: float
    gain: Gap


@dataclass(frozen=True, slots=True)
class Entrants:
    """What is measured on confirm beside the base.

    Attributes:
        winner: The study's best recipe.
        top: The search's best distinct recipes, the base left out, best first.
        controls: Name and recipe of each control but the base.
    """

    winner: Recipe
    top: Sequence[TrialRecord]
    controls: Sequence[tuple[str, Recipe]]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The winner, the base, the search's best and every control on confirm.

    Attributes:
        n: Samples by role that winner and base were both scored on.
        base: The unmerged VLM.
        best: The winner.
        difference: Winner minus base by role, paired per sample, clustered by video.
        top: The search's best recipes, best first, as far as they could be measured.
        controls: In the order they were run.
        random_layers: How far the winner's objective lies above the mean of its random-layer
            controls; None without them.
        violated: By how much the winner misses each constraint, by name, in the measure that the
            search optimises; 0 or less keeps to it.
        failed: Control, or trial of the best -> why it could not be measured.
    """

    n: dict[ComparedRole, int]
    base: Contender
    best: Contender
    difference: dict[ComparedRole, Difference]
    top: tuple[Tested, ...]
    controls: tuple[Contender, ...]
    random_layers: Gap | None
    violated: Mapping[str, float]
    failed: dict[str, str]

    @property
    def p_holm(self) -> float | None:
        """Of the winner's TR difference, corrected; None where it is not among the tested."""
        own = (t.p_holm for t in self.top if t.recipe == self.best.recipe)
        return next(own, None)


def confirm(
    entrants: Entrants,
    *,
    suite: Suite,
    objective: Objective,
    evaluate: Callable[[Recipe], Evaluation],
    seed: int,
) -> Confirmation:
    """Measure winner, base, the search's best and controls in full on `suite`.

    Args:
        entrants: What is measured.
        suite: The confirm samples.
        objective: Applied to accuracies here, whatever the search optimised.
        evaluate: Measures one recipe on `suite`.
        seed: Of the resampling.

    Raises:
        TrialFailed: The base or the winner cannot be measured.
    """
    winner = entrants.winner
    base = evaluate(constructors.base(len(winner.layers)))
    best = evaluate(winner)

    def scored(recipe: Recipe) -> Evaluation:
        evaluation = evaluate(recipe)
        role_means(evaluation, suite, "accuracy")
        return evaluation

    measured, failed = _measured(entrants.controls, scored)
    found, lost = _measured([(f"trial {t.number}", t.recipe) for t in entrants.top], scored)
    base_means = role_means(base, suite, "accuracy")
    difference = compare(base, best, suite, seed)
    rivals = _Rivals(suite, objective, base, seed)

    def contender(name: str, recipe: Recipe, evaluation: Evaluation) -> Contender:
        means = role_means(evaluation, suite, "accuracy")
        return Contender(
            name=name,
            recipe=recipe,
            TR=means["TR"],
            TP=means["TP"],
            objective=objective(means, base_means),
            gap=rivals.gap(best, evaluation),
            evaluation=evaluation,
        )

    drawn = [e for name, _, e in measured if name.startswith(RANDOM_LAYERS)]
    return Confirmation(
        n={role: d.n for role, d in difference.items()},
        base=contender("base", constructors.base(len(winner.layers)), base),
        best=contender("best", winner, best),
        difference=difference,
        top=rivals.tested([t for t in entrants.top if f"trial {t.number}" not in lost], found),
        controls=tuple(contender(*one) for one in measured),
        random_layers=rivals.gap(best, *drawn) if drawn else None,
        violated=objective.constraints(*paired_means(best, base, suite, objective.score)),
        failed=failed | lost,
    )


@dataclass(frozen=True, slots=True)
class _Rivals:
    """Comparisons on one suite against one base."""

    suite: Suite
    objective: Objective
    base: Evaluation
    seed: int

    def gap(self, first: Evaluation, *others: Evaluation) -> Gap:
        return objective_gap(
            self.objective,
            suite=self.suite,
            base=self.base,
            first=first,
            others=others,
            seed=self.seed,
        )

    def tested(
        self, records: Sequence[TrialRecord], found: Sequence[tuple[str, Recipe, Evaluation]]
    ) -> tuple[Tested, ...]:
        """Against the base, with Holm's correction over all of them."""
        evaluations = [evaluation for _, _, evaluation in found]
        differences = [_difference(self.base, e, self.suite, "TR", self.seed) for e in evaluations]
        corrected = holm([d.p for d in differences])
        rows = zip(records, evaluations, differences, corrected, strict=True)
        return tuple(self._tested(*row) for row in rows)

    def _tested(
        self, record: TrialRecord, evaluation: Evaluation, difference: Difference, p: float
    ) -> Tested:
        means = role_means(evaluation, self.suite, "accuracy")
        return Tested(
            number=record.number,
            recipe=record.recipe,
            search_objective=record.metrics["objective"],
            objective=self.objective(means, role_means(self.base, self.suite, "accuracy")),
            TR=means["TR"],
            TP=means["TP"],
            difference=difference,
            p_holm=p,
            gain=self.gap(evaluation, self.base),
        )


def _measured(
    named: Sequence[tuple[str, Recipe]], evaluate: Callable[[Recipe], Evaluation]
) -> tuple[list[tuple[str, Recipe, Evaluation]], dict[str, str]]:
    measured: list[tuple[str, Recipe, Evaluation]] = []
    failed: dict[str, str] = {}
    for name, recipe in named:
        try:
            measured.append((name, recipe, evaluate(recipe)))
        except TrialFailed as failure:
            failed[name] = str(failure)
    return measured, failed


def compare(
    base: Evaluation, other: Evaluation, suite: Suite, seed: int
) -> dict[ComparedRole, Difference]:
    """`other` minus `base` in accuracy, by role."""
    return {role: _difference(base, other, suite, role, seed) for role in ROLES}


def _difference(
    base: Evaluation, other: Evaluation, suite: Suite, role: ComparedRole, seed: int
) -> Difference:
    groups = {s.id: s.group_id for s in suite.samples if suite.role(s) == role}
    first, second = (
        {i: v for i, v in side.measured("accuracy").items() if i in groups}
        for side in (base, other)
    )
    return paired_difference(first, second, groups, seed)
