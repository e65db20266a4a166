"""`result.json` of a search, schema 1. Scores are fractions in [0, 1]."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from merit_opt.evaluation.stats import Difference
from merit_opt.recipe.recipe import PARTS, Part, Recipe
from merit_opt.search.confirm import Confirmation, Contender
from merit_opt.search.priors import Prior
from merit_opt.tracking.record import TrialRecord

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What a finished study found.

    Attributes:
        study: Its name.
        fingerprint: Digest of what must not change.
        seed: Of the study.
        seconds: Wall time of this run.
        trials: Count by state.
        base: The unmerged VLM's trial on the search samples.
        best: The winner's trial on the search samples.
        confirmation: The final comparison.
        prior: What was known of layers before the search; None without a warm start.
    """

    study: str
    fingerprint: str
    seed: int
    seconds: float
    trials: dict[str, int]
    base: TrialRecord
    best: TrialRecord
    confirmation: Confirmation
    prior: Prior | None = None


def to_dict(result: StudyResult) -> dict[str, Any]:
    """The JSON object that result.json holds."""
    confirmation = result.confirmation
    return {
        "schema": SCHEMA,
        "study": result.study,
        "fingerprint": result.fingerprint,
        "seed": result.seed,
        "seconds": round(result.seconds, 1),
        "trials": result.trials,
        "base": _roles(result.base),
        "best": {
            "number": result.best.number,
            "digest": result.best.recipe.digest,
            **_roles(result.best),
            "objective": result.best.metrics["objective"],
            "value": result.best.value,
            **_layers(result.best.recipe),
        },
        "confirm": {
            "n": confirmation.n,
            "base": _accuracies(confirmation.base)
            | {"objective": confirmation.base.objective, "gap": asdict(confirmation.base.gap)},
            "best": _accuracies(confirmation.best) | {"objective": confirmation.best.objective},
            "difference": {
                role: _difference(found) for role, found in confirmation.difference.items()
            },
            "controls": [_control(c) for c in confirmation.controls],
            "random_layers": confirmation.random_layers and asdict(confirmation.random_layers),
            "failed": confirmation.failed,
        },
        "prior": result.prior and result.prior.to_dict(),
    }


def note(result: Mapping[str, Any]) -> str:
    """The outcome in Markdown, the best score on its first line."""
    best, found = result["best"], result["confirm"]
    layers = "; ".join(f"{parts} coefficients {told}" for parts, told in merged_layers(best))
    differences = (
        f"- {role} {d['estimate']:+.3f}, 95 % interval {d['low']:+.3f} to {d['high']:+.3f} "
        f"({found['n'][role]} questions on videos the search never saw)\n"
        for role, d in found["difference"].items()
    )
    return (
        f"**TR {found['best']['TR']:.3f} against the base's {found['base']['TR']:.3f}**, "
        f"TP {found['best']['TP']:.3f} against {found['base']['TP']:.3f}, on confirm\n\n"
        f"{''.join(differences)}"
        f"- trial {best['number']}, recipe {best['digest']}, "
        f"{layers or 'attention coefficients none'}\n"
    )


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


def _difference(found: Difference) -> dict[str, float]:
    return {
        "estimate": found.estimate,
        "low": found.low,
        "high": found.high,
        "p": found.p,
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
