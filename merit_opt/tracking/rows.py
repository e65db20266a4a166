"""What a trial looks like as a row of a tracking table: its name, params, tags, metrics, note."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from merit_opt.recipe.recipe import PARTS, Recipe
from merit_opt.tracking.markdown import plain
from merit_opt.tracking.record import Standing, StudyRecord, TrialRecord

LONGEST_REASON = 1000
# The curve that has a point of every trial that is kept, and the one that only rises.
KEPT, BEST = "trial_seconds", "best_value"


def run_name(trial: TrialRecord) -> str:
    """What tells the trial apart in a narrow column: `t0042 0.713 12L`, `uniform:0.5 0.120`."""
    if trial.role == "control" or trial.state != "COMPLETE":
        return headline(trial)
    return f"{headline(trial)} {len(trial.recipe.merged_layers)}L"


def study_name(study: StudyRecord) -> str:
    """A study's run name; of one named by its parts those come first that sweeps go over.

    `tiny-clips-layerwise-tpe-s0` becomes `s0 tpe layerwise clips tiny`.
    """
    parts = [study.params.get(key, "") for key in ("pair", "suite", "space", "sampler")]
    parts.append(f"s{study.params.get('seed', '')}")
    return " ".join(reversed(parts)) if study.name == "-".join(parts) else study.name


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
    phase = {"phase": trial.phase} if trial.phase else {}
    flags = {"cached": trial.cached, "infeasible": not trial.feasible}
    return {
        "study": study.name,
        "optuna_trial": str(trial.number),
        "recipe_digest": trial.recipe.digest,
        "state": trial.state,
        "role": trial.role,
        **{name: "true" for name, holds in flags.items() if holds},
        **seed,
        **phase,
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
    first["FAIL"] = f"**failed**: {plain(trial.why[:LONGEST_REASON])}"
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


@dataclass(frozen=True, slots=True)
class Point:
    """One of a curve.

    Attributes:
        curve: Its name.
        step: A trial's number.
        value: Finite.
        when: In milliseconds since 1970; of one step always the same.
    """

    curve: str
    step: int
    value: float
    when: int


def points(trial: TrialRecord, standing: Standing | None, born: int) -> tuple[Point, ...]:
    """What a told trial adds to its study's curves; the same whenever it is asked.

    Every trial has a point of `trial_seconds`. Complete proposals have one of `value`, those that
    miss a constraint of `infeasible_value`, and controls of `control_value`. `best_value` never falls however many workers draw it: each
    standing is at most as far right and at most as high as any later one.

    Args:
        trial: The trial.
        standing: How the study stood when it was told.
        born: When the study began; trials that do not know when they ended count from there.
    """
    spent = trial.seconds.get("total", 0.0)
    found = [_point(KEPT, trial, spent if math.isfinite(spent) else 0.0, born)]
    if (value := drawable(trial)) is not None:
        found.append(_point(_curve(trial), trial, value, born))
    if standing is not None and (best := drawable(standing.best)) is not None:
        found.append(_point(BEST, standing.last, best, born))
    return tuple(found)


def _curve(trial: TrialRecord) -> str:
    if trial.role == "control":
        return "control_value"
    return "value" if trial.feasible else "infeasible_value"


def _point(curve: str, at: TrialRecord, value: float, born: int) -> Point:
    return Point(curve, at.number, value, milliseconds(at.finished) or born + at.number)


def drawable(trial: TrialRecord) -> float | None:
    """Its value, where it has one that a curve can show."""
    if trial.state != "COMPLETE" or trial.value is None or not math.isfinite(trial.value):
        return None
    return trial.value
