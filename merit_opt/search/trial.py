"""The life of one trial, as a straight line, and how a told trial is read back."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from merit_opt.errors import TrialFailed
from merit_opt.evaluation.curtail import Curtailment, MissHistory
from merit_opt.evaluation.evaluation import Curtailed, Evaluation
from merit_opt.evaluation.yardstick import Yardstick
from merit_opt.recipe.recipe import Recipe, from_json, to_json
from merit_opt.search.controls import RANDOM_LAYERS, control_recipe, is_control
from merit_opt.search.priors import SEED, is_scan
from merit_opt.search.samplers import CONTROL
from merit_opt.search.spaces import SearchSpace
from merit_opt.tracking.record import State, TrialRecord

RECORD = "record"
COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)
STATES: Mapping[TrialState, State] = MappingProxyType(
    {
        TrialState.COMPLETE: "COMPLETE",
        TrialState.PRUNED: "PRUNED",
        TrialState.FAIL: "FAIL",
    }
)


Measure = Callable[[Recipe, Curtailment | None], Evaluation | Curtailed]
"""Scores a recipe on the search samples; stops early where the curtailment says so."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a worker tries recipes on.

    Attributes:
        space: Where recipes come from.
        measure: Measures one recipe on the search samples.
        yardstick: What its evaluation is measured against.
        history: Of earlier evaluations, where proposals that cannot win are stopped; None
            measures all of them in full. Controls and the trials of a scan always are.
    """

    space: SearchSpace
    measure: Measure
    yardstick: Yardstick
    history: MissHistory | None


def run_trial(study: Study, trial: Trial, bench: Bench) -> TrialRecord:
    """Suggest, measure, judge and tell one asked trial.

    Only `TrialFailed` is caught: it becomes FAIL with its reason, never a number. Anything else
    is a bug and stops the worker.
    """
    started = time.perf_counter()
    recipe = _proposed(trial, bench.space)
    suggested = time.perf_counter()
    try:
        outcome = _judged(bench, bench.measure(recipe, _curtailment(study, trial, bench)))
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
        },
    )
    told = study.tell(trial, outcome.value, state=outcome.state)
    record = record_of(told)
    if record is None:
        raise RuntimeError(f"trial {trial.number} was told but kept no record")
    return record


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a trial is told with; only a complete one has a value."""

    state: TrialState
    value: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    cost: Mapping[str, float] = field(default_factory=dict[str, float])
    why: str = ""


def _judged(bench: Bench, found: Evaluation | Curtailed) -> _Outcome:
    cost = {} if found.cost is None else found.cost.numbers
    if bench.history is not None:
        bench.history.add(found.scores if isinstance(found, Curtailed) else found.by_id)
    if isinstance(found, Curtailed):
        return _Outcome(TrialState.PRUNED, metrics={"bound": found.bound}, cost=cost)
    return _Outcome(
        TrialState.COMPLETE,
        value=bench.yardstick.value(found),
        metrics=bench.yardstick.metrics(found),
        cost=cost,
    )


def _curtailment(study: Study, trial: Trial, bench: Bench) -> Curtailment | None:
    """When to stop a proposal; an equal value wins for the trial with the smaller number."""
    if bench.history is None or is_control(trial) or is_scan(trial):
        return None
    leader = best(study)
    if leader is None or leader.value is None:
        return None
    to_beat = leader.value
    if trial.number < leader.number:
        to_beat = math.nextafter(to_beat, -math.inf)
    return Curtailment(bench.yardstick, to_beat, bench.history.misses)


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
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        metrics=kept["metrics"],
        seconds=kept["seconds"],
        cost=kept.get("cost", {}),
        why=kept["why"],
        finished=trial.datetime_complete,
    )


def _name(trial: FrozenTrial) -> str:
    if is_control(trial):
        return control_recipe(trial.user_attrs[CONTROL])[0]
    return trial.user_attrs.get(SEED, "")


def best(study: Study) -> TrialRecord | None:
    """The trial of greatest value among the base and all inside the search space.

    The earliest of equals. Random-layer controls are drawn after the winner is known and cannot
    become it.
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
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
