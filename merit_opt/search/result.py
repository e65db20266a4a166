"""`result.json` of a search, schema 1. Scores are fractions in [0, 1]."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from merit_opt.evaluation.stats import Difference, verdict
from merit_opt.recipe.recipe import PARTS, Part, Recipe
from merit_opt.search.confirm import Confirmation, Contender, Tested
from merit_opt.search.front import Pick, Thrift
from merit_opt.search.priors import Prior
from merit_opt.tracking.record import TrialRecord

SCHEMA = 1
COSTS = ("questions", "questions_saved", "tokens", "flops")


@dataclass(frozen=True, slots=True)
class Winners:
    """Who won the search, and how.

    Attributes:
        best: The winner's trial.
        greatest: The trial of greatest value, of two gains their sum.
        front: Of two gains, the trials that no other beats in both, by falling TR gain.
        choice: How the winner was picked.
    """

    best: TrialRecord
    greatest: TrialRecord
    front: Sequence[TrialRecord]
    choice: Pick | Thrift


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What a finished study found.

    Attributes:
        study: Its name.
        uid: Drawn when it was made.
        fingerprint: Digest of what must not change.
        seed: Of the study.
        seconds: Wall time of this run.
        told: Every trial that was measured, or failed at it.
        trials: Count by state, and `cached`: those whose scores were known.
        base: The unmerged VLM's trial on the search samples.
        winners: Who won on the search samples.
        confirmation: The final comparison.
        forked_from: The study whose proposals this one began with; None where it began anew.
        prior: What was known of layers before the search; None without a warm start.
    """

    study: str
    uid: str
    fingerprint: str
    seed: int
    seconds: float
    told: Sequence[TrialRecord]
    trials: dict[str, int]
    base: TrialRecord
    winners: Winners
    confirmation: Confirmation
    forked_from: str | None
    prior: Prior | None


def to_dict(result: StudyResult) -> dict[str, Any]:
    """The JSON object that result.json holds."""
    winners = result.winners
    return {
        "schema": SCHEMA,
        "study": result.study,
        "uid": result.uid,
        "fingerprint": result.fingerprint,
        "forked_from": result.forked_from,
        "seed": result.seed,
        "seconds": round(result.seconds, 1),
        "trials": result.trials,
        "cost": _cost(result.told),
        "base": _roles(result.base),
        "best": _trial(winners.best) | {"value": winners.best.value},
        "choice": chosen_by(winners.choice),
        "front": [_trial(r) for r in winners.front] if isinstance(winners.choice, Pick) else None,
        "confirm": _confirm(result.confirmation),
        "remarks": list(_remarks(result)),
        "prior": result.prior and result.prior.to_dict(),
    }


def _trial(record: TrialRecord) -> dict[str, Any]:
    return {
        "number": record.number,
        "digest": record.recipe.digest,
        **_roles(record),
        "objective": record.metrics["objective"],
        "values": list(record.values),
        **_layers(record.recipe),
    }


def _confirm(found: Confirmation) -> dict[str, Any]:
    differences = {role: _difference(one) for role, one in found.difference.items()}
    if found.p_holm is not None:
        differences["TR"] = _difference(found.difference["TR"], found.p_holm)
    return {
        "n": found.n,
        "base": _accuracies(found.base)
        | {"objective": found.base.objective, "gap": asdict(found.base.gap)},
        "best": _accuracies(found.best) | {"objective": found.best.objective},
        "difference": differences,
        "top": [_tested(one) for one in found.top],
        "controls": [_control(c) for c in found.controls],
        "random_layers": found.random_layers and asdict(found.random_layers),
        "violated": dict(found.violated),
        "failed": found.failed,
    }


def _cost(told: Sequence[TrialRecord]) -> dict[str, float]:
    """Of the trials that had to be measured; those whose scores were known cost nothing."""
    measured = [r for r in told if r.cost]
    sums = {name: sum(r.cost.get(name, 0.0) for r in measured) for name in COSTS}
    seconds = sum(r.seconds.get("evaluate", 0.0) for r in measured)
    return {"trials": len(measured), "seconds": round(seconds, 1), **sums}


def _remarks(result: StudyResult) -> Iterator[str]:
    """What a reader must know before the numbers, in sentences."""
    proposals = [r for r in result.told if r.role == "trial" and r.state != "FAIL"]
    complete = [r for r in proposals if r.state == "COMPLETE"]
    if not proposals:
        yield (
            "only controls were measured, nothing was searched: give study.trials more than "
            f"{len(result.told)}"
        )
    stopped = [r for r in proposals if r.state == "PRUNED"]
    if any("bound" in r.metrics for r in stopped):
        yield (
            f"{len(stopped)} proposals were stopped early, so that only the winner is sure to be what "
            "full measurement would have found: its runners-up are of those measured in full"
        )
    elif stopped:
        yield (
            f"{len(stopped)} proposals were stopped early by a test, which may have stopped one that "
            "would have won"
        )
    if complete and not any(r.feasible for r in complete):
        yield (
            f"none of the {len(complete)} proposals keeps to the constraint; the best of those that "
            "do, the VLM as it is among them, is what is left"
        )
    yield from _dearer(result.winners)
    for name, by in result.confirmation.violated.items():
        if by > 0.0:
            yield (
                f"on confirm the best recipe misses the constraint: its {name} lies {by:.3f} above "
                "what objective.epsilon allows"
            )


def chosen_by(choice: Pick | Thrift) -> dict[str, Any]:
    """The rule that picks a winner, with its number."""
    if isinstance(choice, Thrift):
        return {"how": "thrift", "least_share": choice.share}
    return asdict(choice)


def _dearer(winners: Winners) -> Iterator[str]:
    best, top = winners.best, winners.greatest
    if isinstance(winners.choice, Thrift) and best.value is not None and top.value != best.value:
        yield (
            f"trial {top.number} reached a greater value in the search, {top.value:+.3f} against "
            f"{best.value:+.3f}; the best has fewer switches on, {best.switched_on} against "
            f"{top.switched_on}, than any other that is within "
            f"study.least_share={winners.choice.share:g} of that value"
        )


def note(result: Mapping[str, Any]) -> str:
    """The outcome in Markdown, the best score on its first line."""
    best, found = result["best"], result["confirm"]
    layers = "; ".join(f"{parts} coefficients {told}" for parts, told in merged_layers(best))
    differences = (
        f"- {role} {d['estimate']:+.3f}, 95 % interval {d['low']:+.3f} to {d['high']:+.3f}, "
        f"{d['verdict']} ({found['n'][role]} questions on videos the search never saw)\n"
        for role, d in found["difference"].items()
    )
    return (
        f"**TR {found['best']['TR']:.3f} against the base's {found['base']['TR']:.3f}**, "
        f"TP {found['best']['TP']:.3f} against {found['base']['TP']:.3f}, on confirm\n\n"
        f"{''.join(differences)}"
        f"- trial {best['number']}, recipe {best['digest']}, "
        f"{layers or 'attention coefficients none'}\n"
        f"{''.join(_top_lines(found['top']))}"
        f"{''.join(_front_lines(result))}"
        f"- trials: {', '.join(f'{n} {state}' for state, n in result['trials'].items())}\n"
        f"{''.join(f'- {remark}' + chr(10) for remark in result['remarks'])}"
    )


def _top_lines(top: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for one in top:
        yield (
            f"- of the search's best, trial {one['number']}: objective "
            f"{one['search_objective']:+.3f} in the search, {one['objective']:+.3f} on confirm; TR "
            f"{one['difference']['estimate']:+.3f}, {one['verdict']} "
            f"(p = {one['p_holm']:.2g} after Holm)\n"
        )


def _front_lines(result: Mapping[str, Any]) -> Iterator[str]:
    for one in result["front"] or ():
        gains = ", ".join(f"{value:+.3f}" for value in one["values"])
        yield f"- on the front: trial {one['number']}, gains {gains}, recipe {one['digest']}\n"


def merged_layers(best: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Of the winner in result.json: parts that are merged alike, and each layer's coefficient."""
    parts: dict[str, list[str]] = {}
    for part in PARTS:
        layers = best.get(_layers_key(part), {})
        told = ", ".join(f"{i}: {c:.2f}" for i, c in layers.items())
        parts.setdefault(told, []).append(part)
    return [(" and ".join(names), told) for told, names in parts.items() if told]


def _roles(record: TrialRecord) -> dict[str, float]:
    return {role: record.metrics[role] for role in ("TR", "TP")}


def _accuracies(contender: Contender) -> dict[str, float]:
    return {"TR": contender.TR, "TP": contender.TP}


def _control(contender: Contender) -> dict[str, Any]:
    return {
        "name": contender.name,
        **_accuracies(contender),
        "objective": contender.objective,
        "digest": contender.recipe.digest,
        "gap": asdict(contender.gap),
    }


def _difference(found: Difference, p_holm: float | None = None) -> dict[str, Any]:
    """The verdict is by the corrected p where there is one."""
    decisive = found.p if p_holm is None else p_holm
    corrected = {} if p_holm is None else {"p_holm": p_holm}
    return {
        "estimate": found.estimate,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        **corrected,
        "verdict": verdict(found.low, found.high, decisive),
    }


def _tested(one: Tested) -> dict[str, Any]:
    difference = _difference(one.difference, one.p_holm)
    return {
        "number": one.number,
        "digest": one.recipe.digest,
        "search_objective": one.search_objective,
        "objective": one.objective,
        "gain": asdict(one.gain),
        "TR": one.TR,
        "TP": one.TP,
        "difference": {key: difference[key] for key in ("estimate", "low", "high")},
        "p": one.difference.p,
        "p_holm": one.p_holm,
        "verdict": difference["verdict"],
    }


def _layers(recipe: Recipe) -> dict[str, dict[str, float]]:
    """Layer -> attention coefficient, and the other parts under their own keys where merged."""
    by_part: dict[Part, dict[int, float]] = {part: recipe.coefficients(part) for part in PARTS}
    return {
        _layers_key(part): {str(layer): coefficient for layer, coefficient in layers.items()}
        for part, layers in by_part.items()
        if layers or part == "attention"
    }


def _layers_key(part: Part) -> str:
    return "layers" if part == "attention" else f"{part}_layers"
