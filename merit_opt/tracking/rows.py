"""What a trial looks like as a row of a tracking table: its name, params, tags, metrics, note."""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime

from merit_opt.recipe.recipe import PARTS, Recipe
from merit_opt.tracking.record import StudyRecord, TrialRecord

LONGEST_REASON = 1000


def run_name(trial: TrialRecord) -> str:
    """What tells the trial apart in a narrow column: `t0042 0.713 12L`, `uniform:0.5 0.120`."""
    if trial.role == "control" or trial.state != "COMPLETE":
        return headline(trial)
    return f"{headline(trial)} {len(trial.recipe.merged_layers)}L"


def headline(trial: TrialRecord) -> str:
    """Which trial, and what came of it: `t0042 0.713`, `gradient:3 0.650`, `t0043 FAIL`."""
    who = trial.name or f"t{trial.number:04d}"
    is_told = trial.state == "COMPLETE" and trial.value is not None
    return f"{who} {trial.value:.3f}" if is_told else f"{who} {trial.state}"


def params(recipe: Recipe) -> dict[str, str]:
    """The recipe as params: a summary that sorts first, then one coefficient per layer.

    Attention is always written for every layer, so that any two trials can be compared; another
    part is written once a layer merges it.
    """
    width = max(2, len(str(len(recipe.layers) - 1)))
    layers = {
        f"L{layer:0{width}d}.{part}": f"{recipe.coefficients(part).get(layer, 0.0):.6g}"
        for part in PARTS
        if part == "attention" or recipe.coefficients(part)
        for layer in range(len(recipe.layers))
    }
    return {**_summary(recipe), **layers}


def _summary(recipe: Recipe) -> dict[str, str]:
    own = recipe.coefficients() or recipe.coefficients("mlp") or recipe.coefficients("norm")
    if not own:
        return {"00_n_layers": "0", "00_mean_coefficient": "0", "00_mean_depth": "0"}
    last = max(len(recipe.layers) - 1, 1)
    depth = sum(layer * value for layer, value in own.items()) / sum(own.values()) / last
    return {
        "00_n_layers": str(len(recipe.merged_layers)),
        "00_mean_coefficient": f"{sum(own.values()) / len(own):.4f}",
        "00_mean_depth": f"{depth:.4f}",
    }


def tags(study: StudyRecord, trial: TrialRecord) -> dict[str, str]:
    """What a trial can be found by."""
    why = {"why": trial.why[:LONGEST_REASON]} if trial.why else {}
    seed = {"seed": trial.name} if trial.name and trial.role == "trial" else {}
    flags = {"cached": trial.cached, "infeasible": not trial.feasible}
    return {
        "study": study.name,
        "optuna_trial": str(trial.number),
        "recipe_digest": trial.recipe.digest,
        "state": trial.state,
        "role": trial.role,
        **{name: "true" for name, holds in flags.items() if holds},
        **seed,
        **why,
    }


def metrics(trial: TrialRecord) -> dict[str, float]:
    """The trial's finite numbers, its value first; a failed trial has only its seconds."""
    seconds = {f"seconds/{step}": spent for step, spent in trial.seconds.items()}
    if trial.state == "FAIL":
        return finite(seconds)
    told = trial.value if trial.state == "COMPLETE" else None
    value = {} if told is None else {"value": told}
    if len(trial.values) > 1:
        value |= {f"value_{i}": each for i, each in enumerate(trial.values, start=1)}
    cost = {f"cost/{name}": number for name, number in trial.cost.items()}
    return finite({**value, **trial.metrics, **seconds, **cost})


def finite(numbers: Mapping[str, float]) -> dict[str, float]:
    """The numbers without infinities and NaN, which tracking tables cannot sort or draw."""
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}


def note(trial: TrialRecord) -> str:
    """The trial in a few lines of Markdown, the most important first."""
    recipe = trial.recipe
    size = f"{len(recipe.merged_layers)} of {len(recipe.layers)} layers merged"
    first = {"COMPLETE": _scores(trial), "PRUNED": f"pruned · {_scores(trial)}"}
    first["FAIL"] = f"**failed**: {trial.why[:LONGEST_REASON]}"
    return f"{first[trial.state]}\n\n{size}, recipe `{recipe.digest}`"


def _scores(trial: TrialRecord) -> str:
    scores = finite(trial.metrics)
    if trial.value is not None and scores.get("objective") != trial.value:
        scores = {"value": trial.value, **scores}
    return " · ".join(f"{name} **{score:.3f}**" for name, score in scores.items())


def progress_note(best: TrialRecord) -> str:
    """A running study in a few lines of Markdown, its best score first."""
    return f"best so far: **{run_name(best)}** · {note(best)}"


def milliseconds(moment: datetime | None) -> int | None:
    """A moment as MLflow counts time."""
    return None if moment is None else int(moment.timestamp() * 1000)


def points(
    trial: TrialRecord, before: Iterable[tuple[int, float]]
) -> tuple[tuple[str, int, float], ...]:
    """What a told trial adds to its study's curves, as (name, step, value).

    Steps are trial numbers. `best_value` never falls: a trial told after later ones moves it
    only by being better, and then at the last step. Controls have a curve of their own, and so
    have trials that miss a constraint.

    Args:
        trial: The trial; one that did not complete adds nothing.
        before: (number, value) of the proposals that the curve already has.
    """
    value, known = _drawable(trial), dict(before)
    if value is None or trial.number in known:
        return ()
    if trial.role == "control":
        return (("control_value", trial.number, value),)
    if not trial.feasible:
        return (("infeasible_value", trial.number, value),)
    own = ("value", trial.number, value)
    last, best = max(known, default=-1), max(known.values(), default=-math.inf)
    if trial.number < last and value <= best:
        return (own,)
    return own, ("best_value", max(trial.number, last), max(value, best))


def is_best(trial: TrialRecord, before: Iterable[tuple[int, float]]) -> bool:
    """Whether a proposal beats all those in `before`, given as for `points`."""
    value, known = _drawable(trial), dict(before)
    may_lead = trial.role == "trial" and trial.feasible
    if value is None or not may_lead or trial.number in known:
        return False
    return value > max(known.values(), default=-math.inf)


def _drawable(trial: TrialRecord) -> float | None:
    if trial.state != "COMPLETE" or trial.value is None or not math.isfinite(trial.value):
        return None
    return trial.value
