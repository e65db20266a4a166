"""The life of one trial, as a straight line, and how a told trial is read back."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from merit_opt.data.suite import Role, Suite
from merit_opt.errors import TrialFailed
from merit_opt.evaluation.evaluation import Evaluation, role_means
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.recipe.recipe import Recipe, from_json, to_json
from merit_opt.search.controls import RANDOM_LAYERS, control_recipe, is_control
from merit_opt.search.samplers import CONTROL
from merit_opt.search.spaces import SearchSpace
from merit_opt.tracking.record import TrialRecord

RECORD = "record"
COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What evaluations are measured against: the unmerged VLM on the same samples.

    Attributes:
        suite: What is measured.
        objective: What the search maximises.
        base: The unmerged VLM's evaluation.
    """

    suite: Suite
    objective: PenalisedGain
    base: Evaluation

    def value(self, evaluation: Evaluation) -> float:
        """The objective, in the measure the search optimises."""
        score = self.objective.score
        return self.objective(
            role_means(evaluation, self.suite, score), role_means(self.base, self.suite, score)
        )

    def metrics(self, evaluation: Evaluation) -> dict[str, float]:
        """Accuracy by role, the objective in accuracy, and the count of unscored samples."""
        accuracy = role_means(evaluation, self.suite, "accuracy")
        base: Mapping[Role, float] = role_means(self.base, self.suite, "accuracy")
        return {
            **accuracy,
            "objective": self.objective(accuracy, base),
            "unscored": float(len(evaluation.unscored)),
        }


@dataclass(frozen=True, slots=True)
class Bench:
    """What a worker tries recipes on.

    Attributes:
        space: Where recipes come from.
        evaluate: Measures one recipe on the search samples.
        yardstick: What its evaluation is measured against.
    """

    space: SearchSpace
    evaluate: Callable[[Recipe], Evaluation]
    yardstick: Yardstick


def run_trial(study: Study, trial: Trial, bench: Bench) -> TrialRecord:
    """Suggest, evaluate, score and tell one asked trial.

    Only `TrialFailed` is caught: it becomes FAIL with its reason, never a number. Anything else
    is a bug and stops the worker.
    """
    started = time.perf_counter()
    recipe = _proposed(trial, bench.space)
    suggested = time.perf_counter()
    value, metrics, why = None, {}, ""
    try:
        evaluation = bench.evaluate(recipe)
        value = bench.yardstick.value(evaluation)
        metrics = bench.yardstick.metrics(evaluation)
    except TrialFailed as failure:
        why = str(failure)
    measured = time.perf_counter()
    trial.set_user_attr(
        RECORD,
        {
            "recipe": to_json(recipe),
            "metrics": metrics,
            "seconds": {
                "suggest": suggested - started,
                "evaluate": measured - suggested,
                "total": measured - started,
            },
            "why": why,
        },
    )
    state = TrialState.FAIL if value is None else TrialState.COMPLETE
    told = study.tell(trial, value, state=state)
    record = record_of(told)
    if record is None:
        raise RuntimeError(f"trial {trial.number} was told but kept no record")
    return record


def record_of(trial: FrozenTrial) -> TrialRecord | None:
    """What a told trial measured; None when its process died before it was told."""
    if not trial.state.is_finished() or RECORD not in trial.user_attrs:
        return None
    kept: dict[str, Any] = trial.user_attrs[RECORD]
    complete = trial.state == TrialState.COMPLETE
    if not complete and not kept["why"]:
        return None
    return TrialRecord(
        number=trial.number,
        state="COMPLETE" if complete else "FAIL",
        role="control" if is_control(trial) else "trial",
        name=control_recipe(trial.user_attrs[CONTROL])[0] if is_control(trial) else "",
        recipe=from_json(kept["recipe"]),
        value=trial.value if complete else None,
        metrics=kept["metrics"],
        seconds=kept["seconds"],
        why=kept["why"],
        finished=trial.datetime_complete,
    )


def best(study: Study) -> TrialRecord | None:
    """The trial of greatest value among the base and all inside the search space.

    The earliest of equals. Random-layer controls are drawn after the winner is known and cannot
    become it.
    """
    trials = study.get_trials(deepcopy=False, states=COUNTED)
    records = [r for t in trials if (r := record_of(t)) is not None and _may_win(t, r)]
    return max(records, key=lambda r: (r.value, -r.number), default=None)


def _may_win(trial: FrozenTrial, record: TrialRecord) -> bool:
    inside = bool(trial.params) or record.name == "base"
    return inside and not record.name.startswith(RANDOM_LAYERS)


def _proposed(trial: Trial, space: SearchSpace) -> Recipe:
    if not is_control(trial):
        return space.suggest(trial)
    _, recipe = control_recipe(trial.user_attrs[CONTROL])
    if space.params(recipe) is not None:
        space.suggest(trial)
    return recipe
