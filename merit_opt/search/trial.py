"""The life of one trial, as a straight line, and how a told trial is read back."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from merit_opt.errors import TrialFailed, UserError
from merit_opt.evaluation.curtail import Stop
from merit_opt.evaluation.evaluation import Curtailed, Evaluation
from merit_opt.evaluation.yardstick import Yardstick
from merit_opt.recipe.recipe import Recipe, from_json, to_json
from merit_opt.search.controls import RANDOM_LAYERS, control_name, control_recipe, is_control
from merit_opt.search.flip_sampler import PHASE
from merit_opt.search.front import Pick, Thrift, leader, leaders, pareto_front
from merit_opt.search.priors import SEED, is_scan
from merit_opt.search.pruners import Stopping
from merit_opt.search.samplers import CONTROL, SUGGESTED
from merit_opt.search.spaces import SearchSpace, switched_on
from merit_opt.search.told import Told
from merit_opt.tracking.record import State, TrialRecord

RECORD = "record"
CHOICE = "choice"  # the study's attribute: how its winner is picked
THRIFT = "thrift"
COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)
STATES: Mapping[TrialState, State] = MappingProxyType(
    {
        TrialState.COMPLETE: "COMPLETE",
        TrialState.PRUNED: "PRUNED",
        TrialState.FAIL: "FAIL",
    }
)


Measure = Callable[[Recipe, Stop | None], Evaluation | Curtailed]
"""Scores a recipe on the search samples; ends early where the stop says so."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a worker tries recipes on.

    Attributes:
        space: Where recipes come from.
        measure: Measures one recipe on the search samples.
        yardstick: What its evaluation is measured against.
        stopping: Stops proposals; None measures all of them in full. Controls and the trials of
            a scan always are.
    """

    space: SearchSpace
    measure: Measure
    yardstick: Yardstick
    stopping: Stopping | None


def run_trial(study: Study, trial: Trial, bench: Bench) -> TrialRecord:
    """Suggest, measure, judge and tell one asked trial.

    Only `TrialFailed` is caught: it becomes FAIL with its reason, never a number. Anything else
    is a bug and stops the worker.
    """
    started = time.perf_counter()
    recipe = _proposed(trial, bench.space)
    suggested = time.perf_counter()
    try:
        outcome = _judged(bench, bench.measure(recipe, _stop(study, trial, bench, recipe)))
    except TrialFailed as failure:
        outcome = _Outcome(TrialState.FAIL, why=str(failure))
    measured = time.perf_counter()
    seconds = {
        "suggest": suggested - started,
        "evaluate": measured - suggested,
        "total": measured - started,
    }
    trial.set_user_attr(
        RECORD,
        {
            "recipe": to_json(recipe),
            "metrics": outcome.metrics,
            "seconds": seconds,
            "cost": outcome.cost,
            "why": outcome.why,
            "value": outcome.value,
            "cached": outcome.cached,
            "switched_on": switched_on(bench.space, recipe),
        },
    )
    for name, by in outcome.constraints.items():
        trial.set_constraint(name, by)
    told = study.tell(trial, outcome.values, state=outcome.state)
    record = record_of(told)
    if record is None:
        raise RuntimeError(f"trial {trial.number} was told but kept no record")
    return record


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a trial is told with; only a complete one has values."""

    state: TrialState
    values: tuple[float, ...] | None = None
    value: float | None = None
    constraints: Mapping[str, float] = field(default_factory=dict[str, float])
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    cost: Mapping[str, float] = field(default_factory=dict[str, float])
    cached: bool = False
    why: str = ""


def _judged(bench: Bench, found: Evaluation | Curtailed) -> _Outcome:
    cost = {} if found.cost is None else found.cost.numbers
    if not isinstance(found, Evaluation):
        bound = {} if found.bound is None else {"bound": found.bound}
        asked = {"questions": float(len(found.scores))}
        return _Outcome(TrialState.PRUNED, metrics=bound | asked, cost=cost)
    return _Outcome(
        TrialState.COMPLETE,
        values=bench.yardstick.values(found),
        value=bench.yardstick.value(found),
        constraints=bench.yardstick.constraints(found),
        metrics=bench.yardstick.metrics(found),
        cost=cost,
        cached=found.cost is None,
    )


def _stop(study: Study, trial: Trial, bench: Bench, recipe: Recipe) -> Stop | None:
    """When to stop a proposal."""
    if bench.stopping is None or is_control(trial) or is_scan(trial):
        return None
    choose = _choice(study)
    if isinstance(choose, Pick):
        return None
    rivals = [r for r in _candidates(study) if r.feasible]
    if not rivals:
        return None
    to_beat = choose.to_beat(rivals, trial.number, switched_on(bench.space, recipe))
    return bench.stopping.stop(told_records(study), choose(rivals), to_beat)


def record_of(trial: FrozenTrial) -> TrialRecord | None:
    """What a told trial measured; None when its process died before it was told."""
    if not trial.state.is_finished() or RECORD not in trial.user_attrs:
        return None
    kept: dict[str, Any] = trial.user_attrs[RECORD]
    if trial.state == TrialState.FAIL and not kept["why"]:
        return None
    return TrialRecord(
        number=trial.number,
        state=STATES[trial.state],
        role="control" if is_control(trial) else "trial",
        name=_name(trial),
        recipe=from_json(kept["recipe"]),
        value=_value(trial, kept),
        metrics=kept["metrics"],
        seconds=kept["seconds"],
        cost=kept.get("cost", {}),
        why=kept["why"],
        finished=trial.datetime_complete,
        values=tuple(trial.values) if trial.state == TrialState.COMPLETE else (),
        feasible=all(by <= 0.0 for by in trial.constraints.values()),
        cached=kept.get("cached", False),
        switched_on=kept["switched_on"],
        phase=trial.user_attrs.get(PHASE, ""),
    )


def _name(trial: FrozenTrial) -> str:
    if is_control(trial):
        return control_name(trial)
    return trial.user_attrs.get(SEED, "")


def _value(trial: FrozenTrial, kept: Mapping[str, Any]) -> float | None:
    """Of two gains what was kept beside them."""
    if trial.state != TrialState.COMPLETE:
        return None
    return trial.value if len(trial.values) == 1 else kept["value"]


_records = Told(record_of)


def told_records(study: Study) -> dict[int, TrialRecord]:
    """Trial number -> record, for every trial that was measured."""
    return {t.number: record for t, record in _records(study) if record is not None}


def best(study: Study) -> TrialRecord | None:
    """The winner among the base and all inside the search space that keeps to the constraints.

    Of one value the thriftiest, of two the one picked from the front. Random-layer controls are
    drawn after the winner is known and cannot become it.
    """
    return leader(_candidates(study), _choice(study))


def best_of(study: Study, n: int) -> list[TrialRecord]:
    """The winner, who would win without it, and so on: at most `n`, of distinct recipes."""
    return leaders(_candidates(study), _choice(study), n)


def greatest(study: Study) -> TrialRecord | None:
    """The greatest value of all that could win, the earliest of equals."""
    return leader(_candidates(study), Thrift(0.0))


def front_of(study: Study) -> list[TrialRecord]:
    """The trials that no other beats in both gains, by falling TR gain; empty with one value."""
    return [] if len(study.directions) == 1 else pareto_front(_candidates(study))


def _candidates(study: Study) -> list[TrialRecord]:
    return [
        record
        for trial, record in _records(study)
        if record is not None and record.state == "COMPLETE" and _may_win(trial, record)
    ]


def keep_choice(study: Study, choice: Pick | Thrift) -> None:
    """Have every worker and reader of the study pick its winner alike."""
    kept = [THRIFT, choice.share] if isinstance(choice, Thrift) else [choice.how, choice.epsilon]
    if study.user_attrs.get(CHOICE) != kept:
        study.set_user_attr(CHOICE, kept)


def _choice(study: Study) -> Pick | Thrift:
    """As it was kept.

    Raises:
        UserError: It never was.
    """
    if CHOICE not in study.user_attrs:
        raise UserError(
            f"study {study.study_name} does not say how its winner is picked, so it is none that "
            "merit-opt search has begun; name another study, or search under this name first"
        )
    how, number = study.user_attrs[CHOICE]
    return Thrift(number) if how == THRIFT else Pick(how, number)


def _may_win(trial: FrozenTrial, record: TrialRecord) -> bool:
    inside = bool(trial.params) or record.name == "base"
    return inside and not record.name.startswith(RANDOM_LAYERS)


def _proposed(trial: Trial, space: SearchSpace) -> Recipe:
    if not is_control(trial):
        recipe = space.suggest(trial)
        trial.set_user_attr(SUGGESTED, value=True)
        return recipe
    _, recipe = control_recipe(trial.user_attrs[CONTROL])
    if space.params(recipe) is not None:
        space.suggest(trial)
    return recipe
