"""A study's end: what its winner is worth on confirm, and what is left in its folder."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from optuna.study import Study

from merit_opt.data.leakage import shown_media
from merit_opt.data.media.status import MediaStatus
from merit_opt.errors import UserError
from merit_opt.evaluation.engine import Engine
from merit_opt.evaluation.evaluation import Evaluation
from merit_opt.evaluation.prepare import EngineReporter
from merit_opt.evaluation.samples_file import sample_rows, write_samples
from merit_opt.files import write_text
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe
from merit_opt.recipe.store import write_recipe
from merit_opt.search.asking import finished
from merit_opt.search.confirm import Confirmation, Contender, Entrants, confirm
from merit_opt.search.controls import RANDOM_LAYERS, stopped_controls
from merit_opt.search.interrupts import interrupts_allowed
from merit_opt.search.plan import StudyPlan
from merit_opt.search.references import SEARCHED, UID
from merit_opt.search.result import StudyResult, Winners, chosen_by, note, to_dict
from merit_opt.search.trial import best, best_of, front_of, greatest, told_records
from merit_opt.search.warm_start import kept_prior
from merit_opt.tracking.record import StudyOutcome, TrialRecord

RESULT = "result.json"
BEST = "recipes/best.json"
FORK = "fork of"
TOP = 5
WINNER_SAMPLES, BASE_SAMPLES = "confirm_samples.parquet", "confirm_base_samples.parquet"
CONTROL_SAMPLES = "confirm_control_samples.parquet"
SAMPLES = (WINNER_SAMPLES, BASE_SAMPLES, CONTROL_SAMPLES)


def known_result(plan: StudyPlan, study: Study) -> dict[str, Any] | None:
    """The result on disk, if it is of this very study and its trials are as many as asked."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known: dict[str, Any] = json.loads((plan.folder / RESULT).read_text())
        is_same = (
            known["fingerprint"] == plan.record.fingerprint
            and known["choice"] == chosen_by(plan.choice)
            and known["uid"] == study.user_attrs[UID]
        )
        if is_same and known["trials"] == _counts(study) and finished(study) >= plan.budget.trials:
            return known
    return None


def conclude(
    plan: StudyPlan, study: Study, engine: Engine, reporter: EngineReporter, seconds: float
) -> dict[str, Any]:
    """Measure the winner on confirm beside base, runners-up and controls; keep all that is found.

    Args:
        plan: Of which study.
        study: Its trials.
        engine: Measures.
        reporter: Is told how it gets on.
        seconds: Wall time of the search.

    Raises:
        UserError: There is no winner or no base yet.
        TrialFailed: One of them cannot be measured on confirm.
    """
    winner, top, base = best(study), greatest(study), _base(study)
    if winner is None or top is None or base is None:
        raise UserError(
            f"study {plan.name} has no finished trial of the base yet; give it more "
            "study.hours, or wait for its other workers"
        )
    winners = Winners(winner, top, front_of(study), plan.choice)
    result = StudyResult(
        study=plan.name,
        uid=study.user_attrs[UID],
        fingerprint=plan.record.fingerprint,
        seed=plan.budget.seed,
        seconds=seconds,
        told=list(told_records(study).values()),
        trials=_counts(study),
        base=base,
        winners=winners,
        confirmation=_confirm(plan, study, winners, engine, reporter),
        forked_from=study.user_attrs.get(FORK),
        prior=kept_prior(study),
    )
    _keep(plan, result, engine.statuses(plan.split.confirm))
    return to_dict(result)


def outcome(folder: Path, result: Mapping[str, Any]) -> StudyOutcome:
    """What trackers are told of a finished study."""
    found = result["confirm"]
    metrics = {
        "confirm.TR": found["best"]["TR"],
        "confirm.TP": found["best"]["TP"],
        "confirm.objective": found["best"]["objective"],
        "confirm.base.TR": found["base"]["TR"],
        "confirm.base.TP": found["base"]["TP"],
    }
    if (prior := result["prior"]) is not None:
        metrics["prior.bill"] = prior["bill"]
    files = tuple(folder / name for name in (RESULT, BEST, *SAMPLES))
    return StudyOutcome(note(result), metrics, tuple(path for path in files if path.is_file()))


def _base(study: Study) -> TrialRecord | None:
    told = told_records(study).values()
    return next((r for r in told if r.name == "base" and r.state == "COMPLETE"), None)


def _confirm(
    plan: StudyPlan,
    study: Study,
    winners: Winners,
    engine: Engine,
    reporter: EngineReporter,
) -> Confirmation:
    winner = winners.best
    controls = list(_compared(told_records(study), winner))
    unmerged = constructors.base(len(winner.recipe.layers))
    top = [r for r in best_of(study, TOP + 1) if r.recipe != unmerged][:TOP]
    recipes = [winner.recipe, *(r for _, r in controls), *(t.recipe for t in top)]
    total = len({recipe.digest for recipe in recipes}) + 1
    known: dict[str, Evaluation] = {}

    def evaluate(recipe: Recipe) -> Evaluation:
        if recipe.digest not in known:
            reporter.stage("confirming winner, base, best and controls", len(known), total)
            with interrupts_allowed():
                known[recipe.digest] = engine.evaluate(recipe, plan.split.confirm)
        return known[recipe.digest]

    found = confirm(
        Entrants(winner.recipe, top, controls),
        suite=plan.split.confirm,
        objective=plan.objective,
        evaluate=evaluate,
        seed=plan.budget.seed,
    )
    return replace(found, failed=_failed_controls(study) | found.failed)


def _failed_controls(study: Study) -> dict[str, str]:
    told = [r for r in told_records(study).values() if r.role == "control"]
    failed = {r.name: f"in the search: {r.why}" for r in told if r.state == "FAIL"}
    return {name: f"in the search: {why}" for name, why in stopped_controls(study)} | failed


def _compared(
    told: Mapping[int, TrialRecord], winner: TrialRecord
) -> Iterator[tuple[str, Recipe]]:
    """Every finished control but the base, and of the random-layer ones only this winner's."""
    own = f"{RANDOM_LAYERS}:{winner.recipe.digest}/"
    for record in told.values():
        if record.state != "COMPLETE" or record.role != "control" or record.name == "base":
            continue
        if not record.name.startswith(RANDOM_LAYERS):
            yield record.name, record.recipe
        elif record.name.startswith(own):
            yield f"{RANDOM_LAYERS}/{record.name.removeprefix(own)}", record.recipe


def _counts(study: Study) -> dict[str, int]:
    states = Counter(trial.state.name for trial in study.get_trials(deepcopy=False))
    keys = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    cached = sum(record.cached for record in told_records(study).values())
    return {key: states[state] for key, state in keys.items()} | {"cached": cached}


def _keep(plan: StudyPlan, result: StudyResult, statuses: Mapping[str, MediaStatus]) -> None:
    """Write what the study leaves in its folder; result.json last, as it says that all is there."""
    write_recipe(plan.folder / BEST, result.winners.best.recipe, plan.record.origin)
    shown = [asdict(m) for m in shown_media(plan.split.search)]
    _write_json((plan.folder / BEST).with_name(SEARCHED), shown)
    found = result.confirmation
    sides = ([found.best.evaluation], [found.base.evaluation], _distinct(found.controls))
    for name, evaluations in zip(SAMPLES, sides, strict=True):
        rows = [r for e in evaluations for r in sample_rows(e, plan.split.confirm, statuses)]
        write_samples(plan.folder / name, rows)
    _write_json(plan.folder / RESULT, to_dict(result))


def _distinct(controls: Iterable[Contender]) -> list[Evaluation]:
    """One a recipe: two controls may be the same one under two names."""
    return list({c.recipe.digest: c.evaluation for c in controls}.values())


def _write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")
